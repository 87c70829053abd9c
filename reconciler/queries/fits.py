"""``reconciler validate --against``: which services the hosts of a fleet have no room for, as problems with a line."""

from collections.abc import Sequence

from reconciler.errors import RevisionRefused, UsageError
from reconciler.manifests.gates import misfit
from reconciler.manifests.load import Origin, load
from reconciler.manifests.problem import Problem
from reconciler.model.manifests import Cluster, Service
from reconciler.queries.preview import preview
from reconciler.store.interface import Store


def misfits(
    store: Store,
    files: Sequence[tuple[str, bytes]],
    *,
    source: str | None,
    environment: str | None = None,
    now: float,
) -> tuple[Problem, ...]:
    """What would find no place that has one now, or is new; the files are valid.

    Raises:
        RevisionRefused: sync would not take these manifests, so nobody can say what would run.
        UsageError: it is not said which source is meant, or schedulers hold.
    """
    made = preview(store, files, source=source, environment=environment, now=now)
    if made.refused:
        raise RevisionRefused("\n".join([f"source {made.source} would refuse these manifests:", *made.refused]))
    if made.tasks.unfinished:
        why = "; ".join(f"cluster {name}: {reason}" for name, reason in sorted(made.tasks.unfinished.items()))
        raise UsageError(f"nobody can say whether everything fits: {why}", hint="Take a new snapshot.")
    if not made.does_not_fit:
        return ()
    declared = load(files, environment=environment).objects
    services = {each.object.name: each.origin for each in declared if isinstance(each.object, Service)}
    clusters = {each.object.name: each.origin for each in declared if isinstance(each.object, Cluster)}
    first = Origin(min(name for name, _ in files), 1, 1)
    return tuple(
        misfit(
            services.get(each.service) or clusters.get(each.cluster) or first,
            f"{each.count} {'task' if each.count == 1 else 'tasks'} of service {each.service} in cluster "
            f"{each.cluster} would find no place: {each.reason}",
        )
        for each in made.does_not_fit
    )
