"""Where tasks go. One ``Placer`` lives as long as one plan and remembers what that plan has given away.

Hosts stand in one heap by score. Placing a service takes hosts off its top, best first, and puts them back when the
service is done: the cost grows with the tasks placed, not with tasks times hosts. What the plan takes away is never
counted as free in the same plan (a stopping task holds its place until its host says that it is gone), so a demand
that found no host once finds none later, and is not looked for again.
"""

import heapq
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec

from reconciler.model.task import Task
from reconciler.scheduler.cluster_view import HostView, Use
from reconciler.scheduler.filters import FILTERS, Demand, Room, fits, refusal
from reconciler.scheduler.scores import spread
from reconciler.scheduler.steps import Refusal


class Place(msgspec.Struct, frozen=True):
    """A host, and the port there (0: none)."""

    host: str
    port: int


class Placer:
    """What is free on all hosts while a plan is made."""

    def __init__(
        self,
        hosts: Mapping[str, HostView],
        seq: int = 0,
        score: Callable[[Room], float] = spread,
        *,
        explains: bool = False,
    ) -> None:
        """``seq``: the cluster's, which no two plans that are carried out share. ``explains``: host by host, too."""
        self.explains = explains
        self._seq = seq
        self._score = score
        self._rooms = {name: Room.of(host) for name, host in hosts.items()}
        self._heap: list[tuple[float, str]] = []
        for name, room in self._rooms.items():
            room.load = score(room)
            if fits(room, Demand()):  # hosts that can't even take a task without needs are never worth a look
                self._heap.append((room.load, name))
        heapq.heapify(self._heap)
        self._nowhere: set[Demand] = set()
        self._explained: dict[Demand, str] = {}
        self._refused: dict[Demand, tuple[Refusal, ...]] = {}

    def room(self, host: str) -> Room:
        """What is free on a host now."""
        return self._rooms[host]

    def for_service(self, crowd: Mapping[str, int]) -> "ServicePlacer":
        """Begin to place tasks of one service, of which ``crowd`` are on each host already."""
        return ServicePlacer(self, crowd)

    def would_fit(self, host: str, demand: Demand, gone: Iterable[Task] = (), *, when_left: bool = False) -> bool:
        """Whether the host could take the task if those tasks (and all that are leaving it) were gone."""
        held = tuple(gone)
        use = Use(
            memory=sum(task.memory for task in held),
            cpu_units=sum(task.cpu_units for task in held),
            ports={task.port: task.id for task in held},
        )
        return fits(self._rooms[host].without(use, when_left=when_left), demand)

    def fits_when_left(self, demand: Demand) -> str | None:
        """A host that could take the task once those that are stopping there are gone."""
        waiting = (name for name, room in self._rooms.items() if room.view.present and room.view.leaving.tasks)
        return min((name for name in waiting if self.would_fit(name, demand, when_left=True)), default=None)

    def take(self, room: Room, demand: Demand, task_id: str) -> Place:
        """Give away a place on a host that fits; its score has changed when this returns."""
        port = demand.port
        if demand.provide_port:
            # by the id and the time, so that neither a port that another task just gave up is taken again, nor one that
            # somebody else on the host turned out to have
            port = room.free_port(zlib.crc32(f"{task_id} {self._seq}".encode()))
        if port:
            room.ports[port] = task_id
        room.tasks += 1
        room.memory -= demand.memory
        room.cpu_units -= demand.cpu_units
        room.load = self._score(room)
        return Place(room.name, port)

    def give_back(self, place: Place, demand: Demand) -> None:
        """Undo a ``take`` that was only a trial."""
        room = self._rooms[place.host]
        room.ports.pop(place.port, None)
        room.tasks -= 1
        room.memory += demand.memory
        room.cpu_units += demand.cpu_units
        room.load = self._score(room)

    def why_nowhere(self, demand: Demand) -> str:
        """Why no host fits: each reason with the number of hosts and the numbers of the one that comes nearest."""
        if demand not in self._explained:
            self._explained[demand] = self._explain(demand)
        return self._explained[demand]

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

    def best(self) -> tuple[float, str] | None:
        """The score and name of the best host that no service placer has taken off."""
        return self._heap[0] if self._heap else None

    def take_off(self) -> Room:
        """Take the best host off the heap; its service placer puts it back."""
        return self._rooms[heapq.heappop(self._heap)[1]]

    def put_back(self, rooms: Iterable[Room]) -> None:
        """Return hosts to the heap, with the scores that they have now."""
        for room in rooms:
            heapq.heappush(self._heap, (room.load, room.name))


