"""What there is to say about a host: asked by ``explain``."""

import msgspec

from reconciler.model import keys
from reconciler.model.task import Phase
from reconciler.queries.explain_service import explained_plan, sources_of
from reconciler.queries.fleet import Fleet
from reconciler.queries.provenance import Origin, Provenance
from reconciler.queries.status import SourceRow, status
from reconciler.queries.tasks import TaskRow, tasks
from reconciler.scheduler.cluster_view import HostView


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """``total`` is what the host has, ``reserved`` is kept from tasks, ``used`` is promised to them.

    ``used`` counts tasks that are still leaving; ``free`` is below 0 where more is promised than may be.
    ``overcommit_percent``: how much of what is not reserved may be promised.
    """

    total: int
    reserved: int
    used: int
    free: int
    overcommit_percent: int = 100


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that find no place anywhere, and why not here."""

    cluster: str
    service: str
    task_name: str
    task_version: int
    count: int
    filter: str
    reason: str


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """A task without a record that still holds its place."""

    id: str
    phase: Phase
    reason: str
    since: float


class HostAnswer(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="host"):
    """A host. Memory and disk in MiB; 1024 cpu units per core. ``waits_for``: why it is not as it should be.

    ``refused`` is what finds no place anywhere, with the reason on this host; ``notes`` is what its agent says.
    """

    name: str
    origins: tuple[Origin, ...]
    sources: tuple[SourceRow, ...]
    reported: bool
    present: bool
    draining: bool
    address: str
    agent_version: str
    executors: tuple[str, ...]
    tags: dict[str, str]
    attributes: dict[str, str]
    port_range: tuple[int, int]
    memory: Resource
    cpu_units: Resource
    disk: Resource
    tasks: tuple[TaskRow, ...]
    leaving: tuple[Leaving, ...]
    refused: tuple[Refused, ...]
    waits_for: tuple[str, ...]
    notes: tuple[str, ...]


def explain_host(fleet: Fleet, provenance: Provenance, name: str) -> HostAnswer:
    """Everything about the host ``name``."""
    snapshot, host = fleet.snapshot, fleet.scene.hosts[name]
    declared = snapshot.host_configs.get(name)
    origin = provenance.origin(fleet, keys.host(name), declared)
    if declared is None:
        origin = msgspec.structs.replace(origin, note="not declared: it reports itself")
    said = snapshot.statuses.get(name)
    return HostAnswer(
        name=name,
        origins=(origin,),
        sources=sources_of(status(fleet).sources, (origin,)),
        reported=host.state is not None,
        present=host.present,
        draining=host.config.draining,
        address=host.state.address if host.state else "",
        agent_version=host.state.agent_version if host.state else "",
        executors=host.executors,
        tags=host.config.tags,
        attributes=host.state.attributes if host.state else {},
        port_range=host.port_range,
        **_resources(host),
        tasks=tuple(row for row in tasks(fleet) if row.host == name),
        leaving=tuple(
            Leaving(id=task_id, phase=each.phase, reason=each.reason, since=each.since)
            for task_id, each in sorted(said.tasks.items())
            if task_id in fleet.scene.leaving_ids
        )
        if said
        else (),
        refused=_refused(fleet, name),
        waits_for=_waits_for(fleet, name),
        notes=said.notes if said else (),
    )


def _resources(host: HostView) -> dict[str, Resource]:
    """By name, what there is of each resource of a host."""
    has, config, issued, leaving = host.state, host.config, host.issued, host.leaving

    def resource(total: int, reserved: int, usable: int, used: int, percent: int = 100) -> Resource:
        return Resource(
            total=total, reserved=min(total, reserved), used=used, free=usable - used, overcommit_percent=percent
        )

    memory, cpu_units = issued.memory + leaving.memory, issued.cpu_units + leaving.cpu_units
    return {
        "memory": resource(
            has.memory if has else 0, config.reserved_memory, host.memory, memory, config.overcommit_memory_percent
        ),
        "cpu_units": resource(
            has.cpu_units if has else 0,
            config.reserved_cpu_units,
            host.cpu_units,
            cpu_units,
            config.overcommit_cpu_percent,
        ),
        "disk": resource(has.disk if has else 0, config.reserved_disk, host.disk, issued.disk + leaving.disk),
    }


def _refused(fleet: Fleet, name: str) -> tuple[Refused, ...]:
    found = []
    for cluster in sorted(fleet.plans):
        made = explained_plan(fleet, cluster)
        for pending in made.pending if made else ():
            found += [
                Refused(
                    cluster=cluster,
                    service=pending.service,
                    task_name=pending.task_name,
                    task_version=pending.task_version,
                    count=pending.count,
                    filter=each.filter,
                    reason=each.reason,
                )
                for each in pending.hosts
                if each.host == name
            ]
    return tuple(found)


def _how_it_drains(host: HostView) -> str:
    count = host.issued.tasks
    what = "1 task goes" if count == 1 else f"{count} tasks go"
    if host.overdue:
        return f"its deadline is over, so {what} as soon as there is a place elsewhere"
    return f"{what} once {'it' if count == 1 else 'each'} has a healthy replacement elsewhere"


def _waits_for(fleet: Fleet, name: str) -> tuple[str, ...]:
    host, reasons = fleet.scene.hosts[name], []
    if host.state is None:
        reasons.append("its agent never reported itself: start one with `reconciler agent`")
    elif not host.present:
        reasons.append(
            "its agent is gone: what runs there is not known, and replaced once it is gone for as long as its service "
            "waits (reschedule_after, 30s if not given)"
        )
    said = fleet.snapshot.statuses.get(name)
    reasons += [
        f"cannot fetch what the next task of {service} needs, so its old one stays: {each.reason}"
        for service, each in sorted(said.prepared.items() if said else ())
        if each.failed
    ]
    if host.config.draining and host.issued.tasks:
        reasons.append(f"draining: {_how_it_drains(host)}")
        services = {(task.cluster, task.service) for task in fleet.snapshot.tasks if task.host == name}
        for cluster, plan in sorted(fleet.plans.items()):
            reasons += [
                f"{note.service} in cluster {cluster}: {note.reason}"
                for note in plan.notes
                if (cluster, note.service) in services
            ]
    if not host.present:
        reasons += [f"cluster {cluster}: {plan.brake}" for cluster, plan in sorted(fleet.plans.items()) if plan.brake]
    return tuple(dict.fromkeys(reasons))
