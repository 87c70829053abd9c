"""A store as schedulers see it in tests: declared objects, and agents that only pretend, but keep the protocol."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from reconciler.model import codec, keys
from reconciler.model.manifests import Cluster, ConfigObject, Service
from reconciler.model.preparation import Preparation, Prepared
from reconciler.model.source_state import SourceState, SyncMark
from reconciler.model.task import ClusterHead, Health, HostState, HostStatus, Phase, Rollout, Task, TaskStatus
from reconciler.store import sentinel
from reconciler.store.interface import Acquire, Committed, DeleteIf, Put, Session, Store
from tests.support.scheduler_world import definition, state

T = TypeVar("T", bound=msgspec.Struct)


def make_ours(store: Store) -> None:
    """Write the sentinels."""
    sentinel.ensure(store, "a store of tests")


def put(store: Store, key: str, value: msgspec.Struct) -> None:
    """Write a value whatever is there; tried again when nobody knows whether it was."""
    for _ in range(50):
        if isinstance(store.commit([Put(key, codec.encode(value))]), Committed):
            return
    raise AssertionError(f"{key} could not be written")


def declare(store: Store, *objects: ConfigObject) -> None:
    """Write objects to ``config/``, as a hand would."""
    for each in objects:
        put(store, keys.config(each), each)


def remove(store: Store, key: str) -> None:
    """Delete a key if it is there."""
    for _ in range(50):
        entry = store.get(key)
        if entry is None or isinstance(store.commit([DeleteIf(key, entry.index)]), Committed):
            return
    raise AssertionError(f"{key} could not be deleted")


def declare_web(
    store: Store, *, version: int = 1, desired: int = 1, clusters: Sequence[str] = ("main",), **fields: Any
) -> None:
    """Clusters that run a service ``web`` of a definition ``web``."""
    declare(
        store,
        definition("web", version),
        Service(name="web", task_name="web", task_version=version, desired=desired, **fields),
    )
    declare(store, *(Cluster(name=name, services=("web",)) for name in clusters))


def mark(name: str, revision: str, *, settled: bool) -> SourceState:
    """What a source says of itself."""
    how = SyncMark(settled=settled, revision=revision, to=None if settled else "next")
    return SourceState(source=name, kind="git", location="git.example.com/fleet", mark=how)


def listed(store: Store, prefix: str, kind: type[T]) -> list[T]:
    """The values under a prefix."""
    return [codec.decode(entry.value, kind, entry.key) for entry in store.list(prefix).entries]


def tasks(store: Store, cluster: str | None = None) -> list[Task]:
    """The issued tasks (of one cluster); fails if the two records of one differ."""
    entries = store.list(keys.TASKS).entries
    by_id = [codec.decode(entry.value, Task) for entry in entries if entry.key.startswith(keys.TASKS_BY_ID)]
    by_host = [codec.decode(entry.value, Task) for entry in entries if keys.is_task_by_host(entry.key)]
    assert sorted(by_id, key=_id) == sorted(by_host, key=_id), "records by id and by host differ"
    return [task for task in by_id if cluster in (None, task.cluster)]


def issued_and_healthy(store: Store) -> tuple[int, int]:
    """How many tasks there are, and how many of them are healthy, at one moment."""
    entries = store.list(keys.STATE).entries
    issued = [codec.decode(each.value, Task) for each in entries if each.key.startswith(keys.TASKS_BY_ID)]
    reported = [codec.decode(each.value, HostStatus) for each in entries if each.key.startswith(keys.STATUSES)]
    present = {each.key.removeprefix(keys.HOST_STATES) for each in entries if each.holder}
    healthy = {
        (status.host, task_id, task.issue)
        for status in reported
        for task_id, task in status.tasks.items()
        if status.host in present and task.healthy
    }
    return len(issued), sum((task.host, task.id, task.issue) in healthy for task in issued)


def _id(task: Task) -> str:
    return task.id


def head(store: Store, cluster: str = "main") -> ClusterHead:
    """The head of a cluster."""
    entry = store.get(keys.cluster_head(cluster))
    assert entry is not None
    return codec.decode(entry.value, ClusterHead, entry.key)


def rollout(store: Store, service: str = "web", cluster: str = "main") -> Rollout | None:
    """The stored rollout of a service."""
    entry = store.get(keys.rollout(cluster, service))
    return codec.decode(entry.value, Rollout, entry.key) if entry else None


class PretendAgents:
    """Agents of some hosts that run nothing. ``tick`` is one pass of all of them that are up."""

    def __init__(self, store: Store, *hosts: str, ttl_s: float = 60.0, **fields: Any) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._sessions: dict[str, Session] = {}
        self._states: dict[str, HostState] = {host: state(host, **fields) for host in hosts}
        self.sick: dict[str, TaskStatus] = {}
        """By task id, what is published instead of running and passing."""
        self.cannot_fetch = ""
        """What is published instead of that it was fetched."""
        for host in hosts:
            self.up(host)

    def up(self, host: str) -> None:
        """The host's agent starts and reports itself."""
        session = self._store.open_session(f"agent {host}", self._ttl_s)
        self._sessions[host] = session
        value = codec.encode(self._states[host])
        assert isinstance(self._store.commit([Acquire(keys.host_state(host), value, session.id)]), Committed)

    def down(self, host: str) -> None:
        """Its session ends."""
        self._sessions.pop(host).close()

    def close(self) -> None:
        """All hosts go down."""
        for host in list(self._sessions):
            self.down(host)

    def tick(self) -> None:
        """Publish what became of the tasks of each host; written only when it changed."""
        for host, session in self._sessions.items():
            session.renew()
            entries = self._store.list(keys.tasks_of_host(host)).entries
            issued = [codec.decode(each.value, Task) for each in entries if not keys.is_preparation(each.key)]
            asked = [codec.decode(each.value, Preparation) for each in entries if keys.is_preparation(each.key)]
            status = HostStatus(
                host=host,
                tasks={task.id: self._status(task) for task in issued},
                prepared={f"{each.cluster}/{each.service}": self._prepared(each) for each in asked},
            )
            entry = self._store.get(keys.status(host))
            if entry is None or entry.value != codec.encode(status):
                put(self._store, keys.status(host), status)

    def _prepared(self, asked: Preparation) -> Prepared:
        return Prepared(
            digest=asked.digest,
            ready=not self.cannot_fetch,
            failed=bool(self.cannot_fetch),
            reason=self.cannot_fetch,
        )

    def _status(self, task: Task) -> TaskStatus:
        told = self.sick.get(task.id)
        if told is not None:
            return msgspec.structs.replace(told, issue=task.issue, port=task.port, memory=task.memory)
        return TaskStatus(
            phase=Phase.RUNNING,
            issue=task.issue,
            health=Health.PASSING,
            port=task.port,
            ports=task.ports,
            published=task.published,
            memory=task.memory,
            cpu_units=task.cpu_units,
        )

    def healthy(self, service: str, version: int, count: int, cluster: str = "main") -> bool:
        """Whether exactly ``count`` tasks of the service exist, all of that version; those have been published then."""
        mine = [task for task in tasks(self._store, cluster) if task.service == service]
        self.tick()
        return len(mine) == count and all(task.task_version == version for task in mine)
