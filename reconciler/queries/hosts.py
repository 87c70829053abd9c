"""``reconciler hosts``: which hosts there are, whether their agents live, and how full they are."""

import msgspec

from reconciler.model.manifests import Host
from reconciler.queries.fleet import Fleet


class HostRow(msgspec.Struct, frozen=True, kw_only=True):
    """A host. Memory in MiB; 1024 cpu units per core; ``used`` is what issued tasks are promised."""

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
    executors: tuple[str, ...]
    tags: dict[str, str]
    agent_version: str


def hosts(fleet: Fleet) -> tuple[HostRow, ...]:
    """Every host that ever reported itself, by name."""
    rows = []
    for name, known in sorted(fleet.hosts.items()):
        config = fleet.host_configs.get(name, Host(name=name))
        tasks = [task for task in fleet.tasks if task.host == name]
        needs = [fleet.definitions.get((task.task_name, task.task_version)) for task in tasks]
        statuses = [fleet.status_of(task) for task in tasks]
        rows.append(
            HostRow(
                host=name,
                present=known.present,
                draining=config.draining,
                address=known.state.address,
                tasks=len(tasks),
                healthy=sum(status.healthy for status in statuses if status) if known.present else 0,
                memory=known.state.memory,
                memory_used=config.reserved_memory + sum(need.memory for need in needs if need),
                cpu_units=known.state.cpu_units,
                cpu_units_used=config.reserved_cpu_units + sum(need.cpu_units for need in needs if need),
                executors=known.state.executors,
                tags=config.tags,
                agent_version=known.state.agent_version,
            )
        )
    return tuple(rows)
