"""The real scheduler daemon on real stores, beside agents that only pretend."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from reconciler.errors import StoreDenied
from reconciler.model import keys
from reconciler.model.events import Event
from reconciler.model.manifests import Cluster, Host, Service
from reconciler.model.task import Health, Phase, RolloutPhase, TaskStatus
from reconciler.scheduler import loop
from reconciler.scheduler.loop import SchedulerDaemon, dry_run
from reconciler.store.interface import CommitResult, Operation, Put, Session, Store, Unknown
from reconciler.store.memory import MemorySpace, MemoryStore
from reconciler.store.nasty import Nasty
from reconciler.store.sqlite import SqliteStore
from tests.support.consul import Roles
from tests.support.scheduler_store import (
    PretendAgents,
    declare,
    declare_web,
    head,
    issued_and_healthy,
    make_ours,
    mark,
    put,
    remove,
    rollout,
    tasks,
)
from tests.support.scheduler_world import definition
from tests.support.wait import wait_until

TTL_S = 3.0

Connect = Callable[[], Store]
"""Opens one more connection to the store of the test."""


@pytest.fixture(params=["memory", "sqlite", pytest.param("consul", marks=pytest.mark.consul)])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    space = MemorySpace()
    url = request.getfixturevalue("consul").new_url() if request.param == "consul" else ""
    opened: list[Store] = []

    def open_one() -> Store:
        store: Store
        if request.param == "memory":
            store = MemoryStore(space)
        elif request.param == "sqlite":
            store = SqliteStore(tmp_path / "store.db")
        else:
            store = request.getfixturevalue("consul").store(url)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(connect: Connect) -> Store:
    store = connect()
    make_ours(store)
    return store


class Schedulers:
    """Starts daemons, each on a connection of its own, and remembers what they say."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.started: list[SchedulerDaemon] = []
        self.events: list[Event] = []

    def start(self, name: str = "default", reschedule_after_s: float = 30.0) -> SchedulerDaemon:
        daemon = SchedulerDaemon(
            self._connect(),
            scheduler_name=name,
            emit=self.events.append,
            identity=f"scheduler {len(self.started) + 1}",
            session_ttl_s=TTL_S,
            reschedule_after_s=reschedule_after_s,
        )
        self.started.append(daemon)
        daemon.start()
        return daemon

    def said(self, text: str) -> bool:
        return any(text in event.message for event in list(self.events))


@pytest.fixture
def schedulers(connect: Connect) -> Iterator[Schedulers]:
    schedulers = Schedulers(connect)
    yield schedulers
    for daemon in schedulers.started:
        daemon.stop()


def completed(store: Store, version: int, service: str = "web") -> bool:
    stored = rollout(store, service)
    return stored is not None and (stored.target_version, stored.phase) == (version, RolloutPhase.COMPLETED)


def holders(store: Store) -> dict[str, str]:
    """By cluster, who holds its lock."""
    entries = store.list(keys.SCHEDULER_LOCKS).entries
    return {entry.key.removeprefix(keys.SCHEDULER_LOCKS): entry.value.decode() for entry in entries if entry.holder}


def test_a_service_is_placed_rolled_scaled_and_removed(store: Store, schedulers: Schedulers) -> None:
    agents = PretendAgents(store, "h1", "h2", "h3")
    declare_web(store, desired=3)
    schedulers.start()
    wait_until(lambda: agents.healthy("web", 1, 3) and completed(store, 1), what="three tasks of version 1")
    assert {task.host for task in tasks(store)} == {"h1", "h2", "h3"}

    declare_web(store, version=2, desired=3)
    wait_until(lambda: agents.healthy("web", 2, 3) and completed(store, 2), what="three tasks of version 2")

    declare_web(store, version=2, desired=1)
    wait_until(lambda: agents.healthy("web", 2, 1), what="one task")

    remove(store, keys.cluster("main"))
    wait_until(lambda: agents.healthy("web", 2, 0), what="no task")
    wait_until(
        lambda: agents.tick() or store.get(keys.cluster_head("main")) is None, what="the cluster to be forgotten"
    )
    assert store.list(keys.ROLLOUTS).entries == ()
    assert holders(store) == {}


