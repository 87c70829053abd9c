"""Has all that changed become healthy? Asked by ``--wait``, by the gate of sync and for reports, again and again.

Pure, over one reading of the store.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.task import Health, Phase, Rollout, RolloutPhase, Task
from reconciler.queries.fleet import Fleet
from reconciler.queries.status import ServiceRow, status
from reconciler.scheduler.batch_plan import progress
from reconciler.sync.gate import Look, Pair

_PRINT_DIGITS: Final = 8
_GIVEN_UP: Final = (RolloutPhase.FAILED, RolloutPhase.REVERTING, RolloutPhase.REVERTED)


class Settling(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is, a line for each service. ``failed``: why it will not get there by itself."""

    lines: tuple[str, ...]
    failed: tuple[str, ...]
    done: bool


def settling(fleet: Fleet, changed: Iterable[str], source: str) -> Settling:
    """Look at the services behind the ``changed`` keys; if there are none, at all of the ``source``."""
    names = _services(fleet, frozenset(changed), source)
    return _settling(fleet, [row for row in status(fleet).services if row.service in names])


def look(fleet: Fleet, pairs: frozenset[Pair]) -> Look:
    """How the services that a revision changed are, and whether it can be blamed for those that are not healthy."""
    rows = [row for row in status(fleet).services if (row.cluster, row.service) in pairs]
    unknown = sorted(pairs - {(row.cluster, row.service) for row in rows})
    sick = [row for row in rows if not _is_done(fleet, row)]
    return Look(
        failed=_settling(fleet, rows).failed,
        waiting=(
            *(_line(fleet, row) for row in sick),
            *(f"{cluster}/{service}: is not declared" for cluster, service in unknown),
        ),
        is_running=not fleet.scene.doubt and any(_is_running(fleet, row) for row in sick),
    )


def prints(fleet: Fleet, source: str) -> dict[Pair, str]:
    """What each service of a source is declared as, with its definition, shortened: equal if nothing changed."""
    snapshot, found = fleet.snapshot, dict[Pair, str]()
    for cluster in snapshot.clusters.values():
        for name in cluster.services:
            service = snapshot.services.get(name)
            if service is None or service.managed_by != source:
                continue
            definition = snapshot.definitions.get((service.task_name, service.task_version))
            content = encode(service) + (definition.digest if definition else "").encode()
            found[cluster.name, name] = hashlib.sha256(content).hexdigest()[:_PRINT_DIGITS]
    return found


def _is_running(fleet: Fleet, row: ServiceRow) -> bool:
    """Whether a task of what is wanted is on its way, sick or failed, so that time shows something.

    Rule 13: not when nobody knows how it is, when there is no place for it, when it must leave its host, or when a
    secret changed meanwhile, with which it may be sick.
    """
    wanted = fleet.snapshot.definitions.get((row.task_name, row.task_version))
    mine = fleet.scene.tasks.get(row.cluster, {}).get(row.service, ())
    if any(said.outdated for task in mine if (said := fleet.status_of(task))):
        return False
    return wanted is not None and any(wanted.is_of(task) and _shows_something(fleet, task) for task in mine)


def _shows_something(fleet: Fleet, task: Task) -> bool:
    said, host = fleet.status_of(task), fleet.scene.hosts.get(task.host)
    if said is None or task.host not in fleet.snapshot.present or (host is not None and host.config.draining):
        return False
    if said.phase is Phase.RUNNING:
        return said.health is Health.CRITICAL
    return said.phase not in (Phase.STOPPING, Phase.STOPPED)


def _settling(fleet: Fleet, rows: list[ServiceRow]) -> Settling:
    return Settling(
        lines=tuple(_line(fleet, row) for row in rows),
        failed=tuple(reason for row in rows if not row.ok and (reason := _failure(fleet, row))),
        done=all(_is_done(fleet, row) for row in rows),
    )


def _is_done(fleet: Fleet, row: ServiceRow) -> bool:
    """Whether all is well, and the scheduler says that it is done with this version (if it says anything of that)."""
    rollout = _rollout(fleet, row)
    return row.ok and (row.desired == 0 or rollout is None or rollout.phase is not RolloutPhase.ROLLING)


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
    rollout = _rollout(fleet, row)
    if rollout is None or rollout.phase not in _GIVEN_UP:
        return None
    said = fleet.snapshot.overrides.services.get(row.service)
    if said and said.verdict and said.verdict.promote and said.verdict.since != rollout.answered:
        return None  # an operator wants it tried again, and the scheduler has not heard yet
    return f"{row.cluster}/{row.service}: version {row.task_version} was given up: {rollout.reason}"


def _rollout(fleet: Fleet, row: ServiceRow) -> Rollout | None:
    """The rollout of what is wanted now; None if what is stored is that of an earlier version or content."""
    rollout = fleet.snapshot.rollouts.get((row.cluster, row.service))
    wanted = fleet.snapshot.definitions.get((row.task_name, row.task_version))
    if rollout is None or wanted is None or rollout.target_version != row.task_version:
        return None
    return rollout if rollout.target_digest == wanted.digest else None


def _line(fleet: Fleet, row: ServiceRow) -> str:
    text = f"{row.cluster}/{row.service}: {row.current} of {row.desired} healthy"
    if row.kind == "batch":
        text = f"{row.cluster}/{row.service}: {row.done} of {row.desired} done"
    elif row.healthy > row.current:
        text += f", {row.healthy - row.current} old"
    if row.ok:
        return text if _is_done(fleet, row) else f"{text} (the scheduler is not done with this version)"
    reasons = [each for each in row.reasons if each != progress(row.done, row.desired)]
    return f"{text} ({'; '.join(reasons)})" if reasons else text
