"""Placing against trying everything, on small fleets: nothing that fits is refused, nothing that is refused fits."""

import itertools
from collections import Counter
from collections.abc import Iterator

import hypothesis.strategies as st
from hypothesis import given, settings

from reconciler.model.manifests import Constraint, Host
from reconciler.scheduler.cluster_view import HostView, Use
from reconciler.scheduler.filters import Demand
from reconciler.scheduler.placement import Placer
from tests.support.scheduler_world import state

hosts = st.builds(
    lambda memory, disk, zone, port, is_failing: (memory, disk, zone, port, is_failing),
    st.sampled_from([0, 200, 400, 800]),
    st.sampled_from([0, 500, 1000]),
    st.sampled_from(["a", "b", None]),
    st.sampled_from([None, 80]),
    st.booleans(),
)
demands = st.builds(
    Demand,
    memory=st.sampled_from([0, 100, 200, 400]),
    disk=st.sampled_from([0, 0, 300]),
    fixed_ports=st.sampled_from([(), (), (80,), (80, 81)]),
    constraints=st.sampled_from(
        [(), (Constraint(key="tag.zone", value="a"),), (Constraint(key="tag.zone", operator="!=", value="a"),)]
    ),
    apart=st.sampled_from([(), ("web",), ("api",)]),
    packs=st.booleans(),
    spread_over=st.sampled_from([None, "zone"]),
)
services = st.lists(
    st.tuples(st.sampled_from(["api", "db", "web"]), demands, st.integers(1, 3)), min_size=1, max_size=3
)


def views(fleet: list[tuple[int, int, str | None, int | None, bool]]) -> dict[str, HostView]:
    return {
        f"h{number}": HostView(
            name=f"h{number}",
            state=state(f"h{number}", memory=memory, disk=disk),
            config=Host(name=f"h{number}", tags={"zone": zone} if zone else {}),
            present=True,
            failing=is_failing,
            issued=Use(tasks=1, ports={port: "other"}) if port else Use(),
        )
        for number, (memory, disk, zone, port, is_failing) in enumerate(fleet)
    }


class Fleet:
    """The plainest bookkeeping there is: what each host holds, and whether it may hold one more."""

    def __init__(self, views: dict[str, HostView]) -> None:
        self.views = views
        self.held: dict[str, list[tuple[str, Demand]]] = {name: [] for name in views}

    def may_take(self, host: str, service: str, demand: Demand) -> bool:
        view, held = self.views[host], self.held[host]
        assert view.state is not None
        zone = view.config.tags.get("zone")
        return (
            all((zone == each.value) == (each.operator == "=") for each in demand.constraints)
            and (not demand.memory or sum(each.memory for _, each in held) + demand.memory <= view.state.memory)
            and (not demand.disk or sum(each.disk for _, each in held) + demand.disk <= view.state.disk)
            and not set(demand.fixed_ports)
            & {*view.issued.ports, *(port for _, each in held for port in each.fixed_ports)}
            and not any(name in demand.apart for name, _ in held)
        )

    def takers(self, service: str, demand: Demand) -> Iterator[str]:
        return (host for host in self.views if self.may_take(host, service, demand))

    def most(self, service: str, demand: Demand, count: int) -> int:
        """How many of them fit at most, trying all ways to spread them over the hosts."""
        best = 0
        names = list(self.views)
        for choice in itertools.combinations_with_replacement(names, count):
            trial = Fleet(self.views)
            trial.held = {name: list(held) for name, held in self.held.items()}
            placed = 0
            for host in choice:
                if trial.may_take(host, service, demand):
                    trial.held[host].append((service, demand))
                    placed += 1
            best = max(best, placed)
        return best


@given(fleet=st.lists(hosts, min_size=1, max_size=4), wanted=services)
@settings(max_examples=400, deadline=None, database=None)
def test_a_service_gets_as_many_places_as_there_are_and_none_that_is_not(
    fleet: list[tuple[int, int, str | None, int | None, bool]], wanted: list[tuple[str, Demand, int]]
) -> None:
    known = views(fleet)
    exact, placer = Fleet(known), Placer(known)
    for service, demand, count in wanted:
        crowd = Counter({host: sum(name == service for name, _ in held) for host, held in exact.held.items()})
        most = exact.most(service, demand, count)
        places = placer.for_service(+crowd, service)
        assert len(places.where_fit(demand, count)) == most
        found = 0
        for number in range(count):
            takers = list(exact.takers(service, demand))
            place = places.place(demand, f"{service}-{number}")
            assert (place is None) == (not takers), f"{service}: {place}, though {takers or 'none'} may take it"
            if place is None:
                assert len(placer.refusals(demand)) == len(known)
                continue
            assert place.host in takers
            if sound := [host for host in takers if not known[host].failing]:
                assert not known[place.host].failing, "a better host was free"
            zones = Counter(known[host].config.tags.get("zone") for host, held in exact.held.items()
                            for name, _ in held if name == service)  # fmt: skip
            tagged = {zone for host in sound or takers if (zone := known[host].config.tags.get("zone"))}
            if demand.spread_over and tagged:
                chosen = known[place.host].config.tags.get("zone")
                assert chosen is not None
                assert zones[chosen] == min(zones[zone] for zone in tagged), "another zone has fewer"
            exact.held[place.host].append((service, demand))
            found += 1
        places.close()
        assert found == most
