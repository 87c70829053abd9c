"""What people are shown of a store: asked of the scheduler's own reading and plan."""

from collections.abc import Iterator

import pytest

from reconciler.model import codec, keys
from reconciler.model.manifests import Cluster, Host, RolloutPolicy, Service
from reconciler.model.overrides import ClusterOverride, Paused
from reconciler.model.task import Health, HostStatus, Phase, TaskStatus
from reconciler.queries.fleet import Fleet, read
from reconciler.queries.hosts import hosts
from reconciler.queries.status import status
from reconciler.queries.tasks import tasks
from reconciler.scheduler.apply import Applier
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import view_of
from reconciler.store import lease
from reconciler.store.interface import Acquire, Committed, Session
from reconciler.store.memory import MemoryStore
from tests.support.scheduler_store import declare, declare_web, make_ours, mark, put
from tests.support.scheduler_store import tasks as records
from tests.support.scheduler_world import definition, state

NOW = 1_000_000.0


class World:
    """A memory store with a host; the scheduler acts when told to."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        make_ours(self.store)
        self.session: Session = self.store.open_session("test", 3600)

    def host(self, name: str, **fields: int) -> None:
        value = codec.encode(state(name, **fields))
        outcome = self.store.commit([Acquire(keys.host_state(name), value, self.session.id)])
        assert isinstance(outcome, Committed)

    def schedule(self, cluster: str = "main") -> None:
        assert lease.take(self.store, keys.scheduler_lock(cluster), b"somebody:1", self.session.id)
        reading = Observer(self.store).read()
        view = view_of(reading.scene, cluster)
        Applier(self.store, reading, view, session_id=self.session.id, now=NOW).apply(plan(view, NOW), lambda: False)

    def report(self, phase: Phase = Phase.RUNNING, health: Health = Health.PASSING, reason: str = "") -> None:
        for host in {task.host for task in records(self.store)}:
            reported = {
                task.id: TaskStatus(phase=phase, issue=task.issue, health=health, reason=reason, since=NOW)
                for task in records(self.store)
                if task.host == host
            }
            put(self.store, keys.status(host), HostStatus(host=host, tasks=reported))

    def fleet(self) -> Fleet:
        return read(self.store, NOW)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.store.close()


def test_a_fleet_that_runs_what_was_asked_is_ok(world: World) -> None:
    world.host("h1")
    declare_web(world.store, desired=2)
    world.schedule()
    world.report()
    answer = status(world.fleet())
    assert answer.ok
    [row] = answer.services
    assert (row.desired, row.issued, row.healthy, row.current, row.versions) == (2, 2, 2, 2, {1: 2})
    assert answer.schedulers == {"main": "somebody:1"}
    assert answer.warnings == ()


def test_a_task_without_a_place_is_shown_with_the_numbers(world: World) -> None:
    world.host("h1", memory=100)
    declare_web(world.store, desired=0)
    declare(
        world.store,
        Service(name="web", task_name="web", task_version=1, desired=1),
        Cluster(name="main", services=("web",)),
        definition("web", 1, memory=2000),
    )
    world.schedule()
    [row] = tasks(world.fleet())
    assert row.id is None
    assert row.phase is Phase.PENDING
    assert "2000" in row.reason
    assert "100" in row.reason
    assert not status(world.fleet()).ok


def test_without_a_scheduler_or_an_agent_it_says_what_to_start(world: World) -> None:
    declare_web(world.store)
    answer = status(world.fleet())
    assert not answer.ok
    assert any("reconciler scheduler" in warning for warning in answer.warnings)
    assert any("reconciler agent" in warning for warning in answer.warnings)


def test_health_of_a_host_that_is_gone_is_unknown(world: World) -> None:
    world.host("h1")
    declare_web(world.store)
    world.schedule()
    world.report()
    world.session.close()
    [row] = [row for row in tasks(world.fleet()) if row.id]
    assert row.health is Health.UNKNOWN
    assert "h1" in row.reason
    assert not status(world.fleet()).ok


def test_what_could_not_be_replaced_if_its_host_stays_away_is_said_with_the_numbers(world: World) -> None:
    world.host("h1", memory=1000)
    declare_web(world.store)
    declare(
        world.store,
        Service(name="web", task_name="web", task_version=1, desired=1),
        definition("web", 1, memory=600),
    )
    world.schedule()
    world.report()
    world.session.close()
    world.session = world.store.open_session("another", 3600)
    world.host("h2", memory=500)
    [row] = status(world.fleet()).services
    assert row.reasons[:2] == (
        "1 of its tasks is on a missing host (h1): nothing is known of it",
        "if h1 stays away, 1 task finds no other place: h1: missing; h2: 600 MiB of memory needed, 500 of 500 MiB free",
    )
    world.host("h3", memory=600)
    [row] = status(world.fleet()).services
    assert not [reason for reason in row.reasons if "no other place" in reason]


def test_a_system_service_on_hold_is_as_it_should_be_on_all_its_hosts(world: World) -> None:
    world.host("h1")
    world.host("h2")
    declare_web(world.store)
    declare(world.store, Service(name="web", task_name="web", task_version=1, desired=1, kind="system"))
    world.schedule()
    world.report()
    put(world.store, keys.cluster_override("main"), ClusterOverride(cluster="main", paused=Paused(by="ann", since=1.0)))
    [row] = status(world.fleet()).services
    assert (row.desired, row.issued, row.ok) == (2, 2, True)
    assert row.reasons == ("on hold: paused by ann",)


def test_a_failing_task_is_shown_with_its_reason_once(world: World) -> None:
    world.host("h1")
    declare_web(world.store, desired=3)
    world.schedule()
    world.report(Phase.FAILED, Health.UNKNOWN, "exit code 1")
    [row] = status(world.fleet()).services
    assert not row.ok
    assert any("exit code 1 (3 times)" in reason for reason in row.reasons)


def test_a_service_that_is_not_declared_is_said(world: World) -> None:
    declare(world.store, Cluster(name="main", services=("ghost",)))
    [row] = status(world.fleet()).services
    assert row.reasons == ("cluster main names it, but it is not declared",)


def test_a_source_in_the_middle_of_a_revision_is_not_ok(world: World) -> None:
    put(world.store, keys.source("repo"), mark("repo", "abc", settled=False))
    [row] = status(world.fleet()).sources
    assert not row.ok


def test_hosts_show_what_is_promised_of_what_there_is(world: World) -> None:
    world.host("h1", memory=1000)
    declare_web(world.store, desired=2)
    declare(world.store, definition("web", 1, memory=100), Host(name="h1", tags={"zone": "a"}, reserved_memory=200))
    world.schedule()
    world.report()
    [row] = hosts(world.fleet())
    assert (row.memory_used, row.memory, row.tasks, row.healthy, row.tags) == (200, 800, 2, 2, {"zone": "a"})


def test_a_canary_that_waits_for_a_word_says_so_though_it_has_to_stay_healthy_for_a_while(world: World) -> None:
    for host in ("h1", "h2", "h3"):
        world.host(host)
    for version in (1, 2):
        declare_web(world.store, version=version, desired=2, rollout=RolloutPolicy(canary=1))
        for _ in range(4):
            world.schedule()
            world.report()
    declare_web(world.store, version=2, desired=2, rollout=RolloutPolicy(canary=1, healthy_after="5s"))
    row = status(read(world.store, NOW + 3)).services[0]
    assert "it has to stay healthy for 5s" in row.reasons[0]
    row = status(read(world.store, NOW + 6)).services[0]
    assert "its canaries of version 2 (1) are healthy: `reconciler promote web` goes on" in row.reasons[0]
