"""``reconciler plan --git``: the preview of what a source declares now."""

from reconciler.manifests.source import Source
from reconciler.queries.preview import Preview, preview
from reconciler.queries.snapshot_file import freeze
from reconciler.store.interface import Store
from reconciler.sync import observe
from reconciler.sync.brake import DeletionLimit


def preview_source(store: Store, source: Source, *, now: float, limit: DeletionLimit | None = None) -> Preview:
    """What ``sync`` would do with the newest revision.

    Raises:
        SourceError: it could not be read. And what ``preview`` raises.
    """
    frozen = freeze(store)
    try:
        revision = source.read()
        own = observe.observe(frozen, source.name, None).own
        applied = (own.mark.revision if own.mark.settled else own.mark.to) if own else None
        related = not applied or applied == revision.id or source.follows(revision.id, applied) is not None
        return preview(
            frozen,
            list(revision.files.items()),
            source=source.name,
            revision=revision.id,
            now=now,
            is_related=related,
            limit=limit,
        )
    finally:
        source.close()
