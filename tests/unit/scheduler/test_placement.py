"""Which host a task gets, which it does not get, and what is said then."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from reconciler.model.manifests import Constraint, Host
from reconciler.scheduler import lanes, pools
from reconciler.scheduler.cluster_view import HostView, Use
from reconciler.scheduler.filters import FILTERS, Demand, Room, fits, has_room, refusal
from reconciler.scheduler.placement import Placer
from tests.support.scheduler_world import definition, state


def host(
    name: str, *, issued: Use | None = None, leaving: Use | None = None, config: Mapping[str, Any] | None = None,
    is_present: bool = True, **fields: Any
) -> HostView:  # fmt: skip
    """A host that is there; ``fields`` are those of its state."""
    return HostView(
        name=name,
        state=state(name, **fields),
        config=Host(name=name, **(config or {})),
        present=is_present,
        issued=issued or Use(),
        leaving=leaving or Use(),
    )


def hosts(*views: HostView) -> dict[str, HostView]:
    return {view.name: view for view in views}


def places(placer: Placer, demand: Demand, count: int, crowd: Mapping[str, int] | None = None) -> list[str]:
    """The hosts that tasks of one service get, one after the other."""
    service = placer.for_service(crowd or {})
    found = [place.host for number in range(count) if (place := service.place(demand, f"task-{number}"))]
    service.close()
    return found


def test_tasks_of_a_service_spread_over_all_hosts_before_one_gets_a_second() -> None:
    placer = Placer(hosts(host("h1"), host("h2"), host("h3")))
    assert places(placer, Demand(memory=64), 6) == ["h1", "h2", "h3", "h1", "h2", "h3"]


def test_a_service_prefers_a_host_without_it_even_if_that_is_fuller() -> None:
    placer = Placer(hosts(host("h1"), host("h2", issued=Use(tasks=3, memory=3000))))
    assert places(placer, Demand(memory=64), 1, crowd={"h1": 1}) == ["h2"]


def test_tasks_that_are_to_go_decide_only_between_hosts_with_as_many_that_stay() -> None:
    placer = Placer(hosts(host("h1"), host("h2"), host("h3")))
    service = placer.for_service({"h1": 1, "h2": 2}, staying={"h1": 1})
    found = [place.host for number in range(3) if (place := service.place(Demand(memory=64), f"task-{number}"))]
    assert found == ["h3", "h2", "h1"]


def test_among_equals_the_emptier_host_is_chosen_in_memory_or_cpu() -> None:
    placer = Placer(
        hosts(host("h1", issued=Use(tasks=1, cpu_units=2000)), host("h2", issued=Use(tasks=1, memory=1000)))
    )
    assert places(placer, Demand(), 1) == ["h2"]


def test_services_that_say_nothing_of_their_needs_spread_as_well() -> None:
    placer = Placer(hosts(host("h1", memory=0, cpu_units=0), host("h2", memory=0, cpu_units=0), host("h3")))
    found = [places(placer, Demand(), 1)[0] for _ in range(9)]
    assert Counter(found) == {"h1": 3, "h2": 3, "h3": 3}


def test_a_bigger_host_gets_more() -> None:
    placer = Placer(hosts(host("h1", memory=1000), host("h2", memory=3000)))
    found = Counter(place for _ in range(8) for place in places(placer, Demand(memory=400), 1))
    assert found == {"h2": 7, "h1": 1} or found == {"h2": 6, "h1": 2}


def test_memory_and_cpu_are_never_promised_twice() -> None:
    placer = Placer(hosts(host("h1", memory=1000, cpu_units=1024)))
    assert places(placer, Demand(memory=400), 5) == ["h1", "h1"]
    assert places(placer, Demand(cpu_units=1000), 5) == ["h1"]
    assert places(placer, Demand(), 1) == ["h1"]


def test_what_the_operator_reserved_is_not_given_away() -> None:
    reserved = host("h1", memory=1000, config={"reserved_memory": 700, "reserved_cpu_units": 4000})
    assert places(Placer(hosts(reserved)), Demand(memory=301), 1) == []
    assert places(Placer(hosts(reserved)), Demand(memory=300), 1) == ["h1"]
    assert places(Placer(hosts(reserved)), Demand(cpu_units=97), 1) == []


def test_rule_09_what_is_leaving_still_holds_its_place() -> None:
    left = Use(tasks=1, memory=900, ports={80: "main-web-1-0"})
    placer = Placer(hosts(host("h1", memory=1000, leaving=left)))
    assert places(placer, Demand(memory=200), 1) == []
    assert places(placer, Demand(fixed_ports=(80,)), 1) == []
    assert placer.fit_when_left(Demand(memory=200, fixed_ports=(80,))) == ["h1"]
    assert placer.fit_when_left(Demand(memory=1200)) == []


def test_a_fixed_port_is_exclusive_on_its_host() -> None:
    placer = Placer(hosts(host("h1"), host("h2", issued=Use(tasks=1, ports={80: "other-x-1-0"}))))
    assert places(placer, Demand(fixed_ports=(80,)), 3) == ["h1"]


def test_a_provided_port_is_of_the_hosts_range_free_and_the_same_each_time() -> None:
    def ports() -> list[int]:
        taken = Use(tasks=1, ports={25000: "other-x-1-0"})
        service = Placer(hosts(host("h1", issued=taken, port_range=(25000, 25003)))).for_service({})
        found = [service.place(Demand(provided_ports=1), f"task-{number}") for number in range(4)]
        return [place.provided_ports[0] for place in found if place]

    assert sorted(ports()) == [25001, 25002, 25003]
    assert ports() == ports()


def test_all_ports_of_a_task_are_its_own_even_a_fixed_one_in_the_range() -> None:
    demand = Demand(fixed_ports=(25001, 53), provided_ports=2)
    placer = Placer(hosts(host("h1", port_range=(25000, 25003), issued=Use(tasks=1, ports={25000: "other-x-1-0"}))))
    place = placer.for_service({}).place(demand, "task")
    assert place is not None
    assert sorted(place.provided_ports) == [25002, 25003]
    assert sorted(placer.room("h1").ports) == [53, 25000, 25001, 25002, 25003]
    placer.give_back(place, demand, "")
    assert sorted(placer.room("h1").ports) == [25000]


def test_the_operators_port_range_wins_over_the_hosts_own() -> None:
    placer = Placer(hosts(host("h1", config={"port_range": (30000, 30000)})))
    place = placer.for_service({}).place(Demand(provided_ports=1), "task")
    assert place is not None
    assert place.provided_ports == (30000,)


def test_a_definition_says_what_its_tasks_need() -> None:
    web = definition("web", 1, memory=64, cpu_units=32, provide_port=True)
    assert Demand.of(web) == Demand(memory=64, cpu_units=32, provided_ports=1, executors=("bash",))
    assert Demand.of(definition("web", 1, executor="docker", port=80)).fixed_ports == (80,)


def test_hosts_on_which_it_failed_are_taken_only_if_no_other_fits() -> None:
    placer = Placer(hosts(host("h1"), host("h2"), host("h3", memory=10)))
    service = placer.for_service({})
    found = [service.place(Demand(memory=100), f"task-{number}", avoid=("h1",)) for number in range(3)]
    assert [place.host for place in found if place] == ["h2", "h2", "h2"]
    service.close()
    only = Placer(hosts(host("h1"), host("h3", memory=10))).for_service({})
    place = only.place(Demand(memory=100), "task", avoid=("h1",))
    assert place is not None
    assert place.host == "h1"


def test_services_placed_after_each_other_see_what_the_first_took() -> None:
    placer = Placer(hosts(host("h1", memory=1000), host("h2", memory=1000)))
    assert places(placer, Demand(memory=600), 2) == ["h1", "h2"]
    assert places(placer, Demand(memory=600), 1) == []
    assert places(placer, Demand(memory=400), 2) == ["h1", "h2"]


def test_a_trial_gives_nothing_away() -> None:
    placer = Placer(hosts(host("h1", memory=1000)))
    service = placer.for_service({})
    assert service.where_fit(Demand(memory=400), 5) == ["h1", "h1"]
    assert service.where_fit(Demand(memory=400), 1) == ["h1"]
    assert service.place(Demand(memory=1000), "task") is not None


REFUSALS = [
    (host("h1", is_present=False), Demand(), "present", "missing"),
    (host("h1", config={"draining": True}), Demand(), "draining", "draining"),
    (host("h1"), Demand(executors=("docker",)), "executors", "no executor docker, only bash"),
    (
        host("h1", memory=2048, issued=Use(tasks=1, memory=1792)), Demand(memory=512), "memory",
        "512 MiB of memory needed, 256 of 2048 MiB free",
    ),
    (
        host("h1", cpu_units=1024, issued=Use(tasks=1, cpu_units=2000)), Demand(cpu_units=1), "cpu_units",
        "1 cpu_units needed, 0 of 1024 free",
    ),
    (
        host("h1", issued=Use(tasks=1, ports={80: "main-web-1-0"})), Demand(fixed_ports=(80,)), "port",
        "port 80 is taken by main-web-1-0",
    ),
    (
        host("h1", port_range=(80, 80), issued=Use(tasks=1, ports={80: "x"})), Demand(provided_ports=1),
        "provided port", "no port of 80-80 is free",
    ),
    (
        host("h1", issued=Use(tasks=1, ports={53: "x", 80: "y"})), Demand(fixed_ports=(80, 81, 53)), "port",
        "port 80 is taken by y and port 53 is taken by x",
    ),
    (
        host("h1", port_range=(80, 82), issued=Use(tasks=1, ports={80: "x"})),
        Demand(fixed_ports=(81,), provided_ports=2), "provided port", "2 ports of 80-82 needed, 1 free",
    ),
    (
        host("h1", disk=1000, config={"reserved_disk": 100}, issued=Use(tasks=1, disk=600)), Demand(disk=301), "disk",
        "301 MiB of disk needed, 300 of 900 MiB free",
    ),
    (
        host("h1", config={"tags": {"zone": "b"}}), Demand(constraints=(Constraint(key="tag.zone", value="a"),)),
        "constraints", "tag.zone = a wanted, it is b",
    ),
    (
        host("h1", issued=Use(tasks=2, services={"db": 2})), Demand(apart=("db",)), "apart",
        "kept apart from db: 2 tasks of it are there",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("view", "demand", "name", "text"), REFUSALS, ids=[each[3] for each in REFUSALS])
def test_each_filter_says_why_with_the_numbers(view: HostView, demand: Demand, name: str, text: str) -> None:
    room = Room.of(view)
    found = refusal(room, demand)
    assert found is not None
    assert (found.name, found.explain(room, demand)) == (name, text)
    assert not fits(room, demand)
    assert Placer(hosts(view)).why_nowhere(demand) == f"h1: {text}"


def test_every_filter_has_a_case_above() -> None:
    assert {each[2] for each in REFUSALS} == {each.name for each in FILTERS}


def test_many_hosts_with_one_reason_are_counted_and_the_nearest_is_named() -> None:
    placer = Placer(hosts(host("h1", memory=100), host("h2", memory=300), host("h3", memory=200)))
    assert placer.why_nowhere(Demand(memory=512)) == (
        "3 hosts have too little memory, such as h2: 512 MiB of memory needed, 300 of 300 MiB free"
    )
    assert Placer({}).why_nowhere(Demand()) == "there is no host"


def test_the_work_grows_with_the_tasks_not_with_tasks_times_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def counting(room: Room, demand: Demand) -> bool:
        nonlocal asked
        asked += 1
        return has_room(room, demand)

    monkeypatch.setattr(lanes, "has_room", counting)
    full = [host(f"full-{number:03}", issued=Use(tasks=1, memory=4096)) for number in range(300)]
    placer = Placer(hosts(*full, *(host(f"h{number:03}") for number in range(200))))
    for _ in range(50):
        assert len(places(placer, Demand(memory=64), 20)) == 20
    assert asked <= 2 * 50 * 20
    # what found no host is not looked for again
    asked = 0
    for _ in range(50):
        assert places(placer, Demand(memory=9999), 20) == []
    assert asked == 500


def test_packing_looks_at_a_full_host_once_for_each_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def counting(room: Room, demand: Demand) -> bool:
        nonlocal asked
        asked += 1
        return has_room(room, demand)

    monkeypatch.setattr(lanes, "has_room", counting)
    placer = Placer(hosts(*(host(f"h{number:03}", memory=640) for number in range(100))))
    for _ in range(50):
        assert len(places(placer, Demand(memory=64, packs=True), 20)) == 20
    assert asked <= 50 * 20 + 100
    assert len(set(places(placer, Demand(packs=True), 5))) == 1, "what needs nothing still goes to the fullest"


def test_hosts_are_looked_at_by_class_however_many_services_constrain_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counting(room: Room, demand: Demand) -> bool:
        asked.append(room.name)
        return fits(room, demand)

    monkeypatch.setattr(pools, "fits", counting)
    placer = Placer(
        hosts(*(host(f"h{number:03}", config={"tags": {"zone": "ab"[number % 2]}}) for number in range(100)))
    )
    asked.clear()
    for _ in range(20):
        for zone in ("a", "b"):
            demand = Demand(constraints=(Constraint(key="tag.zone", value=zone),))
            assert len(places(placer, demand, 5)) == 5
    assert len(asked) == 4
