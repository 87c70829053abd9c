"""Who schedules a cluster, and what a scheduler does that has lost its lock, its session, its store or an answer."""

from collections.abc import Sequence
from functools import partial

import pytest

from reconciler.errors import StoreDenied
from reconciler.model import keys
from reconciler.model.manifests import Cluster, Host
from reconciler.scheduler import loop
from reconciler.store.interface import CommitResult, Operation, Put, Session, Store, Unknown
from reconciler.store.memory import MemorySpace, MemoryStore
from reconciler.store.nasty import Nasty
from tests.support.consul import Roles
from tests.support.scheduler_store import (
    PretendAgents,
    declare,
    declare_web,
    head,
    make_ours,
    remove,
    tasks,
)
from tests.support.schedulers import TTL_S, Connect, Schedulers, completed, holders
from tests.support.wait import wait_until


@pytest.fixture
def store(connect: Connect) -> Store:
    store = connect()
    make_ours(store)
    return store


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
