"""What of a plan reaches the store, and what keeps it out."""

from collections.abc import Callable

import msgspec
import pytest
from msgspec import UNSET

from reconciler.model import codec, keys
from reconciler.model.manifests import Cluster, Service
from reconciler.model.overrides import Scaled, ServiceOverride
from reconciler.model.task import ClusterHead, Health, Phase, PlacementSeq, TaskStatus
from reconciler.runtime.clock import SystemClock
from reconciler.scheduler.apply import SAID, Applier
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import Reading, view_of
from reconciler.scheduler.steps import Plan
from reconciler.store.interface import Acquire, CommitResult, Committed, Operation, Put, PutIf, Unknown
from reconciler.store.memory import MemoryStore
from tests.support.clock import HandClock
from tests.support.scheduler_store import (
    PretendAgents,
    declare,
    declare_web,
    head,
    listed,
    make_ours,
    mark,
    put,
    remove,
    rollout,
    tasks,
)
from tests.support.scheduler_world import definition


class Scheduler:
    """The loop's hands without its threads: each method is one part of a pass."""

    def __init__(self, store: MemoryStore, cluster: str = "main") -> None:
        self.store = store
        self.cluster = cluster
        self.session = store.open_session("scheduler", 60)
        self.observer = Observer(store, clock=SystemClock())
        self.take()

    def take(self) -> None:
        lock = Acquire(keys.scheduler_lock(self.cluster), b"me", self.session.id)
        assert isinstance(self.store.commit([lock]), Committed)

    def look(self) -> tuple[Reading, Plan]:
        reading = self.observer.read()
        return reading, plan(view_of(reading.scene, self.cluster, "default"), 1000.0)

    def act(self, reading: Reading, planned: Plan, stopping: Callable[[], bool] = lambda: False) -> str | None:
        view = view_of(reading.scene, self.cluster, "default")
        applier = Applier(self.store, reading, view, session_id=self.session.id, now=1000.0)
        return applier.apply(planned, stopping)

    def go(self) -> str | None:
        return self.act(*self.look())


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    make_ours(store)
    return store


@pytest.fixture
def agents(store: MemoryStore) -> PretendAgents:
    return PretendAgents(store, "h1", "h2", "h3")


def seq(store: MemoryStore) -> int:
    entry = store.get(keys.PLACEMENT)
    return codec.decode(entry.value, PlacementSeq).seq if entry else 0


def writes(store: MemoryStore) -> int:
    return store.space.index


def test_a_task_gets_both_records_with_the_number_of_its_transaction(store: MemoryStore, agents: PretendAgents) -> None:
    declare_web(store, desired=3)
    assert Scheduler(store).go() is None
    issued = tasks(store)
    assert [task.id for task in issued] == ["main-web-1-0", "main-web-1-1", "main-web-1-2"]
    assert {task.issue for task in issued} == {head(store).seq}
    assert {task.host for task in issued} == {"h1", "h2", "h3"}


def test_rule_01_a_transaction_planned_before_another_landed_is_refused(
    store: MemoryStore, agents: PretendAgents
) -> None:
    declare_web(store, desired=1)
    scheduler = Scheduler(store)
    early = scheduler.look()
    scheduler.go()
    before = tasks(store)
    refused = scheduler.act(*early)
    assert refused is not None
    assert keys.cluster_head("main") in refused or keys.PLACEMENT in refused
    assert tasks(store) == before


def test_rule_01_every_transaction_adds_one_to_seq(store: MemoryStore, agents: PretendAgents) -> None:
    declare_web(store, desired=70)
    scheduler = Scheduler(store)
    scheduler.go()
    assert len(tasks(store)) == 70
    # a task takes two operations of 64, so 70 take three transactions
    assert head(store).seq == len({task.issue for task in tasks(store)}) == 3
    assert seq(store) == 3
    declare_web(store, desired=0)
    scheduler.go()
    assert (tasks(store), head(store).seq, seq(store)) == ([], 6, 3)


def test_rule_01_after_an_unknown_answer_nothing_more_is_tried(agents: PretendAgents, store: MemoryStore) -> None:
    class LosesAnswers(MemoryStore):
        commits = 0

        def commit(self, operations: list[Operation]) -> CommitResult:  # type: ignore[override]
            self.commits += 1
            super().commit(operations)
            return Unknown("lost")

    declare_web(store, desired=70)
    scheduler = Scheduler(store)
    reading, planned = scheduler.look()
    scheduler.store = LosesAnswers(store.space)
    assert scheduler.act(reading, planned) == "lost"
    assert scheduler.store.commits == 1
    # it did land; the next look sees that, and only the rest is issued
    scheduler.store = store
    assert len(tasks(store)) < 70
    assert scheduler.go() is None
    assert len(tasks(store)) == 70


