"""``reconciler tasks``: every task that should run, where, how it is, and why it isn't."""

from collections.abc import Mapping

import msgspec

from reconciler.model.task import Health, Phase, Task
from reconciler.queries.fleet import Fleet
from reconciler.scheduler.steps import Issue, Pending


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A task as people and programs see it. ``id``, ``instance`` and ``host`` are None while it waits to be placed.

    ``port`` is the unnamed one, ``ports`` are those with names, ``published`` runs (first and last) of those that its
    containers publish themselves. ``since`` is seconds since 1970, 0 when unknown.
    """

    id: str | None
    cluster: str
    service: str
    task_name: str
    task_version: int
    instance: int | None
    host: str | None
    port: int
    ports: Mapping[str, int]
    phase: Phase
    health: Health
    reason: str
    since: float
    attempt: int = 0
    published: tuple[tuple[int, int], ...] = ()
    outdated: str = ""
    """Which value it runs with is another by now."""

    @property
    def healthy(self) -> bool:
        """Running and passing (or warning)."""
        return self.phase is Phase.RUNNING and self.health in (Health.PASSING, Health.WARNING)


def tasks(fleet: Fleet) -> tuple[TaskRow, ...]:
    """Every issued task, and those that wait for a place or for their scheduler."""
    rows = [_issued(fleet, task) for task in fleet.snapshot.tasks]
    for cluster, plan in fleet.plans.items():
        for pending in plan.pending:
            rows += [_waiting(cluster, pending, pending.reason)] * pending.count
        reason = "waiting for the scheduler" if fleet.schedulers.get(cluster) else "nobody schedules this cluster"
        rows += [_waiting(cluster, action.task, reason) for action in plan.actions if isinstance(action, Issue)]
    return tuple(sorted(rows, key=lambda row: (row.cluster, row.service, row.task_version, row.instance or 0)))


def _issued(fleet: Fleet, task: Task) -> TaskRow:
    status = fleet.status_of(task)
    phase, health, reason = Phase.PENDING, Health.UNKNOWN, f"waiting for the agent on {task.host}"
    if status is not None:
        phase, health, reason = status.phase, status.health, status.reason
        if status.outdated and not reason:
            reason = f"outdated: {status.outdated}"
    if task.host not in fleet.snapshot.present:
        health, reason = Health.UNKNOWN, f"the agent on {task.host} is not there"
    return TaskRow(
        id=task.id,
        cluster=task.cluster,
        service=task.service,
        task_name=task.task_name,
        task_version=task.task_version,
        instance=task.instance,
        host=task.host,
        port=task.port,
        ports=task.named_ports,
        phase=phase,
        health=health,
        reason=reason,
        since=status.since if status else task.issued_at,
        attempt=status.attempt if status else 0,
        published=task.published or (),
        outdated=status.outdated if status else "",
    )


def _waiting(cluster: str, task: Pending | Task, reason: str) -> TaskRow:
    return TaskRow(
        id=None,
        cluster=cluster,
        service=task.service,
        task_name=task.task_name,
        task_version=task.task_version,
        instance=None,
        host=None,
        port=0,
        ports={},
        phase=Phase.PENDING,
        health=Health.UNKNOWN,
        reason=reason,
        since=0.0,
    )
