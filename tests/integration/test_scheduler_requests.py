"""What a change costs a scheduler on Consul: what changed and no more, however many tasks and hosts there are."""

import collections
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing

import pytest

from reconciler.model import codec, keys
from reconciler.model.manifests import Service
from reconciler.model.task import HostStatus, Task
from reconciler.scheduler.apply import Applier
from reconciler.scheduler.loop import SchedulerDaemon
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import view_of
from reconciler.store.consul_transport import Answer, Transport
from reconciler.store.interface import Acquire, CommitResult, Committed, DeleteIf, Operation, Session, Store
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support.consul import ConsulAgent
from tests.support.scheduler_store import PretendAgents, declare, declare_web, make_ours, put, tasks
from tests.support.wait import wait_until

HOSTS = 40
TASKS = 400


class Traffic:
    """Requests and bytes of answers since ``begin_anew``, by kind."""

    def __init__(self) -> None:
        self.requests: collections.Counter[str] = collections.Counter()
        self.bytes = 0

    def begin_anew(self) -> None:
        self.requests.clear()
        self.bytes = 0

    def count(self, path: str, recursive: bool, answer: Answer) -> None:
        self.requests["all tasks" if recursive and path.endswith(f"/{keys.TASKS_BY_ID}") else "other"] += 1
        self.bytes += len(answer.body)


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    made, send = Traffic(), Transport._send

    def counted(self: Transport, method: str, path: str, query: object, *rest: object) -> Answer:
        answer = send(self, method, path, query, *rest)  # type: ignore[arg-type]
        made.count(path, "recurse" in dict(query), answer)  # type: ignore[call-overload]
        return answer

    monkeypatch.setattr(Transport, "_send", counted)
    return made


class Scheduler:
    """The loop's eyes and hands without its threads."""

    def __init__(self, store: Store, cluster: str) -> None:
        self._store = store
        self._cluster = cluster
        self._session: Session = store.open_session(f"scheduler of {cluster}", 60)
        lock = Acquire(keys.scheduler_lock(cluster), b"me", self._session.id)
        assert isinstance(store.commit([lock]), Committed)
        self.observer = Observer(store)

    def seen(self) -> list[Task]:
        return sorted(self.observer.read().scene.snapshot.tasks, key=lambda task: task.id)

    def go(self) -> None:
        reading = self.observer.read()
        view = view_of(reading.scene, self._cluster, "default")
        applier = Applier(self._store, reading, view, session_id=self._session.id, now=0.0, note=self.observer.note)
        assert applier.apply(plan(view, 0.0), lambda: False) in (None, "the rest needs a fresh look at health")

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def store(consul: ConsulAgent) -> Generator[Store]:
    made = consul.store()
    make_ours(made)
    yield made
    made.close()


@pytest.fixture
def scheduler_of(store: Store) -> Generator[Callable[[str], Scheduler]]:
    made: list[Scheduler] = []

    def scheduler(cluster: str) -> Scheduler:
        made.append(Scheduler(store, cluster))
        return made[-1]

    yield scheduler
    for each in made:
        each.close()


def fleet(store: Store, scheduler: Scheduler) -> PretendAgents:
    """A cluster that runs."""
    agents = PretendAgents(store, *(f"host-{number}" for number in range(HOSTS)))
    declare_web(store, desired=TASKS, max=TASKS + 10)
    scheduler.go()
    assert len(tasks(store)) == TASKS
    agents.tick()
    scheduler.seen()
    return agents


