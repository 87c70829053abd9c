"""What the gate is told of services: healthy, failed, sick by their own doing, or nobody's fault."""

from collections.abc import Iterator

import msgspec
import pytest

from reconciler.model import keys
from reconciler.model.manifests import Host
from reconciler.model.task import Health, Phase, RolloutPhase, TaskStatus
from reconciler.queries.fleet import read
from reconciler.queries.settling import look
from reconciler.queries.waits import taken_back
from reconciler.scheduler.apply import Applier
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import view_of
from reconciler.store import lease
from reconciler.store.memory import MemoryStore
from reconciler.sync.gate import Look
from tests.support.scheduler_store import PretendAgents, declare, declare_web, make_ours, put, tasks
from tests.support.scheduler_world import definition

NOW = 1_000_000.0
WEB = frozenset({("main", "web")})
CRITICAL = TaskStatus(phase=Phase.RUNNING, issue=0, health=Health.CRITICAL, reason="HTTP 500: no database")


class World:
    """A memory store, one host, and a scheduler that acts when told to."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        make_ours(self.store)
        self.agents = PretendAgents(self.store, "h1")
        self.session = self.store.open_session("scheduler", 3600)
        assert lease.take(self.store, "schedulers/main", b"test:1", self.session.id)

    def schedule(self) -> None:
        """One pass; the agents have not seen what it issued."""
        reading = Observer(self.store).read()
        view = view_of(reading.scene, "main")
        applier = Applier(self.store, reading, view, session_id=self.session.id, now=NOW)
        applier.apply(plan(view, NOW), lambda: False)

    def say(self, version: int, status: TaskStatus) -> None:
        """What the agent says of all tasks of a version from now on."""
        self.agents.sick |= {task.id: status for task in tasks(self.store) if task.task_version == version}
        self.agents.tick()

    def look(self) -> Look:
        return look(read(self.store, NOW), WEB)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    declare_web(world.store, desired=2)
    world.schedule()
    world.agents.tick()
    assert not world.look().is_healthy, "the scheduler is not done with it"
    world.schedule()
    assert world.look() == Look()
    yield world
    world.store.close()


def test_a_service_that_was_just_changed_is_not_healthy_though_its_tasks_are(world: World) -> None:
    declare_web(world.store, version=2, desired=2)
    seen = world.look()
    assert not seen.is_healthy
    assert not seen.is_running, "nothing of the new version is there yet"


def test_rule_13_time_counts_while_a_new_task_is_critical_failed_or_on_its_way(world: World) -> None:
    declare_web(world.store, version=2, desired=2, max=3)
    world.schedule()
    assert not world.look().is_running, "its agent has not said anything of it"
    world.say(2, CRITICAL)
    seen = world.look()
    assert seen.is_running
    assert "HTTP 500: no database" in seen.waiting[0]
    for phase in (Phase.PREPARING, Phase.STARTING, Phase.FAILED, Phase.REJECTED):
        world.say(2, TaskStatus(phase=phase, issue=0))
        assert world.look().is_running, phase


def test_rule_13_time_does_not_count_when_nobody_knows_or_the_host_drains(world: World) -> None:
    declare_web(world.store, version=2, desired=2, max=3)
    world.schedule()
    world.say(2, TaskStatus(phase=Phase.RUNNING, issue=0, health=Health.UNKNOWN))
    assert (world.look().is_healthy, world.look().is_running) == (False, False)
    world.say(2, CRITICAL)
    declare(world.store, Host(name="h1", draining=True))
    assert not world.look().is_running
    declare(world.store, Host(name="h1"))
    assert world.look().is_running
    world.agents.down("h1")
    assert (world.look().is_healthy, world.look().is_running) == (False, False)


def test_rule_13_a_secret_that_changed_meanwhile_is_not_the_fault_of_a_version(world: World) -> None:
    declare_web(world.store, version=2, desired=2, max=3)
    world.schedule()
    world.say(2, CRITICAL)
    assert world.look().is_running
    healthy = TaskStatus(phase=Phase.RUNNING, issue=0, health=Health.PASSING)
    world.say(1, msgspec.structs.replace(healthy, outdated="secret db (kv web/db) changed"))
    seen = world.look()
    assert (seen.is_healthy, seen.is_running, seen.failed) == (False, False, ())
    assert "2 of its tasks are outdated: secret db (kv web/db) changed" in seen.waiting[0]


def test_rule_13_old_tasks_and_want_of_room_are_nobodys_fault(world: World) -> None:
    declare(world.store, definition("web", 2, memory=1_000_000))
    declare_web(world.store, version=1, desired=2)
    world.say(1, CRITICAL)
    declare_web(world.store, version=2, desired=2)
    declare(world.store, definition("web", 2, memory=1_000_000))
    world.schedule()
    seen = world.look()
    assert (seen.is_healthy, seen.is_running, seen.failed) == (False, False, ())
    assert "memory" in seen.waiting[0]


def test_a_version_that_the_scheduler_gave_up_has_failed(world: World) -> None:
    declare_web(world.store, version=2, desired=2, max=3)
    world.schedule()
    (begun,) = read(world.store, NOW).snapshot.rollouts.values()
    assert world.look().failed == ()
    given_up = msgspec.structs.replace(begun, phase=RolloutPhase.FAILED, reason="3 tasks failed, last: exit code 3")
    put(world.store, keys.rollout("main", "web"), given_up)
    assert "exit code 3" in world.look().failed[0]


@pytest.mark.parametrize(
    ("phase", "target", "version", "is_done", "is_failed"),
    [
        (RolloutPhase.REVERTING, "web", 1, False, False),
        (RolloutPhase.REVERTED, "web", 1, True, False),
        (RolloutPhase.FAILED, "web", 1, False, True),
        (RolloutPhase.FAILED, "web", 7, True, False),
        (RolloutPhase.FAILED, "web", 2, True, False),
        (RolloutPhase.FAILED, "web-next", 2, False, True),
        (RolloutPhase.COMPLETED, "web", 1, False, True),
    ],
)
def test_abort_waits_until_it_has_gone_back_and_fails_if_it_has_not(
    world: World, phase: RolloutPhase, target: str, version: int, is_done: bool, is_failed: bool
) -> None:
    declare(world.store, definition("web", 2))
    fleet = read(world.store, NOW)
    rollout = msgspec.structs.replace(
        fleet.snapshot.rollouts["main", "web"],
        phase=phase,
        target_task=target,
        target_version=2,
        previous_task="web",
        previous_version=version,
    )
    put(world.store, "state/rollouts/main/web", rollout)
    seen = taken_back(read(world.store, NOW), "web")
    assert (seen.done, bool(seen.failed)) == (is_done, is_failed)