def test_rule_01_two_schedulers_of_two_clusters_do_not_give_the_same_memory_away(store: MemoryStore) -> None:
    PretendAgents(store, "h1", memory=512)
    declare(
        store,
        definition("web", 1, memory=512),
        Service(name="web", task_name="web", task_version=1, desired=1),
        Cluster(name="a", services=("web",)),
        Cluster(name="b", services=("web",)),
    )
    one, two = Scheduler(store, "a"), Scheduler(store, "b")
    first, second = one.look(), two.look()
    assert one.act(*first) is None
    refused = two.act(*second)
    assert refused is not None
    assert keys.PLACEMENT in refused
    assert [task.cluster for task in tasks(store)] == ["a"]
    assert [pending.count for pending in two.look()[1].pending] == [1]


def test_rule_02_a_source_that_began_to_apply_since_makes_the_transaction_fail(
    store: MemoryStore, agents: PretendAgents
) -> None:
    put(store, keys.source("fleet"), mark("fleet", "r1", settled=True))
    declare_web(store, desired=1)
    scheduler = Scheduler(store)
    looked = scheduler.look()
    put(store, keys.source("fleet"), mark("fleet", "r1", settled=False))
    refused = scheduler.act(*looked)
    assert refused is not None
    assert keys.source("fleet") in refused
    assert tasks(store) == []


def test_only_the_holder_of_the_lock_writes(store: MemoryStore, agents: PretendAgents) -> None:
    declare_web(store, desired=1)
    old = Scheduler(store)
    looked = old.look()
    old.session.close()
    new = Scheduler(store)
    refused = old.act(*looked)
    assert refused is not None
    assert keys.scheduler_lock("main") in refused
    assert tasks(store) == []
    assert new.go() is None


def test_rule_08_what_rests_on_health_is_done_only_right_after_a_look(
    store: MemoryStore, agents: PretendAgents
) -> None:
    declare_web(store, desired=40, max=80)
    scheduler = Scheduler(store)
    scheduler.go()
    declare_web(store, version=2, desired=40, max=80)
    agents.tick()
    scheduler.go()
    agents.tick()
    reading, planned = scheduler.look()
    assert len(planned.actions) >= 40  # forty old tasks may stop: more than one transaction takes
    assert all(step.needs_fresh_health for step in planned.steps)
    assert scheduler.act(reading, planned) == "the rest needs a fresh look at health"
    old = [task for task in tasks(store) if task.task_version == 1]
    assert 0 < len(old) < 40
    # in the meantime all of the new version became sick, so the rest of the old one stays
    for task in tasks(store):
        if task.task_version == 2:
            agents.sick[task.id] = TaskStatus(phase=Phase.RUNNING, issue=0, health=Health.CRITICAL)
    agents.tick()
    scheduler.go()
    assert [task for task in tasks(store) if task.task_version == 1] == old


def test_rule_08_a_plan_that_only_starts_tasks_goes_on_over_many_transactions(
    store: MemoryStore, agents: PretendAgents
) -> None:
    declare_web(store, desired=100)
    assert Scheduler(store).go() is None
    assert len(tasks(store)) == 100


def test_rule_08_services_do_not_wait_for_each_other(store: MemoryStore, agents: PretendAgents) -> None:
    names = ("a", "b", "c")
    cluster = Cluster(name="main", services=names)

    def declare_all(version: int) -> None:
        for name in names:
            service = Service(name=name, task_name=name, task_version=version, desired=20, max=40)
            declare(store, definition(name, version), service, cluster)

    scheduler = Scheduler(store)
    for version in (1, 2):
        declare_all(version)
        scheduler.go()
        agents.tick()
    # twenty old tasks of each may stop, and each twenty take a transaction of their own
    assert scheduler.go() is None
    assert {task.task_version for task in tasks(store)} == {2}


def test_hosts_learn_of_all_their_tasks_at_once(store: MemoryStore, agents: PretendAgents) -> None:
    names = tuple(f"s{number}" for number in range(10))
    for name in names:
        service = Service(name=name, task_name=name, task_version=1, desired=6)
        declare(store, definition(name, 1), service, Cluster(name="main", services=names))
    assert Scheduler(store).go() is None
    assert len(tasks(store)) == 60
    # twenty each: a transaction has room for the tasks of one host, and for half of another's
    assert len({(task.host, task.issue) for task in tasks(store)}) == 3


def test_a_host_with_more_tasks_than_a_transaction_takes_learns_of_them_in_full_ones(store: MemoryStore) -> None:
    PretendAgents(store, "h1")
    declare_web(store, desired=70)
    assert Scheduler(store).go() is None
    assert len({task.issue for task in tasks(store)}) == 3


