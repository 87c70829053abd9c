"""What may be concluded from a reading: nothing is stopped for want of evidence, a mix of revisions decides nothing.

``snapshot.view_of`` asks, the reasons end up in the view and from there in ``status`` and in the log.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

from reconciler.model import keys
from reconciler.model.manifests import Cluster, Service
from reconciler.model.source_state import SourceState
from reconciler.scheduler.cluster_view import Defined

Owners: TypeAlias = Mapping[str, Sequence[str | None]]
"""By kind of object as in ``SourceCounts``, the ``managed_by`` of each object that was read."""

MOST_COMPARED: Final = 48
"""A Consul transaction has 64 operations: fence, head, placement and two brakes take five, the largest step eleven."""


def applying(sources: Mapping[str, SourceState]) -> tuple[str, ...]:
    """The sources that are in the middle of a revision, by name."""
    return tuple(sorted(name for name, source in sources.items() if not source.mark.settled))


def incomplete(sources: Mapping[str, SourceState], owners: Owners) -> str | None:
    """Which settled source has more objects in the store than were read: such a reading proves nothing."""
    for kind, managed_by in owners.items():
        read = Counter(managed_by)
        for name, source in sorted(sources.items()):
            said = getattr(source.mark.counts, kind)
            if source.mark.settled and read[name] < said:
                text = f"source {name} has {said} {kind} in the store, but only {read[name]} could be read"
                return f"{text}: the token may not read all, or something removed them"
    return None


def crowded(unmoved: Collection[str]) -> str | None:
    """Why no transaction has room to compare that no source has moved since; None if it has."""
    if len(unmoved) <= MOST_COMPARED:
        return None
    names = sorted(key.removeprefix(keys.SOURCES) for key in unmoved if key != keys.MOVED)
    text = f"{len(names)} sources have to be compared one by one, for which a transaction has no room"
    if keys.MOVED not in unmoved:
        return f"{text}: {keys.MOVED} is not there; a `reconciler sync` of this version writes it"
    return f"{text}: {names[0]} and {len(names) - 1} more are applied by an older `reconciler sync`; upgrade it"


def unreadable_for(cluster: str, unreadable: Mapping[str, str]) -> str | None:
    """Why something that a plan for this cluster would rest on could not be read."""
    exact = {keys.cluster(cluster), keys.cluster_head(cluster), keys.PLACEMENT}
    # a prefix of ids is never trusted to act, only to hold back: whose record this is can't be read
    prefixes = (
        f"{keys.TASKS_BY_ID}{cluster}-",
        keys.rollouts_of_cluster(cluster),
        keys.SOURCES,
        keys.SERVICE_OVERRIDES,
        keys.HOST_OVERRIDES,
        keys.CLUSTER_OVERRIDES,
    )
    broken = [key for key in unreadable if key in exact or key.startswith(prefixes)]
    return unreadable[min(broken)] if broken else None


def held(
    cluster: Cluster | None,
    service: Service | None,
    definitions: Mapping[tuple[str, int], Defined],
    in_apply: Sequence[str],
    unreadable: str | None,
) -> str | None:
    """Why a service of a cluster must not be changed voluntarily now; None if it may."""
    if unreadable is not None:
        return unreadable
    if in_apply and (cluster is None or service is None):
        return f"source {in_apply[0]} is being applied, so what is missing may only not be there yet"
    if cluster is None or service is None:
        return None
    defined = definitions.get((service.task_name, service.task_version))
    owners = {cluster.managed_by, service.managed_by, defined.definition.managed_by if defined else None}
    for source in in_apply:
        if source in owners:
            return f"source {source} is being applied"
    if defined is None:
        text = f"task definition {service.task_name} version {service.task_version}"
        return f"{text} is {'not there yet' if in_apply else 'not in the store'}"
    return None
