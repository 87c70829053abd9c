"""Where tasks go. One ``Placer`` lives as long as one plan and remembers what that plan has given away.

Hosts stand in heaps by score (``pools``). Placing a service takes hosts off their tops, best first, and puts them back
when the service is done: the cost grows with the tasks placed, not with tasks times hosts. What the plan takes away is
never counted as free in the same plan (a stopping task holds its place until its host says that it is gone), so a
demand that found no host once finds none later, and is not looked for again.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from reconciler.model.task import Task
from reconciler.scheduler.cluster_view import HostView, Use
from reconciler.scheduler.filters import FILTERS, Demand, Room, fits, refusal
from reconciler.scheduler.lanes import Lane
from reconciler.scheduler.pools import Pools, spread_value
from reconciler.scheduler.scores import fullness
from reconciler.scheduler.steps import Refusal


class Place(msgspec.Struct, frozen=True):
    """A host, and the ports that it provides there."""

    host: str
    provided_ports: tuple[int, ...] = ()


class Placer:
    """What is free on all hosts while a plan is made."""

    def __init__(
        self,
        hosts: Mapping[str, HostView],
        seq: int = 0,
        *,
        explains: bool = False,
    ) -> None:
        """``seq``: the cluster's, which no two plans that are carried out share. ``explains``: host by host, too."""
        self.explains = explains
        self._seq = seq
        self._rooms = {name: Room.of(host) for name, host in hosts.items()}
        for room in self._rooms.values():
            room.load = fullness(room)
        self._pools = Pools(room for _, room in sorted(self._rooms.items()))
        self._nowhere: set[Demand] = set()
        self._explained: dict[Demand, str] = {}
        self._refused: dict[Demand, tuple[Refusal, ...]] = {}

    def room(self, host: str) -> Room:
        """What is free on a host now."""
        return self._rooms[host]

    def for_service(
        self, crowd: Mapping[str, int], service: str = "", staying: Mapping[str, int] | None = None
    ) -> "ServicePlacer":
        """Begin to place tasks of one service, of which ``crowd`` are on each host already.

        ``staying``: those of them that are there to stay (default: all). They count first, and alone for the spread
        over a tag.
        """
        return ServicePlacer(self, crowd, service, crowd if staying is None else staying)

    @property
    def pools(self) -> Pools:
        """The hosts by class, for service placers."""
        return self._pools

    def would_fit(self, host: str, demand: Demand, gone: Iterable[Task] = (), *, when_left: bool = False) -> bool:
        """Whether the host could take the task if those tasks (and all that are leaving it) were gone."""
        held = tuple(gone)
        use = Use(
            memory=sum(task.memory for task in held),
            cpu_units=sum(task.cpu_units for task in held),
            ports={port: task.id for task in held for port in task.held_ports},
            disk=sum(task.disk for task in held),
            services=Counter(task.service for task in held),
        )
        return fits(self._rooms[host].without(use, when_left=when_left), demand)

    def fit_when_left(self, demand: Demand) -> list[str]:
        """The hosts that could take the task once those that are stopping there are gone."""
        waiting = (name for name, room in self._rooms.items() if room.view.present and room.view.leaving.tasks)
        return sorted(name for name in waiting if self.would_fit(name, demand, when_left=True))

    def take(self, room: Room, demand: Demand, task_id: str, service: str) -> Place:
        """Give away a place on a host that fits; its score has changed when this returns."""
        provided: tuple[int, ...] = ()
        if demand.provided_ports:
            # by the id and the time, so that neither a port that another task just gave up is taken again, nor one that
            # somebody else on the host turned out to have
            provided = room.free_ports(demand, zlib.crc32(f"{task_id} {self._seq}".encode()))
        room.ports.update(dict.fromkeys((*demand.fixed_ports, *provided), task_id))
        room.take(demand, service)
        room.load = fullness(room)
        return Place(room.name, provided)

    def give_back(self, place: Place, demand: Demand, service: str) -> None:
        """Undo a ``take`` that was only a trial."""
        room = self._rooms[place.host]
        for port in (*demand.fixed_ports, *place.provided_ports):
            room.ports.pop(port, None)
        room.take(demand, service, -1)
        room.load = fullness(room)

    def why_nowhere(self, demand: Demand) -> str:
        """Why no host fits: each reason with the number of hosts and the numbers of the one that comes nearest."""
        if demand not in self._explained:
            self._explained[demand] = self._explain(demand)
        return self._explained[demand]

    def why_not(self, host: str, demand: Demand) -> str:
        """Why that host does not fit."""
        room = self._rooms[host]
        found = refusal(room, demand)
        return f"{host}: {found.explain(room, demand)}" if found else f"{host} waits for what is stopping there"

    def _explain(self, demand: Demand) -> str:
        if not self._rooms:
            return "there is no host"
        refused: dict[str, list[Room]] = {}
        for _, room in sorted(self._rooms.items()):
            if found := refusal(room, demand):
                refused.setdefault(found.name, []).append(room)
        parts = []
        for each in FILTERS:
            if rooms := refused.get(each.name):
                nearest = max(rooms, key=lambda room: (room.memory, room.cpu_units))
                text = f"{nearest.name}: {each.explain(nearest, demand)}"
                parts.append(text if len(rooms) == 1 else f"{len(rooms)} hosts {each.summary}, such as {text}")
        return "; ".join(parts)

    def refusals(self, demand: Demand) -> tuple[Refusal, ...]:
        """Each host that does not fit, and why, when that was asked first."""
        if demand not in self._refused:
            self._refused[demand] = tuple(
                Refusal(host=name, filter=found.name, reason=found.explain(room, demand))
                for name, room in sorted(self._rooms.items())
                if (found := refusal(room, demand))
            )
        return self._refused[demand]

    def is_nowhere(self, demand: Demand) -> bool:
        """Whether no host was found for this demand before (and so none will be in this plan)."""
        return demand in self._nowhere

    def found_nowhere(self, demand: Demand, *, still: bool = True) -> None:
        """Remember (or forget) that no host fits."""
        if still:
            self._nowhere.add(demand)
        else:
            self._nowhere.discard(demand)


