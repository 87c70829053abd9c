"""``reconciler status``: is what was asked for what runs, and if not, why not."""

from collections import Counter

import msgspec

from reconciler.model.intents import Rollback, Suspension
from reconciler.model.manifests import Service
from reconciler.model.source_state import SourceState, Trial
from reconciler.queries.fleet import OUR_SCHEDULER, Fleet
from reconciler.queries.overrides import OverrideRow, overrides
from reconciler.queries.tasks import TaskRow, tasks
from reconciler.scheduler.overrides import describe
from reconciler.sync.gate import in_force

REASONS_SHOWN = 5


class ServiceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A service in a cluster. ``healthy`` counts every healthy task, ``current`` those of the wanted version.

    ``versions`` counts issued tasks by version. Of a system service ``desired`` is how many hosts are to have it; of a
    batch ``done`` counts the tasks that came to a good end.
    """

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
    kind: str = "service"
    done: int = 0


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
    drift: tuple[str, ...] = ()
    suspended: Suspension | None = None
    rollback: Rollback | None = None
    """What operators said, as long as it is in force; a source with one of them is not ok."""
    trial: Trial | None = None
    quarantine: Rollback | None = None
    """What the gate says of the revision that is applied, and of the one that was seen last."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole picture. ``ok`` is what the exit code says."""

    ok: bool
    hosts: int
    hosts_present: int
    services: tuple[ServiceRow, ...]
    sources: tuple[SourceRow, ...]
    schedulers: dict[str, str | None]
    overrides: tuple[OverrideRow, ...] = ()
    warnings: tuple[str, ...]


def status(fleet: Fleet) -> Status:
    """Compare what is declared with what runs."""
    services = _services(fleet)
    sources = tuple(_source(fleet, state) for _, state in sorted(fleet.snapshot.sources.items()))
    warnings = _warnings(fleet)
    return Status(
        ok=all(row.ok for row in services) and all(row.ok for row in sources) and not warnings,
        hosts=len(fleet.snapshot.host_states),
        hosts_present=len(fleet.snapshot.present),
        services=services,
        sources=sources,
        schedulers=dict(sorted(fleet.schedulers.items())),
        overrides=overrides(fleet.snapshot),
        warnings=warnings,
    )


def _services(fleet: Fleet) -> tuple[ServiceRow, ...]:
    rows: dict[tuple[str, str], list[TaskRow]] = {
        (name, service): [] for name, cluster in fleet.snapshot.clusters.items() for service in cluster.services
    }
    wanted = set(rows)
    for row in tasks(fleet):
        rows.setdefault((row.cluster, row.service), []).append(row)
    return tuple(
        _wanted(fleet, cluster, fleet.snapshot.overrides.service(fleet.snapshot.services[service]), mine)
        if (cluster, service) in wanted and service in fleet.snapshot.services
        else _unwanted(cluster, service, mine, is_named=(cluster, service) in wanted)
        for (cluster, service), mine in sorted(rows.items())
    )


def _wanted(fleet: Fleet, cluster: str, service: Service, rows: list[TaskRow]) -> ServiceRow:
    issued = [row for row in rows if row.id is not None]
    current = [row for row in issued if _is_current(fleet, service, row)]
    outdated = Counter(row.outdated for row in issued if row.outdated and service.kind != "batch")
    plan = fleet.plans.get(cluster)
    notes = [note.reason for note in plan.notes if note.service == service.name] if plan else []
    scaled = fleet.snapshot.overrides.scaled(fleet.snapshot.services[service.name])
    if is_stopped := scaled is not None and scaled.desired == 0:
        notes.append(f"stopped {describe(scaled)}: `reconciler start {service.name}`")
    notes += [f"{count} of its tasks are outdated: {what}" for what, count in outdated.most_common(REASONS_SHOWN)]
    desired = service.desired
    if service.kind == "system" and desired:  # where nobody can tell on how many hosts, on those that have it
        desired = (plan.hosts if plan else {}).get(service.name, len(issued) or desired)
    done = _done(fleet, cluster, service)
    return ServiceRow(
        cluster=cluster,
        service=service.name,
        kind=service.kind,
        done=done,
        task_name=service.task_name,
        task_version=service.task_version,
        desired=desired,
        issued=len(issued),
        healthy=sum(row.healthy for row in issued),
        current=sum(row.healthy for row in current),
        ok=len(current) == len(rows) == max(0, desired - done) and all(row.healthy for row in rows) and not is_stopped,
        versions=dict(sorted(Counter(row.task_version for row in issued).items())),
        reasons=(*dict.fromkeys(notes), *_of_tasks(rows, notes)),
    )