def test_during_a_rolling_update_healthy_and_issued_stay_within_min_and_max(
    store: Store, schedulers: Schedulers
) -> None:
    agents = PretendAgents(store, "h1", "h2", "h3")
    declare_web(store, desired=4, min=3, max=5)
    schedulers.start()
    wait_until(lambda: agents.healthy("web", 1, 4) and completed(store, 1), what="version 1")
    declare_web(store, version=2, desired=4, min=3, max=5)
    seen: set[tuple[int, int]] = set()

    def watch() -> bool:
        seen.add(issued_and_healthy(store))
        return agents.healthy("web", 2, 4) and completed(store, 2)

    wait_until(watch, what="version 2")
    assert max(issued for issued, _ in seen) <= 5
    assert min(healthy for _, healthy in seen) >= 3


def test_a_host_that_drains_is_left_only_when_the_task_is_healthy_elsewhere(
    store: Store, schedulers: Schedulers
) -> None:
    agents = PretendAgents(store, "h1", "h2")
    declare_web(store, desired=1)
    schedulers.start()
    wait_until(lambda: agents.healthy("web", 1, 1) and completed(store, 1), what="one task")
    (old,) = tasks(store)
    declare(store, Host(name=old.host, draining=True))
    wait_until(lambda: len(tasks(store)) == 2, what="the replacement")
    assert old in tasks(store)
    wait_until(lambda: agents.healthy("web", 1, 1), what="the old one to stop")
    assert tasks(store)[0].host != old.host


def test_rule_06_a_host_whose_session_ends_is_replaced_after_the_time_given(
    store: Store, schedulers: Schedulers
) -> None:
    agents = PretendAgents(store, "h1", "h2", "h3")
    declare_web(store, desired=3)
    schedulers.start(reschedule_after_s=0.5)
    wait_until(lambda: agents.healthy("web", 1, 3), what="three tasks")
    agents.down("h2")
    wait_until(
        lambda: agents.healthy("web", 1, 3) and all(task.host != "h2" for task in tasks(store)), what="a replacement"
    )
    wait_until(lambda: schedulers.said("host h2 is lost"), what="why")


def test_a_failed_task_is_replaced_elsewhere(store: Store, schedulers: Schedulers) -> None:
    agents = PretendAgents(store, "h1", "h2")
    declare_web(store, desired=1)
    schedulers.start()
    wait_until(lambda: agents.healthy("web", 1, 1), what="one task")
    (old,) = tasks(store)
    agents.sick[old.id] = TaskStatus(phase=Phase.FAILED, issue=0, health=Health.UNKNOWN, reason="exit code 7")
    wait_until(lambda: agents.healthy("web", 1, 1) and tasks(store)[0].host != old.host, what="its replacement")
    wait_until(lambda: schedulers.said(f"failed on {old.host}: exit code 7"), what="why")
    assert tasks(store)[0].retries == 1


def test_quiescence_nothing_is_written_once_all_is_as_it_should_be(store: Store, schedulers: Schedulers) -> None:
    agents = PretendAgents(store, "h1", "h2")
    declare_web(store, desired=3, clusters=("main", "other"))
    schedulers.start()
    schedulers.start()
    for cluster in ("main", "other"):
        wait_until(lambda: agents.healthy("web", 1, 3, cluster), what="all tasks")  # noqa: B023 - called in the loop
    wait_until(lambda: agents.tick() or completed(store, 1), what="the end of the rollout")
    watched = (keys.CLUSTER_HEADS, keys.ROLLOUTS, keys.TASKS, keys.SCHEDULER_LOCKS, keys.CONFIG)

    def indexes() -> dict[str, int]:
        return {entry.key: entry.index for prefix in watched for entry in store.list(prefix).entries}

    def rest() -> bool:
        first = indexes()
        threading.Event().wait(0.5)
        return indexes() == first

    wait_until(rest, what="half a second without a write")
    before = indexes()
    for daemon in schedulers.started:
        for _ in range(3):
            look_again(daemon)
    assert indexes() == before


def look_again(daemon: SchedulerDaemon) -> None:
    """Wake a daemon, and wait until a whole pass has begun and ended since."""
    watched = daemon.loops[0]
    for _ in range(2):  # the first may be the end of one that had begun before
        began = time.monotonic()
        watched.wake()
        wait_until(lambda: (watched.age_s() or 0.0) < time.monotonic() - began, what="a pass", every_s=0.002)  # noqa: B023 - called in the loop


