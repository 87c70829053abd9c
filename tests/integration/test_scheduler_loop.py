"""What the real scheduler daemon does on real stores, beside agents that only pretend."""

import threading

import pytest

from reconciler.model import keys
from reconciler.model.manifests import Cluster, Host, Service
from reconciler.model.task import Health, Phase, TaskStatus
from reconciler.scheduler.loop import dry_run
from reconciler.store.interface import Store
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
    tasks,
)
from tests.support.scheduler_world import definition
from tests.support.schedulers import Connect, Schedulers, completed, holders, look_again
from tests.support.wait import wait_until


@pytest.fixture
def store(connect: Connect) -> Store:
    store = connect()
    make_ours(store)
    return store


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
