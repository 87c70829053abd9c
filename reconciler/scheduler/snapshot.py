"""All that was read from the store at one time, decoded; and the view of one cluster in it.

``observe`` reads it; tests and scenarios build it by hand. Everything here is a pure function of what was read.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from reconciler.model import keys
from reconciler.model.manifests import Cluster, Host, Service
from reconciler.model.preparation import Preparation
from reconciler.model.source_state import SourceState
from reconciler.model.task import ClusterHead, HostState, HostStatus, Phase, Rollout, Task
from reconciler.scheduler import evidence
from reconciler.scheduler.apart import Apart, apart
from reconciler.scheduler.cluster_view import ClusterView, Defined, HostView, Use
from reconciler.scheduler.overrides import Overrides, describe, overdue


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of the whole store.

    ``unreadable`` holds by key why a value could not be decoded; ``doubt`` why nothing may be decided from all of it.
    ``missing_s``, ``failed_s`` and ``healthy_s`` come from the observer's own clock, by host and by task id; so does
    ``stalled_s``, by cluster and service: since when a rollout has come no further.
    """

    clusters: Mapping[str, Cluster] = {}
    services: Mapping[str, Service] = {}
    definitions: Mapping[tuple[str, int], Defined] = {}
    host_configs: Mapping[str, Host] = {}
    tasks: tuple[Task, ...] = ()
    host_states: Mapping[str, HostState] = {}
    present: frozenset[str] = frozenset()
    statuses: Mapping[str, HostStatus] = {}
    heads: Mapping[str, ClusterHead] = {}
    rollouts: Mapping[tuple[str, str], Rollout] = {}
    preparations: tuple[Preparation, ...] = ()
    sources: Mapping[str, SourceState] = {}
    unreadable: Mapping[str, str] = {}
    doubt: str | None = None
    missing_s: Mapping[str, float] = {}
    failed_s: Mapping[str, float] = {}
    healthy_s: Mapping[str, float] = {}
    stalled_s: Mapping[tuple[str, str], float] = {}
    overrides: Overrides = Overrides()
    reschedule_after_s: float = 30.0


class Scene(msgspec.Struct, frozen=True):
    """What the views of all clusters share, worked out once for each reading.

    ``tasks`` and ``rollouts`` are by cluster and service; ``doubt`` says why the reading proves nothing.
    """

    snapshot: Snapshot
    hosts: Mapping[str, HostView]
    tasks: Mapping[str, Mapping[str, tuple[Task, ...]]]
    rollouts: Mapping[str, Mapping[str, Rollout]]
    issued_ids: frozenset[str]
    leaving_ids: frozenset[str]
    doubt: str | None
    apart: Apart


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was read, and the index of every key that a transaction may have to compare.

    ``unmoved`` are those that each one compares: no source has moved since (rule 2).
    """

    scene: Scene
    placement_seq: int
    indexes: dict[str, int]
    unmoved: dict[str, int]


def scene(snapshot: Snapshot) -> Scene:
    """Sort the records by cluster and service, and add up what each host is promised."""
    issued: dict[str, list[Task]] = defaultdict(list)
    by_service: dict[str, dict[str, list[Task]]] = defaultdict(lambda: defaultdict(list))
    for task in snapshot.tasks:
        issued[task.host].append(task)
        by_service[task.cluster][task.service].append(task)
    records = {(task.host, task.id) for task in snapshot.tasks}
    leaving = {
        host: left
        for host, status in snapshot.statuses.items()
        if (left := {task_id: task for task_id, task in status.tasks.items() if (host, task_id) not in records})
    }
    applying = evidence.applying(snapshot.sources)
    late = overdue(snapshot.overrides, snapshot.host_configs)
    failing = _failing(snapshot)
    hosts = {}
    for name in snapshot.host_states.keys() | snapshot.host_configs.keys() | issued.keys() | leaving.keys():
        config = snapshot.host_configs.get(name, Host(name=name))
        drained = snapshot.overrides.drained(config)
        hosts[name] = HostView(
            name=name,
            state=snapshot.host_states.get(name),
            config=msgspec.structs.replace(config, draining=drained.draining) if drained else config,
            present=name in snapshot.present,
            missing_s=snapshot.missing_s.get(name, 0.0),
            drain_settled=drained is not None or config.managed_by not in applying,
            overdue=name in late,
            failing=name in failing,
            issued=_use((task.id, task.held_ports, *_promised(snapshot, task), task.service) for task in issued[name]),
            leaving=_use(
                # an id is never trusted to act on, only to hold back: what its service is kept apart from
                (each, task.held_ports, task.memory, task.cpu_units, task.disk, each.rsplit("-", 2)[0])
                for each, task in leaving.get(name, {}).items()
            ),
        )
    tasks = {
        cluster: {service: tuple(sorted(each, key=_order)) for service, each in services.items()}
        for cluster, services in by_service.items()
    }
    rollouts: dict[str, dict[str, Rollout]] = defaultdict(dict)
    for (cluster, service), rollout in snapshot.rollouts.items():
        rollouts[cluster][service] = rollout
    leaving_ids = frozenset(task_id for left in leaving.values() for task_id in left)
    doubt = snapshot.doubt or evidence.incomplete(snapshot.sources, _owners(snapshot))
    issued_ids = frozenset(task.id for task in snapshot.tasks)
    return Scene(snapshot, hosts, tasks, rollouts, issued_ids, leaving_ids, doubt, apart(snapshot.services.values()))


def _order(task: Task) -> tuple[str, int, int]:
    return task.task_name, task.task_version, task.instance


def _promised(snapshot: Snapshot, task: Task) -> tuple[int, int, int]:
    """Memory, cpu units and disk of a record; another program's scheduler may have left them out."""
    if task.memory or task.cpu_units or task.disk:
        return task.memory, task.cpu_units, task.disk
    found = snapshot.definitions.get((task.task_name, task.task_version))
    if found is None or not found.is_of(task):
        return 0, 0, 0
    return found.definition.memory, found.definition.cpu_units, found.definition.disk


