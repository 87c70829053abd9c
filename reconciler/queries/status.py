"""``reconciler status``: is what was asked for what runs, and if not, why not."""

from collections import Counter

import msgspec

from reconciler.model.task import SourceState
from reconciler.queries.fleet import Fleet
from reconciler.queries.tasks import TaskRow, tasks


class ServiceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A service in a cluster. ``healthy`` counts every healthy task, ``current`` those of the wanted version."""

    cluster: str
    service: str
    task_name: str
    task_version: int
    desired: int
    issued: int
    healthy: int
    current: int
    ok: bool
    versions: dict[int, int]
    reasons: tuple[str, ...]


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A source of manifests: what is applied, what was seen last, and why the two differ if they do."""

    source: str
    kind: str
    location: str
    revision: str
    seen: str
    ok: bool
    objects: int
    problems: tuple[str, ...]
    applied_at: float


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole picture. ``ok`` is what the exit code says."""

    ok: bool
    hosts: int
    hosts_present: int
    services: tuple[ServiceRow, ...]
    sources: tuple[SourceRow, ...]
    schedulers: dict[str, str | None]
    warnings: tuple[str, ...]


def status(fleet: Fleet) -> Status:
    """Compare what is declared with what runs."""
    rows = tasks(fleet)
    services = tuple(_services(fleet, rows))
    sources = tuple(_source(state) for state in fleet.sources.values())
    warnings = []
    present = sum(host.present for host in fleet.hosts.values())
    if fleet.clusters and not present:
        warnings.append("no agent is alive: start one with `reconciler agent`")
    for name, cluster in fleet.clusters.items():
        if fleet.schedulers.get(name) is None and cluster.scheduler == "default":
            warnings.append(f"nobody schedules cluster {name}: start one with `reconciler scheduler`")
    return Status(
        ok=all(row.ok for row in services) and all(row.ok for row in sources) and not warnings,
        hosts=len(fleet.hosts),
        hosts_present=present,
        services=services,
        sources=sources,
        schedulers={name: fleet.schedulers.get(name) for name in fleet.clusters},
        warnings=tuple(warnings),
    )


def _services(fleet: Fleet, rows: tuple[TaskRow, ...]) -> list[ServiceRow]:
    wanted = [(name, service) for name, cluster in sorted(fleet.clusters.items()) for service in cluster.services]
    leaving = sorted({(row.cluster, row.service) for row in rows} - set(wanted))
    answer = []
    for cluster, name in [*wanted, *leaving]:
        mine = [row for row in rows if (row.cluster, row.service) == (cluster, name)]
        service = fleet.services.get(name) if (cluster, name) in wanted else None
        healthy = [row for row in mine if row.healthy]
        if service is None:
            desired, task_name, version, reasons = 0, mine[0].task_name if mine else "", 0, ["is being removed"]
            if (cluster, name) in wanted:
                reasons = [f"cluster {cluster} names it, but it is not declared"]
        else:
            desired, task_name, version = service.desired, service.task_name, service.task_version
            reasons = _reasons(mine)
        current = [row for row in healthy if row.task_version == version and row.task_name == task_name]
        answer.append(
            ServiceRow(
                cluster=cluster,
                service=name,
                task_name=task_name,
                task_version=version,
                desired=desired,
                issued=len(mine),
                healthy=len(healthy),
                current=len(current),
                ok=service is not None and len(current) == len(mine) == desired,
                versions=dict(sorted(Counter(row.task_version for row in mine).items())),
                reasons=tuple(reasons),
            )
        )
    return answer


def _reasons(rows: list[TaskRow]) -> list[str]:
    """Why tasks are not well, the same reason said once."""
    counts = Counter(row.reason or str(row.phase) for row in rows if not row.healthy)
    return [f"{reason} ({count} times)" if count > 1 else reason for reason, count in counts.most_common(5)]


def _source(state: SourceState) -> SourceRow:
    return SourceRow(
        source=state.source,
        kind=state.kind,
        location=state.location,
        revision=state.mark.revision,
        seen=state.seen,
        ok=state.mark.settled and not state.problem_count,
        objects=state.mark.counts.total,
        problems=state.problems,
        applied_at=state.applied_at,
    )
