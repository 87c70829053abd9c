"""Has what an operator asked for come about? Asked by ``--wait`` of these commands, again and again. Pure."""

from typing import Final

from reconciler.model.task import Rollout, RolloutPhase
from reconciler.queries.fleet import Fleet
from reconciler.queries.settling import Settling

_ENDED: Final = (RolloutPhase.REVERTED, RolloutPhase.COMPLETED, RolloutPhase.FAILED)


def emptied(fleet: Fleet, host: str) -> Settling:
    """Whether nothing runs on a host any more; and what each task there waits for."""
    left = sorted({task.id for task in fleet.snapshot.tasks if task.host == host})
    status = fleet.snapshot.statuses.get(host)
    stopping = sorted(set(status.tasks if status and host in fleet.snapshot.present else ()) - set(left))
    services = {(task.cluster, task.service) for task in fleet.snapshot.tasks if task.host == host}
    said = [
        (cluster, service, reason)
        for cluster, plan in fleet.plans.items()
        for service, reason in (
            *((note.service, note.reason) for note in plan.notes),
            *((pending.service, pending.reason) for pending in plan.pending),
        )
    ]
    reasons = [f"{cluster}/{service}: {reason}" for cluster, service, reason in said if (cluster, service) in services]
    counts = f"{_tasks(len(left))} left on {host}, {len(stopping)} stopping"
    lines = [counts if left or stopping else f"{host} is empty", *dict.fromkeys(reasons)]
    return Settling(lines=tuple(lines), failed=(), done=not left and not stopping)


def stopped(fleet: Fleet, service: str) -> Settling:
    """Whether no task of a service is issued any more, nor stopping on a host that is there."""
    left = {task.id for task in fleet.snapshot.tasks if task.service == service}
    # the record of one that stops is gone already; its id begins with its cluster and service
    mine = {f"{name}-{service}" for name in fleet.snapshot.clusters}
    for host in fleet.snapshot.present & fleet.snapshot.statuses.keys():
        left |= {each for each in fleet.snapshot.statuses[host].tasks if each.rsplit("-", 2)[0] in mine}
    line = f"{service}: {_tasks(len(left))} yet to stop" if left else f"{service}: all of its tasks have stopped"
    return Settling(lines=(line,), failed=(), done=not left)


def taken_back(fleet: Fleet, service: str) -> Settling:
    """Whether the rollouts of a service have gone back.

    It will not where going back failed as well, nor where the version was through before the scheduler heard.
    """
    mine = [rollout for (_, name), rollout in fleet.snapshot.rollouts.items() if name == service]
    is_over = bool(mine) and all(each.phase in _ENDED for each in mine)
    bad = [each for each in mine if each.phase is RolloutPhase.FAILED and _could_go_back(fleet, each)]
    if all(each.phase is RolloutPhase.COMPLETED for each in mine):
        bad = mine
    return Settling(
        lines=tuple(map(_line, mine)),
        failed=tuple(map(_line, bad)) if is_over else (),
        done=is_over and not bad,
    )


def _could_go_back(fleet: Fleet, rollout: Rollout) -> bool:
    """Not a batch, nor where what was before is not stored: these are only given up."""
    declared = fleet.snapshot.services.get(rollout.service)
    is_stored = rollout.goes_back_to in fleet.snapshot.definitions
    return is_stored and (declared is None or declared.kind != "batch")


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def _line(rollout: Rollout) -> str:
    return f"{rollout.cluster}/{rollout.service}: {rollout.phase}" + (f": {rollout.reason}" if rollout.reason else "")