def _failing(snapshot: Snapshot) -> frozenset[str]:
    """Hosts on which tasks of several services failed, as far as the records and the hosts still tell."""
    failed: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for task in snapshot.tasks:
        for host in task.failed_on:
            failed[host].add((task.cluster, task.service))
        status = snapshot.statuses.get(task.host)
        found = status.tasks.get(task.id) if status else None
        if found and found.issue == task.issue and found.phase in (Phase.FAILED, Phase.REJECTED):
            failed[task.host].add((task.cluster, task.service))
    return frozenset(host for host, services in failed.items() if len(services) >= FAILING_SERVICES)


def _use(held: Iterable[tuple[str, tuple[int, ...], int, int, int, str]]) -> Use:
    tasks = memory = cpu_units = disk = 0
    by_port: dict[int, str] = {}
    services: dict[str, int] = {}
    for task_id, ports, task_memory, task_cpu_units, task_disk, service in held:
        tasks += 1
        memory += task_memory
        cpu_units += task_cpu_units
        disk += task_disk
        services[service] = services.get(service, 0) + 1
        for port in ports:
            by_port[port] = task_id
    return Use(tasks, memory, cpu_units, by_port, disk, services) if tasks else _NOTHING


FAILING_SERVICES: Final = 3
"""A host on which tasks of so many services failed is taken only when no other fits."""
_NOTHING = Use()


def clusters_of(declared: Mapping[str, Cluster], heads: Mapping[str, ClusterHead], scheduler: str) -> tuple[str, ...]:
    """The clusters that a scheduler of this name serves: declared ones, and those whose last tasks are not gone."""
    wanted = {name for name, cluster in declared.items() if cluster.scheduler == scheduler}
    left = {name for name, head in heads.items() if head.scheduler == scheduler}
    return tuple(sorted(wanted | (left - declared.keys())))


def view_of(everything: Scene, name: str, scheduler: str | None = None) -> ClusterView:
    """The cluster ``name`` as a scheduler called ``scheduler`` sees it (default: the one that it names itself)."""
    snapshot = everything.snapshot
    declared = snapshot.clusters.get(name)
    head = snapshot.heads.get(name)
    if scheduler is None:
        scheduler = declared.scheduler if declared else head.scheduler if head else "default"
    tasks = everything.tasks.get(name, {})
    wanted = declared.services if declared else ()
    overrides = snapshot.overrides
    services = {each: overrides.service(snapshot.services[each]) for each in wanted if each in snapshot.services}
    rollouts = everything.rollouts.get(name, {})
    preparations: dict[str, dict[str, Preparation]] = defaultdict(dict)
    for each in snapshot.preparations:
        if each.cluster == name:
            preparations[each.service][each.host] = each
    applying = evidence.applying(snapshot.sources)
    paused = overrides.paused(name)
    held = {}
    for service in sorted({*wanted, *tasks, *rollouts, *preparations}):
        reason = evidence.held(
            declared,
            services.get(service),
            snapshot.definitions,
            applying,
            snapshot.unreadable.get(keys.service(service)),
        )
        if paused is not None:
            reason = f"paused {describe(paused)}"
        if reason:
            held[service] = reason
    return ClusterView(
        name=name,
        scheduler=scheduler,
        declared=declared,
        head=head,
        services=services,
        definitions=snapshot.definitions,
        tasks=tasks,
        rollouts=rollouts,
        preparations=preparations,
        hosts=everything.hosts,
        statuses=snapshot.statuses,
        issued_ids=everything.issued_ids,
        leaving_ids=everything.leaving_ids,
        hold=everything.doubt or evidence.unreadable_for(name, snapshot.unreadable),
        applying=applying,
        held=held,
        failed_s=snapshot.failed_s,
        healthy_s=snapshot.healthy_s,
        stalled_s={service: seconds for (cluster, service), seconds in snapshot.stalled_s.items() if cluster == name},
        verdicts={each: found.verdict for each, found in overrides.services.items() if found.verdict},
        restarted={each: issued for each in services if (issued := overrides.restarted_at(each, name))},
        rebalanced={each: moved for each in services if (moved := overrides.rebalanced(each))},
        scaled_by={each: describe(said) for each in services if (said := overrides.scaled(snapshot.services[each]))},
        overrides_end_s=overrides.next_end_s(),
        apart=everything.apart,
        reschedule_after_s=snapshot.reschedule_after_s,
    )


def _owners(snapshot: Snapshot) -> evidence.Owners:
    """By kind, whose object each one is."""
    return {
        "clusters": [each.managed_by for each in snapshot.clusters.values()],
        "services": [each.managed_by for each in snapshot.services.values()],
        "task_definitions": [each.definition.managed_by for each in snapshot.definitions.values()],
        "hosts": [each.managed_by for each in snapshot.host_configs.values()],
    }
