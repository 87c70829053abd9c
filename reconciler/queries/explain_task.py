"""What there is to say about one task: asked by ``explain``."""

from collections.abc import Mapping

import msgspec

from reconciler.model import keys
from reconciler.model.task import Decision, Health, Phase, Task, TaskStatus
from reconciler.queries.explain_service import definition_origin, is_told_of_host, sources_of
from reconciler.queries.fleet import Fleet
from reconciler.queries.provenance import Origin, Provenance
from reconciler.queries.status import SourceRow, status
from reconciler.scheduler.snapshot import view_of
from reconciler.scheduler.steps import Refusal
from reconciler.scheduler.survey import survey


class TaskAnswer(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="task"):
    """A task. ``issued`` False: its record is gone, and its host is stopping it; then little else is known of it.

    ``is_wanted``: it has the content that its service wants now. ``reason`` is what its agent says last: a failing
    check's output, or how it ended; ``outdated``, which value it runs with is another by now. ``decisions`` are those
    of the transaction that issued it; ``other_hosts`` are those that would not take such a task now, ``with_room``
    those that would. Stamps are seconds since 1970.
    """

    id: str
    cluster: str
    service: str
    task_name: str
    task_version: int
    host: str
    port: int
    ports: Mapping[str, int]
    published: tuple[tuple[int, int], ...]
    memory: int
    cpu_units: int
    issued: bool
    issued_at: float
    is_wanted: bool
    phase: Phase
    health: Health
    attempt: int
    exit_code: int | None
    reason: str
    outdated: str
    since: float
    retries: int
    failed_on: tuple[str, ...]
    origins: tuple[Origin, ...]
    sources: tuple[SourceRow, ...]
    decisions: tuple[Decision, ...]
    other_hosts: tuple[Refusal, ...]
    with_room: tuple[str, ...]


def explain_task(fleet: Fleet, provenance: Provenance, task_id: str) -> TaskAnswer:
    """Everything about a task that has a record, or that a host still lists."""
    task = next((each for each in fleet.snapshot.tasks if each.id == task_id), None)
    if task is None:
        return _leaving(fleet, task_id)
    snapshot = fleet.snapshot
    found = fleet.status_of(task)
    is_present = task.host in snapshot.present
    reason = found.reason if found else f"not yet seen by the agent on {task.host}"
    view = view_of(fleet.scene, task.cluster)
    service = snapshot.services.get(task.service)
    wanted = snapshot.definitions.get((service.task_name, service.task_version)) if service else None
    own = view.definition_of(task)
    refusals = [each for each in survey(view, task.service, own) if each.host != task.host] if own else []
    origins = (
        provenance.origin(fleet, keys.cluster(task.cluster), snapshot.clusters.get(task.cluster)),
        provenance.origin(fleet, keys.service(task.service), service),
        definition_origin(fleet, provenance, task.task_name, task.task_version),
        provenance.origin(fleet, keys.host(task.host), snapshot.host_configs[task.host])
        if task.host in snapshot.host_configs
        else Origin(object=f"host {task.host}", key=keys.host(task.host), note="not declared: it reports itself"),
    )
    return TaskAnswer(
        id=task.id,
        cluster=task.cluster,
        service=task.service,
        task_name=task.task_name,
        task_version=task.task_version,
        host=task.host,
        port=task.port,
        ports=task.named_ports,
        published=task.published or (),
        memory=task.memory,
        cpu_units=task.cpu_units,
        issued=True,
        issued_at=task.issued_at,
        is_wanted=wanted is not None and wanted.is_of(task),
        phase=found.phase if found else Phase.PENDING,
        health=found.health if found and is_present else Health.UNKNOWN,
        attempt=found.attempt if found else 0,
        exit_code=found.exit_code if found else None,
        reason=reason if is_present else f"the agent on {task.host} is not there",
        outdated=found.outdated if found else "",
        since=found.since if found else task.issued_at,
        retries=task.retries,
        failed_on=task.failed_on,
        origins=origins,
        sources=sources_of(status(fleet).sources, origins),
        decisions=_why(fleet, task),
        other_hosts=tuple(refusals),
        with_room=tuple(sorted(view.hosts.keys() - {task.host, *(each.host for each in refusals)})) if own else (),
    )


def _why(fleet: Fleet, task: Task) -> tuple[Decision, ...]:
    """What was decided of its service in the transaction that issued it, if the head still has that."""
    head = fleet.snapshot.heads.get(task.cluster)
    of_it = [each for each in head.decisions if each.seq == task.issue] if head else []
    return tuple(each for each in of_it if each.service == task.service or is_told_of_host(each, task))


def _leaving(fleet: Fleet, task_id: str) -> TaskAnswer:
    """A task without a record: only its host still knows it."""
    host, found = next(
        (host, each.tasks[task_id]) for host, each in sorted(fleet.snapshot.statuses.items()) if task_id in each.tasks
    )
    cluster, why = decisions_about(fleet, task_id)
    return TaskAnswer(
        id=task_id,
        cluster=cluster,
        service=why[0].service if why else "",
        task_name="",
        task_version=0,
        host=host,
        port=found.port,
        ports=found.ports or {},
        published=found.published or (),
        memory=found.memory,
        cpu_units=found.cpu_units,
        issued=False,
        issued_at=0.0,
        is_wanted=False,
        phase=found.phase,
        health=found.health,
        attempt=found.attempt,
        exit_code=found.exit_code,
        reason=_last_words(found),
        outdated="",
        since=found.since,
        retries=0,
        failed_on=(),
        origins=(),
        sources=(),
        decisions=why,
        other_hosts=(),
        with_room=(),
    )


def decisions_about(fleet: Fleet, task_id: str) -> tuple[str, tuple[Decision, ...]]:
    """The decisions that name the task, and whose they are."""
    for cluster, head in sorted(fleet.snapshot.heads.items()):
        named = tuple(
            each for each in head.decisions if task_id in each.what.replace("(", " ").replace(")", " ").split()
        )
        if named:
            return cluster, named
    return "", ()


def _last_words(found: TaskStatus) -> str:
    return found.reason or "it is not issued any more, and its host stops it"