def _done(fleet: Fleet, cluster: str, service: Service) -> int:
    """How many tasks of a batch have come to a good end, of the content that is wanted now."""
    rollout = fleet.snapshot.rollouts.get((cluster, service.name))
    wanted = fleet.snapshot.definitions.get((service.task_name, service.task_version))
    if service.kind != "batch" or rollout is None or wanted is None or rollout.target_digest != wanted.digest:
        return 0
    return rollout.done


def _is_current(fleet: Fleet, service: Service, row: TaskRow) -> bool:
    """Whether a task has the content that is wanted now: under one version it may have changed (``dev``).

    One that is to be replaced, by an operator's word or for a value that changed, is not what is wanted.
    """
    if row.outdated and service.kind != "batch":
        return False
    overrides = fleet.snapshot.overrides
    restarted = overrides.restarted_at(service.name, row.cluster)
    defined = fleet.snapshot.definitions.get((service.task_name, service.task_version))
    return defined is not None and any(
        defined.is_of(task) and task.issue > restarted and not overrides.wants_elsewhere(task)
        for task in fleet.scene.tasks[row.cluster][row.service]
        if task.id == row.id
    )


def _unwanted(cluster: str, service: str, rows: list[TaskRow], *, is_named: bool) -> ServiceRow:
    return ServiceRow(
        cluster=cluster,
        service=service,
        task_name=rows[0].task_name if rows else "",
        task_version=rows[0].task_version if rows else 0,
        desired=0,
        issued=len(rows),
        healthy=sum(row.healthy for row in rows),
        current=0,
        ok=False,
        versions=dict(sorted(Counter(row.task_version for row in rows).items())),
        reasons=(f"cluster {cluster} names it, but it is not declared" if is_named else "is being removed",),
    )


def _of_tasks(rows: list[TaskRow], notes: list[str]) -> tuple[str, ...]:
    """Why tasks are not well, the same reason said once; that of one task not again if a note has it."""
    counts = Counter(row.reason or str(row.phase) for row in rows if not row.healthy)
    return tuple(
        f"{reason} ({count} times)" if count > 1 else reason
        for reason, count in counts.most_common(REASONS_SHOWN)
        if count > 1 or not any(note.endswith(f": {reason}") for note in notes)
    )


def _source(fleet: Fleet, state: SourceState) -> SourceRow:
    intent = fleet.intents.get(state.source)
    suspended = intent.suspension(fleet.now) if intent else None
    rollback = intent.rollback_of(state.seen) if intent else None
    quarantine = in_force(state, intent, state.seen) if rollback is None else None
    is_sick = quarantine is not None or bool(state.trial and state.trial.failed)
    return SourceRow(
        source=state.source,
        kind=state.kind,
        location=state.location,
        revision=state.mark.revision,
        seen=state.seen,
        ok=state.mark.settled
        and state.source not in fleet.unreadable_intents
        and not (state.problem_count or state.drift or suspended or rollback or is_sick),
        objects=state.mark.counts.total,
        problems=state.problems,
        applied_at=state.applied_at,
        drift=state.drift,
        suspended=suspended,
        rollback=rollback,
        trial=state.trial,
        quarantine=quarantine,
    )


def _warnings(fleet: Fleet) -> tuple[str, ...]:
    snapshot = fleet.snapshot
    warnings = [f"{key}: {why}" for key, why in sorted(snapshot.unreadable.items())]
    warnings += [
        f"{why}; nothing is written for {name} until it is mended, or `reconciler resume {name} --discard` deletes it"
        for name, why in sorted(fleet.unreadable_intents.items())
    ]
    if fleet.scene.doubt:
        warnings.append(f"nothing is changed: {fleet.scene.doubt}")
    if snapshot.clusters and not snapshot.present:
        warnings.append("no agent is alive: start one with `reconciler agent`")
    for name in sorted(snapshot.clusters):
        if pause := snapshot.overrides.paused(name):
            how = f"paused {describe(pause)}: nothing is changed voluntarily until `reconciler unpause`"
            warnings.append(f"cluster {name} is {how}")
    for name, plan in sorted(fleet.plans.items()):
        if plan.brake:
            warnings.append(f"cluster {name}: {plan.brake}")
    for name, cluster in sorted(snapshot.clusters.items()):
        if fleet.schedulers.get(name) is None:
            how = "" if cluster.scheduler == OUR_SCHEDULER else f" --name {cluster.scheduler}"
            warnings.append(f"nobody schedules cluster {name}: start one with `reconciler scheduler{how}`")
    return tuple(warnings)