class ServicePlacer:
    """Places tasks of one service: on the host with the fewest of them, then the best score, then by name."""

    def __init__(self, placer: Placer, crowd: Mapping[str, int]) -> None:
        self._placer = placer
        self._crowd = Counter(crowd)
        self._demand: Demand | None = None
        self._off: list[Room] = []
        self._candidates: list[tuple[int, float, str]] = []

    def place(self, demand: Demand, task_id: str, avoid: Iterable[str] = ()) -> Place | None:
        """A place for one task, given away; None: no host fits. Hosts in ``avoid`` are taken only if no other fits."""
        if self._placer.is_nowhere(demand):
            return None
        if demand != self._demand:
            self.close()
            self._demand = demand
        avoided: list[tuple[int, float, str]] = []
        shunned = frozenset(avoid)
        found: Room | None = None
        while found is None and (candidate := self._next()):
            room = self._placer.room(candidate[2])
            if room.name in shunned and fits(room, demand):
                avoided.append(candidate)
            elif fits(room, demand):
                found = room
        if found is None and avoided:
            found = self._placer.room(avoided.pop(0)[2])
        for candidate in avoided:
            heapq.heappush(self._candidates, candidate)
        if found is None:
            self._placer.found_nowhere(demand)
            return None
        return self._take(found, demand, task_id)

    def place_on(self, host: str, demand: Demand, task_id: str, gone: Task) -> Place | None:
        """A place on that very host, counting ``gone`` as gone already; None: it does not fit."""
        if not self._placer.would_fit(host, demand, (gone,)):
            return None
        self.close()
        room = self._placer.room(host)
        room.ports.pop(gone.port, None)
        room.memory += gone.memory
        room.cpu_units += gone.cpu_units
        return self._placer.take(room, demand, task_id)

    def how_many_fit(self, demand: Demand, up_to: int) -> int:
        """How many such tasks could be placed now, at most ``up_to``; nothing is given away."""
        self.close()
        trial = ServicePlacer(self._placer, self._crowd)
        places: list[Place] = []
        was_nowhere = self._placer.is_nowhere(demand)
        while len(places) < up_to and (place := trial.place(demand, "trial")):
            places.append(place)
        for place in places:
            self._placer.give_back(place, demand)
        trial.close()
        if not was_nowhere:
            self._placer.found_nowhere(demand, still=False)
        return len(places)

    def close(self) -> None:
        """Put all hosts back, for the next service (or the next demand)."""
        self._placer.put_back(self._off)
        self._off = []
        self._candidates = []
        self._demand = None

    def _next(self) -> tuple[int, float, str] | None:
        """The best host that was not considered yet, as (tasks of this service there, score, name)."""
        while True:
            best = self._placer.best()
            if best is None or (self._candidates and self._candidates[0] < (0, *best)):
                return heapq.heappop(self._candidates) if self._candidates else None
            room = self._placer.take_off()
            self._off.append(room)
            crowd = self._crowd[room.name]
            if crowd == 0:
                return 0, *best
            heapq.heappush(self._candidates, (crowd, *best))

    def _take(self, room: Room, demand: Demand, task_id: str) -> Place:
        place = self._placer.take(room, demand, task_id)
        self._crowd[room.name] += 1
        heapq.heappush(self._candidates, (self._crowd[room.name], room.load, room.name))
        return place
