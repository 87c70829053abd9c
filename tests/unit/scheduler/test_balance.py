"""Which tasks would be better elsewhere: nothing is moved back, and it comes to an end."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.manifests import Cluster, Host, Placement, Service
from reconciler.model.overrides import Rebalanced, ServiceOverride
from reconciler.scheduler import balance
from reconciler.scheduler.balance import Balance
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import scene, view_of
from tests.support.scheduler_world import World, definition, replace, state

MANY = 1000


def world_of(hosts: int, services: dict[str, int], *, memory: int = 100, **fields: object) -> World:
    """Services of so many tasks each, placed and healthy."""
    world = World()
    for number in range(hosts):
        add_host(world, f"h{number}")
    for name, desired in services.items():
        world.definitions[name, 1] = definition(name, 1, memory=memory)
        world.services[name] = Service(name=name, task_name=name, task_version=1, desired=desired, **fields)
    world.clusters["main"] = Cluster(name="main", services=tuple(services))
    settle(world)
    return world


def add_host(world: World, name: str, **tags: str) -> None:
    world.host_states[name] = state(name, memory=1000)
    world.host_configs[name] = Host(name=name, tags=tags)
    world.present.add(name)


def settle(world: World) -> None:
    """Carry plans out until there is nothing left to do; ``min`` and ``max`` are held at each step."""
    for _ in range(500):
        steps = world.plan("main").steps
        if not steps:
            return
        world.carry_out("main", steps)
        issued = Counter(task.service for task in world.tasks.values())
        assert all(issued[name] <= service.max_issued for name, service in world.services.items())
        world.run_agents()
    raise AssertionError("it does not end")


def better(world: World, services: list[str] | None = None, at_most: int = MANY) -> Balance:
    everything = scene(world.snapshot())
    view = view_of(everything, "main")
    return balance.find(everything.hosts, [(view, plan(view, world.now))], services, at_most)


def ask(world: World, found: Balance) -> None:
    for name in {move.service for move in found.moves}:
        mine = {move.task: move.issue for move in found.moves if move.service == name}
        world.service_overrides[name] = ServiceOverride(
            service=name, rebalanced=Rebalanced(tasks=mine, by="anna", since=world.now)
        )


def on_hosts(world: World) -> Counter[str]:
    return Counter(task.host for task in world.tasks.values())


def test_what_is_spread_as_well_as_it_can_be_stays() -> None:
    assert better(world_of(3, {"web": 7, "db": 1, "cache": 1})).moves == ()


def test_a_new_host_takes_over_its_share() -> None:
    world = world_of(2, {f"s{number}": 1 for number in range(6)})
    add_host(world, "h9")
    found = better(world)
    assert [(move.host, move.to) for move in found.moves] == [("h0", "h9"), ("h1", "h9")]
    ask(world, found)
    settle(world)
    assert on_hosts(world) == {"h0": 2, "h1": 2, "h9": 2}


def test_no_more_are_moved_than_asked_for() -> None:
    world = world_of(1, {"web": 8})
    add_host(world, "h9")
    assert len(better(world, at_most=2).moves) == 2
    assert len(better(world).moves) == 4


def test_the_spread_over_a_tag_counts_before_that_over_hosts() -> None:
    world = world_of(0, {})
    for name, zone in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        add_host(world, name, zone=zone)
    world.definitions["web", 1] = definition("web", 1)
    world.services["web"] = Service(
        name="web", task_name="web", task_version=1, desired=4, placement=Placement(spread_over="zone")
    )
    world.clusters["main"] = Cluster(name="main", services=("web",))
    settle(world)
    assert on_hosts(world) == {"a1": 1, "a2": 1, "b1": 2}
    assert better(world).moves == (), "b1 has two, but the zones have as many"
    add_host(world, "c1", zone="c")
    assert [move.to for move in better(world).moves] == ["c1"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"min": 4, "max": 4}, "min, desired and max are all 4, so no task of it can be replaced"),
        ({"placement": Placement(strategy="binpack")}, "it is packed, not spread"),
        ({"kind": "system"}, "it runs on every host anyway"),
    ],
)
def test_what_can_not_or_should_not_move_is_left_with_the_reason(fields: dict[str, object], why: str) -> None:
    world = world_of(1, {"web": 4}, **fields)
    if fields.get("kind") != "system":
        add_host(world, "h9")
    assert better(world) == Balance(moves=(), left_out={"web": why})


def test_a_service_that_only_another_scheduler_runs_is_left_with_the_reason() -> None:
    world = world_of(1, {"web": 4})
    add_host(world, "h9")
    assert better(world, ["elsewhere"]).left_out == {"elsewhere": "no cluster that our scheduler serves runs it"}
    assert better(world, ["web"]).left_out == {}


def test_a_service_in_which_something_changes_is_left_alone() -> None:
    world = world_of(1, {"web": 4})
    add_host(world, "h9")
    world.definitions["web", 2] = definition("web", 2)
    world.services["web"] = replace(world.services["web"], task_version=2)
    assert better(world).left_out == {"web": "something changes there already; ask again when that is done"}


def test_nothing_moves_to_a_host_that_drains_or_is_gone() -> None:
    world = world_of(1, {"web": 4})
    for name in ("h8", "h9"):
        add_host(world, name)
    world.host_configs["h8"] = Host(name="h8", draining=True)
    world.present.discard("h9")
    assert better(world).moves == ()


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    before=st.integers(1, 3),
    added=st.integers(0, 3),
    zones=st.integers(0, 3),
    memory=st.sampled_from([0, 30, 120]),
)
@settings(max_examples=60, deadline=None)
def test_asked_again_and_again_it_comes_to_an_end(
    sizes: list[int], before: int, added: int, zones: int, memory: int
) -> None:
    placement = Placement(spread_over="zone") if zones else None
    world = world_of(
        before, {f"s{number}": size for number, size in enumerate(sizes)}, memory=memory, placement=placement
    )
    for number in range(added):
        add_host(world, f"new{number}", **({"zone": f"z{number % zones}"} if zones else {}))
    for _ in range(10):
        found = better(world)
        assert found == better(world), "the same reading, the same moves"
        assert len({(move.task, move.issue) for move in found.moves}) == len(found.moves), "none is moved twice"
        if not found.moves:
            return
        ask(world, found)
        settle(world)
    raise AssertionError("it goes on moving tasks")
