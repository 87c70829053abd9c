"""``reconciler plan --git``: what a source declares now, as ``preview`` takes it."""

import msgspec

from reconciler.manifests.source import Revision, Source
from reconciler.store.frozen import FrozenStore
from reconciler.sync import observe


class Newest(msgspec.Struct, frozen=True):
    """The newest revision. ``is_related`` False: nobody knows whether it comes after the one that is applied."""

    revision: Revision
    is_related: bool


def newest(store: FrozenStore, source: Source) -> Newest:
    """What ``sync`` would take now.

    Raises:
        SourceError: it could not be read.
    """
    try:
        revision = source.read()
        own = observe.observe(store, source.name, None).own
        applied = (own.mark.revision if own.mark.settled else own.mark.to) if own else None
        related = not applied or applied == revision.id or source.follows(revision.id, applied) is not None
        return Newest(revision, related)
    finally:
        source.close()
