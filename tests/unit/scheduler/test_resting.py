"""A service at rest costs a look at each of its tasks; ``planned`` compares each plan of all tests with one in full."""

from collections.abc import Callable, Sequence

import pytest

from reconciler.model.manifests import Cluster, Service
from reconciler.model.overrides import ServiceOverride, Verdict
from reconciler.model.preparation import Preparation
from reconciler.scheduler import service_plan
from reconciler.scheduler.plan import plan
from reconciler.scheduler.replicas import Member
from tests.support.scheduler_world import World, definition, replace, state

NAMES = [f"web-{number}" for number in range(5)]


@pytest.fixture
def world() -> World:
    """Five services of two tasks each, all of them healthy."""
    made = World()
    for host in ("h1", "h2", "h3"):
        made.host_states[host] = state(host)
        made.present.add(host)
    for name in NAMES:
        made.definitions[name, 1] = definition(name, 1)
        made.services[name] = Service(name=name, task_name=name, task_version=1, desired=2)
    made.clusters["main"] = Cluster(name="main", services=tuple(NAMES))
    settle(made)
    return made


def settle(world: World) -> None:
    for _ in range(20):
        world.run_agents()
        world.now += 5.0
        if not (steps := world.plan("main").steps):
            return
        world.carry_out("main", steps)
    raise AssertionError("it does not end")


@pytest.fixture
def planned_in_full(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Which services were planned task by task at a look."""
    asked: list[str] = []
    members = service_plan.members

    def noted(view: object, service: str, *rest: object) -> Sequence[Member]:
        asked.append(service)
        return members(view, service, *rest)  # type: ignore[arg-type]

    def look() -> list[str]:
        asked.clear()
        with monkeypatch.context() as patched:
            patched.setattr(service_plan, "members", noted)
            plan(world.view("main"), world.now)
        return sorted(set(asked))

    return look


def test_only_services_with_something_to_do_are_planned_in_full(
    world: World, planned_in_full: Callable[[], list[str]]
) -> None:
    assert planned_in_full() == []
    world.services["web-1"] = replace(world.services["web-1"], desired=3)
    assert planned_in_full() == ["web-1"]
    settle(world)
    assert planned_in_full() == []
    world.definitions["web-2", 2] = definition("web-2", 2)
    world.services["web-2"] = replace(world.services["web-2"], task_version=2)
    assert planned_in_full() == ["web-2"]
    settle(world)
    assert planned_in_full() == []


def an_answer_to_be_noted(world: World) -> None:
    stored = world.rollouts["main", "web-3"]
    target = {"target_version": stored.target_version, "target_digest": stored.target_digest}
    said = Verdict(**target, promote=True, by="ann", since=world.now)
    world.service_overrides["web-3"] = ServiceOverride(service="web-3", verdict=said)


def what_a_host_was_asked_to_fetch(world: World) -> None:
    made_of = {"task_name": "web-3", "task_version": 1, "digest": world.tasks["main-web-3-1-0"].digest}
    left = Preparation(cluster="main", service="web-3", host="h1", **made_of)
    world.preparations["main", "web-3", "h1"] = left


def a_task_of_other_content(world: World) -> None:
    world.tasks["main-web-3-1-0"] = replace(world.tasks["main-web-3-1-0"], digest="another")


def a_task_that_was_to_come_to_an_end(world: World) -> None:
    world.tasks["main-web-3-1-0"] = replace(world.tasks["main-web-3-1-0"], completes=True)


@pytest.mark.parametrize(
    "left",
    [
        an_answer_to_be_noted,
        what_a_host_was_asked_to_fetch,
        a_task_of_other_content,
        a_task_that_was_to_come_to_an_end,
    ],
)
def test_what_is_left_to_do_beside_tasks_that_are_all_healthy_is_done(
    world: World, planned_in_full: Callable[[], list[str]], left: Callable[[World], None]
) -> None:
    left(world)
    assert planned_in_full() == ["web-3"]
    settle(world)
    assert planned_in_full() == []
