"""A scheduler that is right but for one planted bug, to see ``reconciler conformance`` find just that bug.

It shares nothing with ours but the model and the store: one thread, one cluster, one transaction a look.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Literal, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import UNSET

from reconciler.errors import StoreError
from reconciler.model import codec, keys, names, ports
from reconciler.model.manifests import Cluster, Host, Service, TaskDefinition
from reconciler.model.source_state import SourceState
from reconciler.model.task import ClusterHead, Health, HostState, HostStatus, Phase, PlacementSeq, Task, TaskStatus
from reconciler.store import lease
from reconciler.store.interface import Check, DeleteIf, Entry, Operation, Put, PutIf, Store

Bug: TypeAlias = Literal[
    "no lock",
    "no fence",
    "never takes a lock again",
    "one record only",
    "two transactions",
    "another digest",
    "no placement sequence",
    "sequence begins anew",
    "ids at once again",
    "splits ids",
    "ignores min",
    "ignores max",
    "min off by one",
    "never scales down",
    "never updates",
    "all or nothing",
    "ignores memory",
    "ignores cpu",
    "ignores ports of stopping tasks",
    "provides no named ports",
    "ignores executors",
    "ignores marks",
    "ignores draining",
    "takes missing for lost",
    "never replaces the lost",
    "goes on with a sick version",
    "keeps removed services",
    "keeps removed clusters",
    "writes a heartbeat",
]
PORTS_BUG: Bug = "ignores ports of stopping tasks"
BUGS: tuple[Bug, ...] = get_args(Bug)

PATIENCE_S = 6.0

S = TypeVar("S", bound=msgspec.Struct)


class World(msgspec.Struct):
    """One reading."""

    clusters: dict[str, Cluster]
    services: dict[str, Service]
    definitions: dict[tuple[str, int], TaskDefinition]
    host_configs: dict[str, Host]
    entries: dict[str, Entry]
    tasks: list[Task]
    hosts: dict[str, HostState]
    statuses: dict[str, HostStatus]
    sources: dict[str, SourceState]

    @property
    def present(self) -> set[str]:
        return {host for host in self.hosts if self.entries[keys.host_state(host)].holder}


class CarelessScheduler:
    """Serves clusters that name it, until ``stop``."""

    def __init__(self, store: Store, name: str, bug: Bug | None) -> None:
        self._store = store
        self._name = name
        self._bug = bug
        self._keeper = lease.SessionKeeper(store, "careless")
        self._stopping = threading.Event()
        self._missing: dict[str, float] = {}
        self._had = False
        self._thread = threading.Thread(target=self._run, name="careless", daemon=True)

    def start(self) -> None:
        self._keeper.start()
        assert self._keeper.wait_open(20)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(20)
        self._keeper.close()

    def _run(self) -> None:
        while not self._stopping.wait(0.03):
            try:
                self._look()
            except StoreError:
                continue

    def _look(self) -> None:
        session = self._keeper.session_id
        world = self._read()
        if session is None or world is None:
            return
        heads = {name for name in self._heads(world) if name not in world.clusters}
        for cluster in sorted({name for name, each in world.clusters.items() if each.scheduler == self._name} | heads):
            key = keys.scheduler_lock(cluster)
            entry = self._store.get(key)
            held = entry is not None and entry.holder == session
            wants = not held and self._bug != "no lock" and not (self._bug == "never takes a lock again" and self._had)
            if wants and not (entry is not None and entry.holder) and lease.take(self._store, key, b"me", session):
                self._had = True
                return  # read anew first
            if held or self._bug in ("no fence", "no lock"):
                self._schedule(world, cluster, session)

    def _heads(self, world: World) -> Iterator[str]:
        return (key.removeprefix(keys.CLUSTER_HEADS) for key in world.entries if key.startswith(keys.CLUSTER_HEADS))

    def _read(self) -> World | None:
        before = self._store.list(keys.SOURCES).entries
        config = self._store.list(keys.CONFIG).entries
        state = self._store.list(keys.STATE).entries
        entries = {entry.key: entry for entry in (*config, *state)}
        if [entry.index for entry in before] != [each.index for each in state if each.key.startswith(keys.SOURCES)]:
            return None

        def all_of(prefix: str, kind: type[S]) -> list[S]:
            return [codec.decode(each.value, kind) for key, each in entries.items() if key.startswith(prefix)]

        return World(
            clusters={each.name: each for each in all_of(keys.CLUSTERS, Cluster)},
            services={each.name: each for each in all_of(keys.SERVICES, Service)},
            definitions={(each.name, each.version): each for each in all_of(keys.TASK_DEFINITIONS, TaskDefinition)},
            host_configs={each.name: each for each in all_of(keys.HOSTS, Host)},
            entries=entries,
            tasks=all_of(keys.TASKS_BY_ID, Task),
            hosts={each.host: each for each in all_of(keys.HOST_STATES, HostState)},
            statuses={each.host: each for each in all_of(keys.STATUSES, HostStatus)},
            sources={each.source: each for each in all_of(keys.SOURCES, SourceState)},
        )

    def _schedule(self, world: World, cluster: str, session: str) -> None:
        applying = any(not each.mark.settled for each in world.sources.values())
        if applying and self._bug != "ignores marks":
            return
        declared = world.clusters.get(cluster)
        listed = declared.services if declared else ()
        wanted = {each: world.services[each] for each in listed if each in world.services}
        grouped: dict[str, list[Task]] = defaultdict(list)
        for task in world.tasks:
            grouped[task.id.split("-")[1] if self._bug == "splits ids" else task.service].append(task)
        issue: list[Task] = []
        withdraw: list[Task] = []
        for name in sorted({*wanted, *grouped}):
            if name in wanted:
                self._plan(world, cluster, wanted[name], grouped[name], issue, withdraw)
            elif self._bug != ("keeps removed services" if declared else "keeps removed clusters"):
                withdraw += grouped[name]
        forget = declared is None and not world.tasks
        if issue or withdraw or forget or self._bug == "writes a heartbeat":
            self._commit(world, cluster, session, issue, withdraw, forget=forget)

    def _plan(
        self,
        world: World,
        cluster: str,
        service: Service,
        tasks: list[Task],
        issue: list[Task],
        withdraw: list[Task],
    ) -> None:
        definition = world.definitions[service.task_name, service.task_version]
        lost = self._lost(world)
        dead = [task for task in tasks if task.host in lost]
        alive = [task for task in tasks if task.host not in lost]
        keepers = [
            task
            for task in alive
            if (task.task_version == service.task_version or self._bug == "never updates")
            and not self._drains(world, task.host)
        ]
        leavers = [task for task in alive if task not in keepers]
        healthy = sum(self._is_healthy(world, task) for task in alive)
        ceiling = 99 if self._bug == "ignores max" else service.max_issued
        least = service.min_healthy - (self._bug == "min off by one")
        if self._bug in ("ignores min", "ignores max"):
            least = 0 if self._bug == "ignores min" else least
        withdraw += dead
        missing = service.desired - len(keepers) + (2 if self._bug == "ignores max" and leavers else 0)
        issued = len(alive)
        while missing > 0 and issued < ceiling:
            task = self._place(world, cluster, service, definition, [*world.tasks, *issue], withdraw)
            if task is None:
                break
            issue.append(task)
            issued, missing = issued + 1, missing - 1
        if self._bug == "all or nothing" and missing > 0 and issued < ceiling:
            issue[:] = [task for task in issue if task.service != service.name]
        sure = [task for task in leavers if self._is_healthy(world, task)]
        surplus = [] if self._bug == "never scales down" else keepers[service.desired :]
        for task in [*(each for each in leavers if each not in sure), *sure, *surplus]:
            if task.host not in world.present:
                continue
            if not self._is_healthy(world, task):
                if missing > 0 or issued > service.desired:
                    withdraw.append(task)
                    issued -= 1
            elif healthy - 1 >= least:
                withdraw.append(task)
                healthy, issued = healthy - 1, issued - 1

    def _lost(self, world: World) -> set[str]:
        now = time.monotonic()
        away = {task.host for task in world.tasks} - world.present
        self._missing = {host: self._missing.get(host, now) for host in away}
        if self._bug == "never replaces the lost":
            return set()
        patience_s = 0.2 if self._bug == "takes missing for lost" else PATIENCE_S
        return {host for host, since in self._missing.items() if now - since >= patience_s}

    def _drains(self, world: World, host: str) -> bool:
        return self._bug != "ignores draining" and host in world.host_configs and world.host_configs[host].draining

    def _is_healthy(self, world: World, task: Task) -> bool:
        status = world.statuses.get(task.host)
        found = status.tasks.get(task.id) if status else None
        if found is None or found.issue != task.issue or task.host not in world.present:
            return False
        if self._bug == "goes on with a sick version":
            return found.phase is Phase.RUNNING
        return found.phase is Phase.RUNNING and found.health is not Health.CRITICAL

    def _place(
        self,
        world: World,
        cluster: str,
        service: Service,
        definition: TaskDefinition,
        tasks: list[Task],
        withdrawn: list[Task],
    ) -> Task | None:
        crowd = Counter(task.host for task in tasks if task.service == service.name)
        here = {(task.host, task.id) for task in tasks}
        for host in sorted(world.present, key=lambda each: (crowd[each], each)):
            state, status = world.hosts[host], world.statuses.get(host, HostStatus(host=host))
            leaving = [each for task_id, each in status.tasks.items() if (host, task_id) not in here]
            held: list[Task | TaskStatus] = [*(task for task in tasks if task.host == host), *leaving]
            held_ports = [each for each in held if each not in leaving] if self._bug == PORTS_BUG else held
            taken = {port for each in held_ports for port in each.held_ports}
            used = 0 if self._bug == "ignores memory" else sum(each.memory for each in held)
            if self._drains(world, host) or (self._bug != "ignores executors" and "bash" not in state.executors):
                continue
            if used + definition.memory > state.memory:
                continue
            used = 0 if self._bug == "ignores cpu" else sum(each.cpu_units for each in held)
            if used + definition.cpu_units > state.cpu_units:
                continue
            fixed = ports.fixed(definition)
            free = [port for port in range(*state.port_range) if port not in taken and port not in fixed]
            if taken & set(fixed) or len(free) < ports.provided(definition):
                continue
            return self._task(world, cluster, service, definition, host, free, tasks)
        return None

    def _task(
        self,
        world: World,
        cluster: str,
        service: Service,
        definition: TaskDefinition,
        host: str,
        free: list[int],
        tasks: list[Task],
    ) -> Task:
        port, named = ports.assigned(definition, free)
        if self._bug == "provides no named ports":
            named = {}
        taken = {task.id for task in tasks}
        if self._bug != "ids at once again":
            taken |= {task_id for status in world.statuses.values() for task_id in status.tasks}
        instance = 0
        while names.task_id(cluster, service.name, definition.version, instance) in taken:
            instance += 1
        return Task(
            id=names.task_id(cluster, service.name, definition.version, instance),
            cluster=cluster,
            service=service.name,
            task_name=definition.name,
            task_version=definition.version,
            instance=instance,
            host=host,
            port=port,
            ports=named or UNSET,
            memory=definition.memory,
            cpu_units=definition.cpu_units,
            issue=0,
            digest="0" * 32 if self._bug == "another digest" else codec.digest(definition),
            issued_at=time.time(),
        )

    def _commit(
        self, world: World, cluster: str, session: str, issue: list[Task], withdraw: list[Task], *, forget: bool
    ) -> None:
        def index(key: str) -> int:
            return world.entries[key].index if key in world.entries else 0

        head_key = keys.cluster_head(cluster)
        placement = PlacementSeq(seq=0)
        if keys.PLACEMENT in world.entries:
            placement = codec.decode(world.entries[keys.PLACEMENT].value, PlacementSeq)
        begin = 0 if self._bug == "sequence begins anew" else placement.seq
        head = ClusterHead(cluster=cluster, scheduler=self._name, seq=begin)
        if head_key in world.entries:
            head = codec.decode(world.entries[head_key].value, ClusterHead)
        seq = head.seq + 1
        operations: list[Operation] = []
        if self._bug not in ("no fence", "no lock"):
            operations.append(lease.fence(keys.scheduler_lock(cluster), session))
        operations += [Check(keys.source(name), index(keys.source(name))) for name in world.sources]
        if forget and not index(head_key):
            return
        if forget:
            operations.append(DeleteIf(head_key, index(head_key)))
        else:
            operations.append(PutIf(head_key, codec.encode(msgspec.structs.replace(head, seq=seq)), index(head_key)))
        if (issue and self._bug != "no placement sequence") or forget:
            raised = PlacementSeq(seq=max(placement.seq, head.seq) + 1)
            operations.append(PutIf(keys.PLACEMENT, codec.encode(raised), index(keys.PLACEMENT)))
        second: list[Operation] = []
        for task in issue:
            value = codec.encode(msgspec.structs.replace(task, issue=seq))
            operations.append(PutIf(keys.task_by_host(task.host, task.id), value, 0))
            other = second if self._bug == "two transactions" else operations
            if self._bug == "one record only":
                operations[-1] = PutIf(keys.task_by_id(task.id), value, 0)
            else:
                other.append(PutIf(keys.task_by_id(task.id), value, 0))
        for task in {task.id: task for task in withdraw}.values():
            for key in (keys.task_by_id(task.id), keys.task_by_host(task.host, task.id)):
                if index(key):
                    operations.append(DeleteIf(key, index(key)))
        self._store.commit(operations)
        if second:
            self._store.commit([each if isinstance(each, PutIf) else Put("", b"") for each in second])