def test_a_plan_is_left_where_it_is_when_the_scheduler_must_stop(store: MemoryStore, agents: PretendAgents) -> None:
    declare_web(store, desired=100)
    scheduler = Scheduler(store)
    assert scheduler.act(*scheduler.look(), stopping=lambda: True) == "this scheduler may not act any longer"
    assert 0 < len(tasks(store)) < 100


def test_a_long_plan_is_left_when_an_operator_stops_a_service_meanwhile(
    store: MemoryStore, agents: PretendAgents
) -> None:
    declare_web(store, desired=200)
    scheduler = Scheduler(store)
    reading, planned = scheduler.look()
    clock = HandClock()

    def stop_after_the_first_transaction(_: object, __: object) -> None:
        if clock.now == 1000.0:
            stopped = Scaled(by="op", since=1.0, desired=0, declared=200)
            put(store, keys.service_override("web"), ServiceOverride(service="web", scaled=stopped))
        clock.pass_by(0.6)

    view = view_of(reading.scene, scheduler.cluster, "default")
    applier = Applier(
        store, reading, view,
        session_id=scheduler.session.id, now=1000.0, clock=clock, note=stop_after_the_first_transaction,
    )  # fmt: skip
    assert applier.apply(planned, lambda: False) == SAID
    assert len({task.issue for task in tasks(store)}) == 2, "it is asked once a second, not before each transaction"
    assert scheduler.go() is None
    assert tasks(store) == []


def test_a_plan_is_left_when_somebody_else_issued_tasks_meanwhile(store: MemoryStore, agents: PretendAgents) -> None:
    declare_web(store, desired=100)
    scheduler = Scheduler(store)
    reading, planned = scheduler.look()

    def other_cluster_places() -> bool:
        entry = store.get(keys.PLACEMENT)
        assert entry is not None
        value = codec.encode(PlacementSeq(seq=seq(store) + 1))
        assert isinstance(store.commit([PutIf(entry.key, value, entry.index)]), Committed)
        return False

    assert (
        scheduler.act(reading, planned, stopping=other_cluster_places)
        == f"{keys.PLACEMENT} was written by somebody else"
    )
    assert 0 < len(tasks(store)) < 100


def test_rule_10_a_removed_cluster_is_forgotten_with_its_last_task_and_its_numbers_are_not_used_again(
    store: MemoryStore, agents: PretendAgents
) -> None:
    declare_web(store, desired=2)
    scheduler = Scheduler(store)
    scheduler.go()
    agents.tick()
    scheduler.go()
    last = head(store).seq
    remove(store, keys.cluster("main"))
    scheduler.go()
    assert tasks(store) == []
    assert rollout(store) is None
    assert head(store).seq > last  # its tasks are still stopping
    last = head(store).seq
    agents.tick()
    scheduler.go()
    assert store.get(keys.cluster_head("main")) is None
    assert store.get(keys.scheduler_lock("main")) is None

    declare_web(store, desired=2)
    scheduler.take()
    scheduler.go()
    assert all(task.issue > last for task in tasks(store))


def test_rule_12_the_outcome_of_a_rollout_is_written_by_the_transaction_that_decides_it(
    store: MemoryStore, agents: PretendAgents
) -> None:
    declare_web(store, desired=1)
    scheduler = Scheduler(store)
    scheduler.go()
    agents.tick()
    scheduler.go()
    declare_web(store, version=2, desired=1)
    scheduler.go()
    begun = rollout(store)
    assert begun is not None
    assert (begun.target_version, begun.previous_version, begun.phase) == (2, 1, "rolling")
    began = store.get(keys.rollout("main", "web"))
    issued = store.get(keys.task_by_id("main-web-2-0"))
    assert began is not None
    assert issued is not None
    assert began.index == issued.index


def test_quiescence_once_converged_a_pass_writes_nothing(store: MemoryStore, agents: PretendAgents) -> None:
    declare_web(store, desired=3)
    scheduler = Scheduler(store)
    for _ in range(4):
        scheduler.go()
        agents.tick()
    before = writes(store)
    for _ in range(5):
        reading, planned = scheduler.look()
        assert planned.steps == ()
        scheduler.act(reading, planned)
    assert writes(store) == before


def test_a_record_of_a_host_that_somebody_touched_still_goes_with_its_task(
    store: MemoryStore, agents: PretendAgents
) -> None:
    declare_web(store, desired=1)
    scheduler = Scheduler(store)
    scheduler.go()
    (task,) = tasks(store)
    put(store, keys.task_by_host(task.host, task.id), ClusterHead(cluster="?", scheduler="?", seq=1))
    declare_web(store, desired=0)
    assert scheduler.go() is None
    assert store.list(keys.TASKS).entries == ()