def test_two_schedulers_share_the_clusters_and_one_takes_over_at_once_when_the_other_stops(
    store: Store, schedulers: Schedulers
) -> None:
    agents = PretendAgents(store, "h1", "h2")
    declare_web(store, desired=2, clusters=("main", "other"))
    first = schedulers.start()
    wait_until(lambda: holders(store).keys() == {"main", "other"}, what="both locks")
    second = schedulers.start()
    wait_until(lambda: agents.healthy("web", 1, 2) and agents.healthy("web", 1, 2, "other"), what="all tasks")
    assert (first.held, second.held) == ({"main", "other"}, set())
    seq = head(store).seq
    first.stop()
    wait_until(lambda: second.held == {"main", "other"}, what="the other one to take over")
    assert set(holders(store).values()) == {"scheduler 2"}
    declare_web(store, desired=3, clusters=("main", "other"))
    wait_until(lambda: agents.healthy("web", 1, 3), what="one more")
    assert head(store).seq > seq


def test_rule_10_a_cluster_that_names_another_scheduler_is_let_go(store: Store, schedulers: Schedulers) -> None:
    agents = PretendAgents(store, "h1")
    declare_web(store, desired=1)
    ours, theirs = schedulers.start(), schedulers.start(name="mine")
    wait_until(lambda: agents.healthy("web", 1, 1), what="one task")
    declare(store, Cluster(name="main", services=("web",), scheduler="mine"))
    wait_until(lambda: theirs.held == {"main"}, what="the other scheduler to hold the lock")
    assert ours.held == set()
    declare_web(store, desired=2, clusters=())
    wait_until(lambda: agents.healthy("web", 1, 2), what="a second task, by the other one")
    assert head(store).scheduler == "mine"


def test_rule_02_while_a_source_is_applying_its_services_are_held(store: Store, schedulers: Schedulers) -> None:
    agents = PretendAgents(store, "h1")
    put(store, keys.source("fleet"), mark("fleet", "r1", settled=True))
    declare_web(store, desired=1, managed_by="fleet")
    schedulers.start()
    wait_until(lambda: agents.healthy("web", 1, 1) and completed(store, 1), what="one task")
    put(store, keys.source("fleet"), mark("fleet", "r1", settled=False))
    declare_web(store, desired=5, managed_by="fleet")
    remove(store, keys.cluster("main"))
    wait_until(lambda: schedulers.said("source fleet is being applied"), what="it to say why it holds")
    assert len(tasks(store)) == 1
    declare_web(store, desired=5, managed_by="fleet")
    put(store, keys.source("fleet"), mark("fleet", "r2", settled=True))
    wait_until(lambda: agents.healthy("web", 1, 5), what="five tasks")


def test_a_dry_run_says_what_would_happen_and_writes_nothing(store: Store) -> None:
    PretendAgents(store, "h1")
    declare_web(store, desired=2)
    before = [(entry.key, entry.index) for entry in store.list(keys.STATE).entries]
    (planned,) = dry_run(store, now=1000.0)
    assert [action.why for action in planned.actions if hasattr(action, "why")] == ["first placement"] * 2
    assert [(entry.key, entry.index) for entry in store.list(keys.STATE).entries] == before
    assert store.list(keys.SCHEDULER_LOCKS).entries == ()


def test_what_cannot_be_placed_is_said_once_not_with_every_look(store: Store, schedulers: Schedulers) -> None:
    agents = PretendAgents(store, "h1", memory=100)
    declare(store, definition("big", 1, memory=64), Service(name="big", task_name="big", task_version=1, desired=3))
    declare(store, Cluster(name="main", services=("big",)))
    daemon = schedulers.start()
    wait_until(lambda: schedulers.said("can't be placed"), what="the reason")
    for _ in range(3):
        agents.tick()
        look_again(daemon)
    wait_until(lambda: agents.healthy("big", 1, 1) and head(store), what="the one that fits")
    said = [event for event in schedulers.events if "can't be placed" in event.message]
    assert len(said) == 1
    assert "64 MiB of memory needed, 36 of 100 MiB free" in said[0].message


def test_a_store_that_lost_its_sentinel_is_left_alone(store: Store, schedulers: Schedulers) -> None:
    agents = PretendAgents(store, "h1")
    declare_web(store, desired=1)
    schedulers.start()
    wait_until(lambda: agents.healthy("web", 1, 1) and completed(store, 1), what="one task")
    kept = store.get(keys.STATE_SENTINEL)
    assert kept is not None
    remove(store, keys.STATE_SENTINEL)
    declare_web(store, desired=0)
    wait_until(lambda: schedulers.said("nothing is changed"), what="it to say that it holds")
    assert len(tasks(store)) == 1
    store.commit([Put(kept.key, kept.value)])
    declare(store, Host(name="h9"))  # something to look at again
    wait_until(lambda: agents.healthy("web", 1, 0), what="no task")


