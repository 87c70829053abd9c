"""``reconciler tasks``: every task that should run, where, how it is, and why it isn't."""

import msgspec

from reconciler.model.task import Health, Phase
from reconciler.queries.fleet import Fleet


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A task as people and programs see it. ``instance`` and ``host`` are None while it waits to be placed.

    ``since`` is seconds since 1970, 0 when unknown.
    """

    id: str | None
    cluster: str
    service: str
    task_name: str
    task_version: int
    instance: int | None
    host: str | None
    port: int
    phase: Phase
    health: Health
    reason: str
    since: float
    attempt: int = 0

    @property
    def healthy(self) -> bool:
        """Running and passing (or warning)."""
        return self.phase is Phase.RUNNING and self.health in (Health.PASSING, Health.WARNING)


def tasks(fleet: Fleet) -> tuple[TaskRow, ...]:
    """Every issued task, by cluster, service, version and instance."""
    rows = []
    for task in fleet.tasks:
        status = fleet.status_of(task)
        present = fleet.is_present(task.host)
        phase, health, reason = Phase.PENDING, Health.UNKNOWN, f"waiting for the agent on {task.host}"
        if status is not None:
            phase, health, reason = status.phase, status.health, status.reason
        if not present:
            health, reason = Health.UNKNOWN, f"the agent on {task.host} is not there"
        rows.append(
            TaskRow(
                id=task.id,
                cluster=task.cluster,
                service=task.service,
                task_name=task.task_name,
                task_version=task.task_version,
                instance=task.instance,
                host=task.host,
                port=task.port,
                phase=phase,
                health=health,
                reason=reason,
                since=status.since if status else task.issued_at,
                attempt=status.attempt if status else 0,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.cluster, row.service, row.task_version, row.instance or 0)))
