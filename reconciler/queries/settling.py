"""``--wait``: has all that changed become healthy? Pure, over one reading of the store; the command asks again."""

from collections.abc import Iterable

import msgspec

from reconciler.model import keys
from reconciler.model.task import RolloutPhase
from reconciler.queries.fleet import Fleet
from reconciler.queries.status import ServiceRow, status


class Settling(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is, a line for each service. ``failed``: why it will not get there by itself."""

    lines: tuple[str, ...]
    failed: tuple[str, ...]
    done: bool


def settling(fleet: Fleet, changed: Iterable[str], source: str) -> Settling:
    """Look at the services behind the ``changed`` keys; if there are none, at all of the ``source``."""
    names = _services(fleet, frozenset(changed), source)
    rows = [row for row in status(fleet).services if row.service in names]
    return Settling(
        lines=tuple(_line(row) for row in rows),
        failed=tuple(reason for row in rows if not row.ok and (reason := _failure(fleet, row))),
        done=all(row.ok for row in rows),
    )


def _services(fleet: Fleet, changed: frozenset[str], source: str) -> set[str]:
    snapshot = fleet.snapshot
    if not changed:
        return {name for name, service in snapshot.services.items() if service.managed_by == source}
    found = {key.removeprefix(keys.SERVICES) for key in changed if key.startswith(keys.SERVICES)}
    for name, cluster in snapshot.clusters.items():
        if keys.cluster(name) in changed:
            found.update(cluster.services)
    for name, service in snapshot.services.items():
        if keys.task_definition(service.task_name, service.task_version) in changed:
            found.add(name)
    found.update(task.service for task in snapshot.tasks if keys.cluster(task.cluster) in changed)
    return found


def _failure(fleet: Fleet, row: ServiceRow) -> str | None:
    """Why the rollout of what is wanted now was given up; None if it was not."""
    rollout = fleet.snapshot.rollouts.get((row.cluster, row.service))
    if rollout is None or rollout.phase is not RolloutPhase.FAILED or rollout.target_version != row.task_version:
        return None
    wanted = fleet.snapshot.definitions.get((row.task_name, row.task_version))
    if wanted is None or wanted.digest != rollout.target_digest:
        return None  # that was an earlier content of it
    return f"{row.cluster}/{row.service}: version {row.task_version} was given up: {rollout.reason}"


def _line(row: ServiceRow) -> str:
    text = f"{row.cluster}/{row.service}: {row.current} of {row.desired} healthy"
    return text if row.ok or not row.reasons else f"{text} ({'; '.join(row.reasons)})"