class LosesAnswers(MemoryStore):
    """Answers ``Unknown``, wakes for nothing and goes back as a seed says, and counts the first."""

    def __init__(self, space: MemorySpace, seed: int) -> None:
        super().__init__(space, nasty=Nasty(seed=seed, early_wake=0.2, lost_answer=0.3, index_back=0.05))
        self.lost = 0

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        outcome = super().commit(operations)
        self.lost += isinstance(outcome, Unknown)
        return outcome


@pytest.mark.parametrize("seed", range(3))
def test_rule_01_lost_answers_and_late_commits_change_nothing_in_the_end(seed: int) -> None:
    calm = MemoryStore()
    make_ours(calm)
    nasty: list[LosesAnswers] = []

    def open_nasty() -> Store:
        nasty.append(LosesAnswers(calm.space, seed * 100 + len(nasty)))
        return nasty[-1]

    agents = PretendAgents(calm, "h1", "h2", "h3")
    schedulers = Schedulers(open_nasty)
    try:
        declare_web(calm, desired=40, max=60)
        schedulers.start()
        schedulers.start()
        wait_until(lambda: agents.healthy("web", 1, 40), timeout_s=40, what="forty tasks, each once")
        version = 1
        while sum(store.lost for store in nasty) < 8:
            version += 1
            declare_web(calm, version=version, desired=40, max=60)
            issued = []

            def rolled(version: int, issued: list[int]) -> bool:
                issued.append(len(tasks(calm)))
                return agents.healthy("web", version, 40) and completed(calm, version)

            wait_until(partial(rolled, version, issued), timeout_s=40, what=f"version {version}")
            assert max(issued) <= 60
    finally:
        for daemon in schedulers.started:
            daemon.stop()


def test_a_scheduler_whose_session_ended_stops_and_another_takes_over(store: Store, schedulers: Schedulers) -> None:
    agents = PretendAgents(store, "h1")
    declare_web(store, desired=1)
    schedulers.start()
    wait_until(lambda: agents.healthy("web", 1, 1), what="one task")
    schedulers.start()
    entry = store.get(keys.scheduler_lock("main"))
    assert entry is not None
    assert entry.holder is not None
    # it is alive, but the store ended its session (as Consul does when its agent is declared dead)
    session = store.resume_session(entry.holder, "scheduler", TTL_S)
    assert session is not None
    session.close()
    wait_until(lambda: store.get(keys.scheduler_lock("main")).holder not in (None, entry.holder), what="a new holder")  # type: ignore[union-attr]
    wait_until(lambda: schedulers.said("another scheduler"), what="the first one to say that it has lost it")
    declare_web(store, desired=4)
    wait_until(lambda: agents.healthy("web", 1, 4), what="four tasks, each once")


@pytest.mark.consul
def test_under_acls_a_scheduler_needs_no_more_than_the_policy_for_it_gives(roles: Roles) -> None:
    everything = roles.store("management")
    make_ours(everything)
    agents = PretendAgents(everything, "h1", "h2")
    declare_web(everything, desired=2)
    opened: list[Store] = []

    def open_as_scheduler() -> Store:
        opened.append(roles.store("scheduler"))
        return opened[-1]

    schedulers = Schedulers(open_as_scheduler)
    try:
        schedulers.start()
        wait_until(lambda: agents.healthy("web", 1, 2) and completed(everything, 1), what="two tasks")
        declare_web(everything, version=2, desired=2)
        wait_until(lambda: agents.healthy("web", 2, 2) and completed(everything, 2), what="version 2")
        remove(everything, keys.cluster("main"))
        wait_until(
            lambda: agents.healthy("web", 2, 0) and everything.get(keys.cluster_head("main")) is None,
            what="the cluster to be forgotten",
        )
    finally:
        for daemon in schedulers.started:
            daemon.stop()
        for store in (*opened, everything):
            store.close()


class GivesNoSession(MemoryStore):
    """As Consul does when its agent may not register the service that a session rests on."""

    def open_session(self, name: str, ttl_s: float) -> Session:
        raise StoreDenied("no rights for sessions")


def test_a_scheduler_that_gets_no_session_says_so_to_its_health_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SESSION_PATIENCE_S", 0.1)
    schedulers = Schedulers(GivesNoSession)
    daemon = schedulers.start()
    try:
        error = wait_until(lambda: daemon.loops[0].last_error, what="the loop to fail")
        assert "has given no session for" in error
    finally:
        daemon.stop()