class ServicePlacer:
    """Places tasks of one service: on the host with the fewest of them that stay, then the fewest, then the best score.

    Where they are to spread over a tag, first where the fewest are of those that stay; hosts without the tag come last.
    """

    def __init__(
        self,
        placer: Placer,
        crowd: Mapping[str, int],
        service: str,
        staying: Mapping[str, int],
        *,
        is_trial: bool = False,
    ) -> None:
        self._placer = placer
        self._is_trial = is_trial
        self._service = service
        self._crowd = Counter(crowd)
        self._staying = Counter(staying)
        self._demand: Demand | None = None
        self._lanes: dict[str | None, Lane] = {}
        self._counts: Counter[str | None] = Counter()

    def place(self, demand: Demand, task_id: str, avoid: Iterable[str] = ()) -> Place | None:
        """A place for one task, given away; None: no host fits. Hosts in ``avoid`` are taken only if no other fits."""
        if self._placer.is_nowhere(demand):
            return None
        if demand != self._demand:
            self._open(demand)
        shunned = frozenset(avoid)
        found = self._find(demand, shunned, takes_failing=False) or self._find(demand, shunned, takes_failing=True)
        if found is None and shunned:
            found = self._find(demand, frozenset(), takes_failing=True)
        if found is None:
            self._placer.found_nowhere(demand)
            return None
        place = self._placer.take(found, demand, task_id, self._service)
        value = spread_value(found, demand)
        self._crowd[found.name] += 1
        self._staying[found.name] += 1
        self._counts[value] += 1
        self._lanes[value].taken(found)
        return place

    def place_on(self, host: str, demand: Demand, task_id: str, gone: Task | None = None) -> Place | None:
        """A place on that very host, counting ``gone`` as gone already; None: it does not fit."""
        if not self._placer.would_fit(host, demand, (gone,) if gone else ()):
            return None
        self.close()
        room = self._placer.room(host)
        if gone is not None:
            for port in gone.held_ports:
                room.ports.pop(port, None)
            room.take(Demand(memory=gone.memory, cpu_units=gone.cpu_units, disk=gone.disk), gone.service, -1)
        place = self._placer.take(room, demand, task_id, self._service)
        self._placer.pools.freed()
        return place

    def place_first(self, hosts: Iterable[str], demand: Demand, task_id: str) -> Place | None:
        """A place on the best of a few hosts, if one of them fits."""
        fitting = [host for host in hosts if self._placer.would_fit(host, demand)]
        if not fitting:
            return None
        best = min(
            fitting, key=lambda host: (self._staying[host], self._crowd[host], self._placer.room(host).load, host)
        )
        place = self.place_on(best, demand, task_id)
        self._crowd[best] += 1
        self._staying[best] += 1
        return place

    def where_fit(
        self,
        demand: Demand,
        up_to: int,
        *,
        gone: Mapping[str, int] | None = None,
        first: Iterable[str] = (),
        last: Iterable[str] = (),
    ) -> list[str]:
        """On which hosts such tasks could be placed now, at most ``up_to``; nothing is given away.

        ``gone``: tasks of the service by host that are not to count any more. ``first``: each of these takes one before
        all others are asked; ``last``: only if no other fits.
        """
        self.close()
        crowd = Counter(self._crowd)
        crowd.subtract(gone or {})
        trial = ServicePlacer(self._placer, crowd, self._service, self._staying, is_trial=True)
        was_nowhere = self._placer.is_nowhere(demand)
        places: list[Place] = []
        preferred = list(first)
        waiting = list(preferred)
        while len(places) < up_to and (place := trial.place_first(waiting, demand, "trial")):
            waiting.remove(place.host)
            places.append(place)
        while len(places) < up_to and (place := trial.place(demand, "trial", last)):
            places.append(place)
        for place in places:
            self._placer.give_back(place, demand, self._service)
        trial.close()
        if preferred != waiting:
            self._placer.pools.freed()  # those were not off when they were given back
        if not was_nowhere:
            self._placer.found_nowhere(demand, still=False)
        return [place.host for place in places]

    def close(self) -> None:
        """Put all hosts back, for the next service (or the next demand)."""
        for lane in self._lanes.values():
            lane.close()
        if self._demand is not None:
            self._placer.pools.changed(self._demand)
        self._lanes = {}
        self._demand = None

    def _open(self, demand: Demand) -> None:
        self.close()
        self._demand = demand
        self._lanes = {
            value: Lane(self._placer.room, pools, self._crowd, self._staying, drops=demand.packs and not self._is_trial)
            for value, pools in self._placer.pools.open(demand).items()
        }
        self._counts = Counter()
        if demand.spread_over:
            for host, count in self._staying.items():
                self._counts[spread_value(self._placer.room(host), demand)] += count

    def _find(self, demand: Demand, shunned: frozenset[str], *, takes_failing: bool) -> Room | None:
        """The best host with room that is not shunned."""
        lanes = self._lanes
        if len(lanes) == 1:
            (lane,) = lanes.values()
            return lane.find(demand, shunned, takes_failing=takes_failing)
        # the best host of each value decides between values that have as many
        tops = [
            (value is None, self._counts[value], best, value) for value, lane in lanes.items() if (best := lane.best())
        ]
        for *_, value in sorted(tops, key=lambda top: top[:3]):
            if found := lanes[value].find(demand, shunned, takes_failing=takes_failing):
                return found
        return None
