"""Hosts fetch what a new task needs before an old one stops for it; random worlds in which nothing can start first."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reconciler.model import codec
from reconciler.model.manifests import Cluster, RolloutPolicy, Service
from reconciler.model.task import Task
from reconciler.scheduler.chunks import split
from reconciler.scheduler.preparing import AHEAD, TRIES
from reconciler.scheduler.steps import Plan, Withdraw
from tests.support.scheduler_world import World, definition, replace, state

HOSTS = tuple(f"h{number}" for number in range(1, 9))
CLUSTER = "main"
NO_IMAGE = "there is no such image"


def tight_world(hosts: int = 3, kind: str = "service", **fields: object) -> World:
    """One task of a fixed port on each host, all healthy; there is no place for one of another version beside it."""
    world = World()
    for name in HOSTS[:hosts]:
        world.host_states[name] = state(name)
        world.present.add(name)
    for version in (1, 2, 3):
        world.definitions["web", version] = definition("web", version, port=80)
    service = Service(name="web", kind=kind, task_name="web", task_version=1, desired=hosts)  # type: ignore[arg-type]
    world.services["web"] = replace(service, **fields)
    world.clusters[CLUSTER] = Cluster(name=CLUSTER, services=("web",))
    world.carry_out(CLUSTER, world.plan(CLUSTER).steps)
    world.run_agents()
    world.carry_out(CLUSTER, world.plan(CLUSTER).steps)
    return world


def look(world: World) -> Plan:
    """One pass of the scheduler."""
    planned = world.plan(CLUSTER)
    world.carry_out(CLUSTER, planned.steps) if planned.steps else None
    return planned


def reasons(planned: Plan) -> list[str]:
    return [note.reason for note in planned.notes]


class Tight(RuleBasedStateMachine):
    """Every exchange is one in which the old task goes first."""

    @initialize(
        kind=st.sampled_from(["service", "service", "system"]),
        least=st.integers(0, 3),
        parallel=st.integers(0, 2),
        answers=st.lists(st.booleans(), min_size=4, max_size=4),
    )
    def begin(self, kind: str, least: int, parallel: int, answers: list[bool]) -> None:
        policy = RolloutPolicy(parallel=parallel, on_failure="halt")
        self.world = tight_world(4, kind, min=least if kind == "service" else None, rollout=policy)
        for host, prepares in zip(HOSTS, answers, strict=False):
            known = self.world.host_states[host]
            self.world.host_states[host] = replace(known, prepares=prepares or host in ("h1", "h2"))

    @rule(version=st.integers(1, 3))
    def change_version(self, version: int) -> None:
        self.world.services["web"] = replace(self.world.services["web"], task_version=version)

    @rule(host=st.sampled_from(HOSTS[:4]), reason=st.sampled_from(["", "", NO_IMAGE]))
    def fetch(self, host: str, reason: str) -> None:
        self.world.cannot_fetch[host] = reason
        self.world.prepare(host)

    @rule(host=st.sampled_from(HOSTS[:4]))
    def run_agent(self, host: str) -> None:
        fetched = dict(self.world.prepared)
        self.world.run_agent(host)
        self.world.prepared = fetched  # what is fetched comes when it comes

    @rule()
    def fail_over(self) -> None:
        self.world.failover()

    @invariant()
    def schedule(self) -> None:
        """Whoever is healthy and is withdrawn leaves its place to one that has all it needs."""
        if not hasattr(self, "world"):
            return
        for steps in split(self.world.plan(CLUSTER).steps, 12).transactions:
            for action in (action for step in steps for action in step.actions):
                if isinstance(action, Withdraw) and self.world.is_healthy(action.task):
                    assert self.has_all(action.task), f"{action.task.host} has not fetched what takes its place"
            self.world.carry_out(CLUSTER, steps)
            asked = [host for _, _, host in self.world.preparations]
            assert len(asked) <= AHEAD * 4 + TRIES

    def has_all(self, task: Task) -> bool:
        wanted = self.world.definitions["web", self.world.services["web"].task_version]
        return self.world.has_all(task.host, CLUSTER, "web", codec.digest(wanted))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.cannot_fetch = {}
        may_move = world.services["web"].kind == "system" or world.services["web"].min_healthy < 4
        for _ in range(40):
            world.run_agents()
            if not look(world).steps:
                break
        assert not world.plan(CLUSTER).steps, "it does not converge"
        version = world.services["web"].task_version
        assert not may_move or [task.task_version for task in world.tasks.values()] == [version] * 4
        assert not may_move or not world.preparations


TestTight = Tight.TestCase
TestTight.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_fetch_that_fails_everywhere_is_asked_of_a_few_hosts_only() -> None:
    world = tight_world(8, min=7)
    world.services["web"] = replace(world.services["web"], task_version=2)
    world.cannot_fetch = dict.fromkeys(HOSTS, NO_IMAGE)
    for _ in range(20):
        planned = look(world)
        world.run_agents()
    assert not planned.steps, "nothing is written while nothing changes"
    assert len(world.preparations) <= AHEAD + TRIES
    assert all(world.is_healthy(task) and task.task_version == 1 for task in world.tasks.values())
    assert NO_IMAGE in reasons(world.plan(CLUSTER))[0]


def test_one_host_that_cannot_fetch_keeps_no_other_from_its_turn() -> None:
    world = tight_world(8, min=7)
    world.services["web"] = replace(world.services["web"], task_version=2)
    world.cannot_fetch = dict.fromkeys(HOSTS[:2], NO_IMAGE)
    for _ in range(40):
        look(world)
        world.run_agents()
    assert {task.host for task in world.tasks.values() if task.task_version == 1} == set(HOSTS[:2])
    assert "2 hosts, such as h1, can't fetch" in reasons(world.plan(CLUSTER))[0]


def test_the_next_hosts_fetch_while_the_first_is_exchanged() -> None:
    world = tight_world(4, min=3, rollout=RolloutPolicy(parallel=1))
    world.services["web"] = replace(world.services["web"], task_version=2)
    look(world)
    world.run_agents()
    (gone,) = [action.task for action in look(world).actions if isinstance(action, Withdraw)]
    assert len({host for _, _, host in world.preparations} - {gone.host}) >= 1
    world.run_agents()  # it is gone, and what the next one needs is there
    look(world)
    world.run_agents()  # the new one is healthy
    assert any(isinstance(action, Withdraw) for action in look(world).actions), "no further fetch is waited for"


def test_what_is_not_needed_any_more_is_forgotten() -> None:
    for change in ({"task_version": 1}, {"desired": 0}, {"kind": "batch"}):
        world = tight_world(3, min=2)
        world.services["web"] = replace(world.services["web"], task_version=2)
        look(world)
        assert world.preparations
        world.services["web"] = replace(world.services["web"], **change)  # type: ignore[arg-type]
        look(world)
        assert not world.preparations, change
    world = tight_world(3, min=2)
    world.services["web"] = replace(world.services["web"], task_version=2)
    look(world)
    world.clusters[CLUSTER] = Cluster(name=CLUSTER, services=())
    look(world)
    assert not world.preparations


def test_what_was_fetched_for_another_version_does_not_count() -> None:
    world = tight_world(2, min=1)
    world.services["web"] = replace(world.services["web"], task_version=2)
    look(world)
    world.run_agents()
    world.services["web"] = replace(world.services["web"], task_version=3)
    old = dict(world.prepared)
    for _ in range(3):  # the hosts have not looked again: what they say is of version 2
        assert not [action for action in look(world).actions if isinstance(action, Withdraw)]
        assert world.prepared == old
    assert {each.task_version for each in world.preparations.values()} == {3}
    world.run_agents()
    assert [action for action in look(world).actions if isinstance(action, Withdraw)]


def test_a_missing_host_is_not_waited_for() -> None:
    world = tight_world(3, min=2)
    world.services["web"] = replace(world.services["web"], task_version=2)
    look(world)
    asked = sorted(host for _, _, host in world.preparations)
    world.present.discard(asked[0])
    look(world)
    assert asked[0] not in {host for _, _, host in world.preparations}