@pytest.mark.consul
def test_a_change_of_one_host_is_read_without_all_others(
    store: Store, scheduler_of: Callable[[str], Scheduler], traffic: Traffic
) -> None:
    scheduler = scheduler_of("main")
    agents = fleet(store, scheduler)
    task = scheduler.seen()[0]
    whole = sum(len(entry.value) for entry in store.list(keys.STATUSES).entries)
    entry = store.get(keys.status(task.host))
    assert entry is not None
    status = codec.decode(entry.value, HostStatus)

    put(store, entry.key, HostStatus(host=status.host, tasks=status.tasks, notes=("changed",)))
    traffic.begin_anew()
    statuses = scheduler.observer.read().scene.snapshot.statuses
    assert statuses[task.host].notes == ("changed",)
    assert len(statuses) == HOSTS
    assert traffic.requests["all tasks"] == 0
    assert traffic.bytes < whole / 2, f"{traffic.bytes} bytes, {traffic.requests.total()} requests"
    assert traffic.requests.total() <= 12
    agents.close()


@pytest.mark.consul
def test_its_own_transactions_are_not_read_back(
    store: Store, scheduler_of: Callable[[str], Scheduler], traffic: Traffic
) -> None:
    scheduler = scheduler_of("main")
    agents = fleet(store, scheduler)
    for desired in (TASKS + 5, TASKS - 60, TASKS):
        declare(store, Service(name="web", task_name="web", task_version=1, desired=desired, max=TASKS + 10))
        traffic.begin_anew()
        scheduler.go()
        assert scheduler.seen() == sorted(tasks(store), key=lambda each: each.id)
        agents.tick()
        assert traffic.requests["all tasks"] == 0, desired
    agents.close()


@pytest.mark.consul
def test_what_others_write_is_seen_all_the_same(
    store: Store, scheduler_of: Callable[[str], Scheduler], traffic: Traffic
) -> None:
    scheduler = scheduler_of("main")
    agents = fleet(store, scheduler)
    declare_web(store, desired=5, clusters=("main", "side"))
    other = scheduler_of("side")

    def both_see_the_same() -> None:
        there = sorted(tasks(store), key=lambda task: task.id)
        assert scheduler.seen() == there
        assert other.seen() == there

    other.go()
    both_see_the_same()
    scheduler.go()
    other.go()
    both_see_the_same()
    declare(store, Service(name="web", task_name="web", task_version=1, desired=1, max=9))
    other.go()  # between a reading and a transaction of the first one
    scheduler.go()
    both_see_the_same()

    by_hand = scheduler.seen()[0]
    for key in (keys.task_by_id(by_hand.id), keys.task_by_host(by_hand.host, by_hand.id)):
        entry = store.get(key)
        assert entry is not None
        assert isinstance(store.commit([DeleteIf(key, entry.index)]), Committed)
    both_see_the_same()
    agents.close()


class SlowStore(MemoryStore):
    """Counts its watches, and has transactions that issue tasks wait until ``goes_on``."""

    def __init__(self, space: MemorySpace) -> None:
        super().__init__(space)
        self.watches: collections.Counter[str] = collections.Counter()
        self.works, self.goes_on = threading.Event(), threading.Event()

    def wait(self, prefix: str, after: int, timeout_s: float) -> int:
        self.watches[prefix] += 1
        return super().wait(prefix, after, timeout_s)

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        if any(each.key.startswith(keys.TASKS) for each in operations):
            self.works.set()
            assert self.goes_on.wait(30.0)
        return super().commit(operations)


def test_nothing_is_watched_while_it_writes() -> None:
    space = MemorySpace()
    with closing(MemoryStore(space)) as store, closing(SlowStore(space)) as slow:
        make_ours(store)
        agents = PretendAgents(store, "h1")
        declare_web(store, desired=1)
        scheduler = SchedulerDaemon(slow, emit=lambda _: None)
        scheduler.start()
        assert slow.works.wait(30.0)
        before = slow.watches[keys.STATUSES]
        for number in range(10):
            put(store, keys.status("h1"), HostStatus(host="h1", tasks={}, notes=(str(number),)))
            threading.Event().wait(0.05)  # time enough to ask again
        assert slow.watches[keys.STATUSES] <= before + 2
        slow.goes_on.set()
        wait_until(lambda: agents.tick() or agents.healthy("web", 1, 1), what="what happened meanwhile is seen")
        scheduler.stop()
        agents.close()