def test_what_a_service_says_of_its_tasks_is_written_into_their_records_in_place(
    store: MemoryStore, agents: PretendAgents
) -> None:
    scheduler = Scheduler(store)
    declare_web(store, desired=2)
    scheduler.go()
    before = tasks(store)
    (web,) = listed(store, keys.SERVICES, Service)
    put(store, keys.service("web"), msgspec.structs.replace(web, discovery_name="www"))
    touched = keys.task_by_host(before[0].host, before[0].id)
    put(store, touched, before[1])
    remove(store, keys.task_by_host(before[1].host, before[1].id))
    assert scheduler.go() is None
    after = tasks(store)
    assert [each.found_as for each in after] == ["www", "www"]
    assert [msgspec.structs.replace(each, discovery_name=UNSET) for each in after] == before
    assert all(store.get(keys.task_by_host(each.host, each.id)).value == codec.encode(each) for each in after)  # type: ignore[union-attr]
    index = writes(store)
    scheduler.go()
    assert writes(store) == index


def preparations(store: MemoryStore, prefix: str) -> set[bytes]:
    """All records of preparations under a prefix."""
    return {entry.value for entry in store.list(prefix).entries if keys.is_preparation(entry.key)}


def test_a_preparation_is_told_to_its_host_and_goes_with_what_it_was_for(
    store: MemoryStore, agents: PretendAgents
) -> None:
    declare_web(store, desired=2, min=1, max=2)
    scheduler = Scheduler(store)
    for _ in range(2):
        scheduler.go()
        agents.tick()
    agents.cannot_fetch = "there is no such image"
    declare_web(store, version=2, desired=2, min=1, max=2)
    scheduler.go()
    assert len(preparations(store, keys.ROLLOUTS)) == 2
    assert preparations(store, keys.ROLLOUTS) == preparations(store, keys.TASKS)
    assert any(each.what == "prepare version 2 of web on 2 hosts (h1, h3)" for each in head(store).decisions)
    for _ in range(3):
        agents.tick()
        scheduler.go()
    assert [task.task_version for task in tasks(store)] == [1, 1]
    before = writes(store)
    agents.tick()
    scheduler.go()
    assert writes(store) == before, "nothing changes while nothing can be fetched"

    # another version takes its place, though somebody touched a copy, and a newer program wrote what can't be read
    asked = next(entry for entry in store.list(keys.TASKS).entries if keys.is_preparation(entry.key))
    put(store, asked.key, ClusterHead(cluster="?", scheduler="?", seq=1))
    ours = [each for each in store.list(keys.ROLLOUTS).entries if keys.is_preparation(each.key)]
    alien = next(each for each in ours if each.value != asked.value)
    _, _, host = alien.key.removeprefix(keys.ROLLOUTS).split("/")
    for key in (alien.key, keys.preparation_by_host(host, "main", "web")):
        assert isinstance(store.commit([Put(key, b'{"digests": []}')]), Committed)
    declare_web(store, version=3, desired=2, min=1, max=2)
    assert scheduler.go() is None
    assert preparations(store, keys.ROLLOUTS) == preparations(store, keys.TASKS)
    assert all(b'"task_version":3' in value for value in preparations(store, keys.TASKS))
    agents.cannot_fetch = ""
    for _ in range(10):
        agents.tick()
        scheduler.go()
    assert [task.task_version for task in tasks(store)] == [3, 3]
    assert preparations(store, keys.ROLLOUTS) == preparations(store, keys.TASKS) == set()


def test_the_head_says_what_was_decided_and_why_and_stays_small(store: MemoryStore, agents: PretendAgents) -> None:
    declare_web(store, desired=50)
    scheduler = Scheduler(store)
    scheduler.go()
    texts = [decision.what for decision in head(store).decisions]
    assert any(text.startswith("start ") and "tasks of web version 1" in text for text in texts)
    for desired in range(200):
        declare_web(store, desired=desired % 7)
        scheduler.go()
        agents.tick()
    entry = store.get(keys.cluster_head("main"))
    assert entry is not None
    assert len(entry.value) <= 16 * 1024
    newest = head(store).decisions[-1]
    assert newest.why.endswith("desired") or newest.why.endswith("one too many")
    assert newest.service == "web"
    assert [each.seq for each in head(store).decisions] == sorted(each.seq for each in head(store).decisions)


def test_a_session_that_ended_writes_nothing_more(store: MemoryStore, agents: PretendAgents) -> None:
    declare_web(store, desired=1)
    scheduler = Scheduler(store)
    looked = scheduler.look()
    scheduler.session.close()
    refused = scheduler.act(*looked)
    assert refused is not None
    assert "held by nobody" in refused
