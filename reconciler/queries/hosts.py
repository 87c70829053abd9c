"""``reconciler hosts``: which hosts there are, whether their agents live, and how full they are."""

import msgspec

from reconciler.queries.fleet import Fleet


class HostRow(msgspec.Struct, frozen=True, kw_only=True):
    """A host. Memory and disk in MiB, 1024 cpu units per core; ``used`` is promised to tasks, leaving ones included."""

    host: str
    present: bool
    draining: bool
    address: str
    tasks: int
    healthy: int
    memory: int
    memory_used: int
    cpu_units: int
    cpu_units_used: int
    disk: int
    disk_used: int
    executors: tuple[str, ...]
    tags: dict[str, str]
    agent_version: str


def hosts(fleet: Fleet) -> tuple[HostRow, ...]:
    """Every host that ever reported itself, by name."""
    healthy: dict[str, int] = {}
    for task in fleet.snapshot.tasks:
        status = fleet.status_of(task)
        if status is not None and status.healthy:
            healthy[task.host] = healthy.get(task.host, 0) + 1
    return tuple(
        HostRow(
            host=name,
            present=host.present,
            draining=host.config.draining,
            address=host.state.address,
            tasks=host.issued.tasks + host.leaving.tasks,
            healthy=healthy.get(name, 0) if host.present else 0,
            memory=host.memory,
            memory_used=host.issued.memory + host.leaving.memory,
            cpu_units=host.cpu_units,
            cpu_units_used=host.issued.cpu_units + host.leaving.cpu_units,
            disk=host.disk,
            disk_used=host.issued.disk + host.leaving.disk,
            executors=host.executors,
            tags=host.config.tags,
            agent_version=host.state.agent_version,
        )
        for name, host in sorted(fleet.scene.hosts.items())
        if host.state is not None
    )
