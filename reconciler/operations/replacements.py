"""What operators want replaced though its version is right: restart, rebalance, and taking that back.

One key for each service, by compare-and-set, as in ``overrides``; schedulers lay it over what is issued.
"""

from collections.abc import Collection, Iterable
from functools import partial

import msgspec

from reconciler.errors import RevisionRefused
from reconciler.model import keys
from reconciler.model.codec import decode
from reconciler.model.overrides import Rebalanced, Restarted, ServiceOverride
from reconciler.model.task import ClusterHead
from reconciler.operations import override_records
from reconciler.operations.overrides import Overridden, Said, stopped_by, warnings_of
from reconciler.scheduler.balance import Move
from reconciler.store.interface import Store


def restart(store: Store, name: str, said: Said) -> Overridden:
    """Have every task of a service replaced, as in a rollout.

    Raises:
        UsageError: there is no such service.
    """
    service = override_records.service(store, name)
    clusters = override_records.clusters_of(store, name)
    issued = {}
    for cluster in clusters:
        entry = store.get(keys.cluster_head(cluster.name))
        if entry is not None:
            issued[cluster.name] = decode(entry.value, ClusterHead, entry.key).seq
    restarted = Restarted(issued=issued, by=said.by, reason=said.reason, since=said.now)
    override_records.of_service(store, name, partial(msgspec.structs.replace, restarted=restarted))
    is_batch = service.kind == "batch"
    return Overridden(
        object=f"service {name}",
        what="all of it is done once more"
        if is_batch
        else "each task is replaced by a new one, health first, as in a rollout",
        key=keys.service(name),
        managed_by=service.managed_by,
        lasts="" if is_batch else f"each one has been replaced, or until `reconciler restart {name} --clear`",
        warnings=(*warnings_of(store, clusters, name, said.now), *stopped_by(store, service, said.now)),
    )


def keep(store: Store, name: str, now: float) -> Overridden:
    """Take back what ``restart`` said: what has not been replaced yet stays.

    Raises:
        UsageError: there is no such service.
        RevisionRefused: nothing was said, or it is a batch.
    """
    service = override_records.service(store, name)
    if service.kind == "batch":
        raise RevisionRefused(
            f"batch {name} has begun anew, and what it had done before is not known any more",
            hint=f"`reconciler abort {name}` lets nothing more of it start, `reconciler stop {name}` stops it.",
        )

    def change(override: ServiceOverride) -> ServiceOverride:
        if override.restarted is None:
            raise RevisionRefused(f"service {name} is not being restarted")
        return msgspec.structs.replace(override, restarted=None)

    override_records.of_service(store, name, change)
    return Overridden(
        object=f"service {name}",
        what="what has not been replaced yet stays",
        key=keys.service(name),
        managed_by=service.managed_by,
        warnings=warnings_of(store, override_records.clusters_of(store, name), name, now),
    )


def rebalance(store: Store, moves: Iterable[Move], said: Said) -> None:
    """Have tasks replaced that would be better elsewhere, those of a service by one write."""
    of_service: dict[str, dict[str, int]] = {}
    for move in moves:
        of_service.setdefault(move.service, {})[move.task] = move.issue
    for name, mine in sorted(of_service.items()):
        moved = Rebalanced(tasks=mine, by=said.by, reason=said.reason, since=said.now)
        override_records.of_service(store, name, partial(msgspec.structs.replace, rebalanced=moved))


def stay(store: Store, names: Collection[str]) -> tuple[str, ...]:
    """Take back what ``rebalance`` said of these services (none: of all); returns those of which it said something.

    What has moved stays where it is.
    """
    records = store.list(keys.SERVICE_OVERRIDES).entries
    known = [decode(entry.value, ServiceOverride, entry.key) for entry in records]
    found = [each.service for each in known if each.rebalanced and (not names or each.service in names)]
    for name in found:
        override_records.of_service(store, name, partial(msgspec.structs.replace, rebalanced=None))
    return tuple(found)
