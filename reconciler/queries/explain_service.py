"""What there is to say about a service: asked by ``explain``, of the scheduler's own reading and plan."""

from collections.abc import Iterable, Iterator

import msgspec

from reconciler.model import keys
from reconciler.model.task import Decision, Rollout, Task
from reconciler.queries.fleet import OUR_SCHEDULER, Fleet
from reconciler.queries.losses import with_losses
from reconciler.queries.provenance import Origin, Provenance
from reconciler.queries.status import ServiceRow, SourceRow, status
from reconciler.queries.tasks import TaskRow, tasks
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import view_of
from reconciler.scheduler.steps import Plan, Refusal
from reconciler.scheduler.system_plan import sized


class Unplaced(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that should run and find no place. ``hosts``: every host, and why it does not take one."""

    task_name: str
    task_version: int
    count: int
    hosts: tuple[Refusal, ...]


class ServiceInCluster(msgspec.Struct, frozen=True, kw_only=True):
    """The service in one cluster. ``waits_for``: why it is not (yet) as it should be, in the scheduler's own words.

    ``min`` and ``max`` are those that count now, with what operators said; they mean nothing of a batch, of which
    ``done`` counts the tasks that came to a good end.
    """

    cluster: str
    scheduler: str
    is_scheduled: bool
    ok: bool
    kind: str
    desired: int
    done: int
    min: int
    max: int
    issued: int
    healthy: int
    current: int
    rollout: Rollout | None
    waits_for: tuple[str, ...]
    tasks: tuple[TaskRow, ...]
    unplaced: tuple[Unplaced, ...]
    decisions: tuple[Decision, ...]


class ServiceAnswer(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="service"):
    """``origins``: where the clusters, the service and the definitions that it wants and runs are declared.

    ``sources`` are those of these, as ``status`` shows them.
    """

    name: str
    task_name: str
    task_version: int
    origins: tuple[Origin, ...]
    sources: tuple[SourceRow, ...]
    clusters: tuple[ServiceInCluster, ...]


def explain_service(fleet: Fleet, provenance: Provenance, name: str) -> ServiceAnswer:
    """Everything about the service ``name``."""
    snapshot, picture = fleet.snapshot, status(fleet)
    service = snapshot.services.get(name)
    rows = [row for row in picture.services if row.service == name]
    members = [row for row in tasks(fleet) if row.service == name]
    wanted = {(service.task_name, service.task_version)} if service else set()
    definitions = sorted(wanted | {(row.task_name, row.task_version) for row in members})
    origins = (
        *(provenance.origin(fleet, keys.cluster(row.cluster), snapshot.clusters.get(row.cluster)) for row in rows),
        provenance.origin(fleet, keys.service(name), service),
        *(definition_origin(fleet, provenance, *each) for each in definitions),
    )
    return ServiceAnswer(
        name=name,
        task_name=service.task_name if service else "",
        task_version=service.task_version if service else 0,
        origins=origins,
        sources=sources_of(picture.sources, origins),
        clusters=tuple(
            _in_cluster(fleet, row, [each for each in members if each.cluster == row.cluster]) for row in rows
        ),
    )


def _in_cluster(fleet: Fleet, row: ServiceRow, members: list[TaskRow]) -> ServiceInCluster:
    snapshot = fleet.snapshot
    declared, cluster = snapshot.services.get(row.service), snapshot.clusters.get(row.cluster)
    service = snapshot.overrides.service(declared) if declared else None
    if service is not None and service.kind == "system":
        service = sized(service, row.desired)
    head = snapshot.heads.get(row.cluster)
    made = explained_plan(fleet, row.cluster)
    return ServiceInCluster(
        cluster=row.cluster,
        scheduler=cluster.scheduler if cluster else head.scheduler if head else "",
        is_scheduled=fleet.schedulers.get(row.cluster) is not None,
        ok=row.ok,
        kind=row.kind,
        desired=row.desired,
        done=row.done,
        min=min(service.min_healthy, row.desired) if service else 0,
        max=service.max_issued if service else 0,
        issued=row.issued,
        healthy=row.healthy,
        current=row.current,
        rollout=snapshot.rollouts.get((row.cluster, row.service)),
        waits_for=_waits_for(fleet, row, made),
        tasks=tuple(each for each in members if each.id is not None),
        unplaced=unplaced(made, row.service),
        decisions=tuple(_decisions(fleet, row, head.decisions)) if head else (),
    )


def _decisions(fleet: Fleet, row: ServiceRow, every: Iterable[Decision]) -> Iterator[Decision]:
    """Those of the service, and those of hosts by which tasks started that it still has."""
    tasks = [each for each in fleet.snapshot.tasks if (each.cluster, each.service) == (row.cluster, row.service)]
    for decision in every:
        if decision.tells_of(row.service) or any(is_told_of_host(decision, task) for task in tasks):
            yield decision


def is_told_of_host(decision: Decision, task: Task) -> bool:
    """Whether it says of a whole host, without a service, what started the task there."""
    return not decision.service and decision.seq == task.issue and task.host in decision.what.split()


def _waits_for(fleet: Fleet, row: ServiceRow, made: Plan | None) -> tuple[str, ...]:
    reasons = []
    if fleet.schedulers.get(row.cluster) is None:
        reasons.append(f"nobody schedules cluster {row.cluster}")
    if made is None:
        reasons.append("another program schedules it; what that one would do, only it knows")
    elif made.hold:
        reasons.append(f"nothing is changed: {made.hold}")
    elif made.brake:
        reasons.append(made.brake)
    notes = [note.reason for note in made.notes if note.service == row.service] if made else []
    unwanted = row.reasons if not row.desired and not row.ok else ()
    return tuple(dict.fromkeys((*reasons, *notes, *unwanted)))


def explained_plan(fleet: Fleet, cluster: str) -> Plan | None:
    """What the cluster's scheduler would do now, and why each host does not take what finds no place."""
    if cluster not in fleet.plans:
        return None
    made = plan(view_of(fleet.scene, cluster, OUR_SCHEDULER), fleet.now, explains=True)
    return with_losses(fleet.scene, made, OUR_SCHEDULER, fleet.now)


def unplaced(made: Plan | None, service: str | None = None) -> tuple[Unplaced, ...]:
    """What finds no place in a plan (of one service)."""
    return tuple(
        Unplaced(task_name=each.task_name, task_version=each.task_version, count=each.count, hosts=each.hosts)
        for each in (made.pending if made else ())
        if service in (None, each.service)
    )


def definition_origin(fleet: Fleet, provenance: Provenance, name: str, version: int) -> Origin:
    """Where a task definition is declared."""
    defined = fleet.snapshot.definitions.get((name, version))
    return provenance.origin(fleet, keys.task_definition(name, version), defined.definition if defined else None)


def sources_of(sources: tuple[SourceRow, ...], origins: tuple[Origin, ...]) -> tuple[SourceRow, ...]:
    """The sources of some objects."""
    names = {origin.source for origin in origins}
    return tuple(row for row in sources if row.source in names)
