"""The hosts of a plan, sorted into classes, in each the best first. ``placement`` takes them off and puts them back.

Hosts that are equal in all that any demand so far looks at (executors, and the tags and attributes that constraints and
spreading name) are one class. So a constraint is asked once for a class, not once for each task and host, and a host
stands in one class only, however many kinds of demand there are.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from reconciler.scheduler import constraints
from reconciler.scheduler.filters import Demand, Room, fits

FAILING_PENALTY = 1_000_000
"""What puts a host on which much failed behind all others, in scores and in counts of tasks alike."""


class Pool:
    """One class: a heap of its hosts by score. Whoever takes hosts off puts them back before another begins."""

    def __init__(self, rooms: Sequence[Room], *, packs: bool) -> None:
        self.is_outdated = False
        self._rooms = rooms
        self._packs = packs
        self._fill()

    def best(self) -> tuple[float, str] | None:
        """The score and name of the best host that is not off."""
        return self._heap[0] if self._heap else None

    def take_off(self) -> str:
        """Take the best host off."""
        return heapq.heappop(self._heap)[1]

    def put_back(self, room: Room) -> None:
        """Return a host, with the score that it has now."""
        heapq.heappush(self._heap, (self.score(room), room.name))

    def bring_up_to_date(self) -> None:
        """Begin anew if hosts were changed by others; none may be off."""
        if self.is_outdated:
            self._fill()
            self.is_outdated = False

    def score(self, room: Room) -> float:
        """The lower the better."""
        score = -room.load if self._packs else room.load
        return score + FAILING_PENALTY if room.view.failing else score

    def _fill(self) -> None:
        self._heap = [(self.score(room), room.name) for room in self._rooms]
        heapq.heapify(self._heap)


class Pools:
    """All classes of a plan; who spreads and who packs have pools of their own, sorted the other way round."""

    def __init__(self, rooms: Iterable[Room]) -> None:
        # hosts that can't even take a task without needs are never worth a look
        self._usable = [room for room in rooms if fits(room, Demand())]
        self._keys: frozenset[str] = frozenset()
        self._classes: list[list[Room]] | None = None
        self._pools: dict[bool, dict[int, Pool]] = {True: {}, False: {}}
        self._kinds: dict[Demand, dict[str | None, list[Pool]]] = {}

    def open(self, demand: Demand) -> Mapping[str | None, Sequence[Pool]]:
        """The hosts that are right for a demand, whether they have room or not, by value of the tag it spreads over."""
        kind = Demand(
            executors=demand.executors,
            constraints=demand.constraints,
            packs=demand.packs,
            spread_over=demand.spread_over,
        )
        if kind not in self._kinds:
            self._sort_by(_keys(kind))
            self._kinds[kind] = self._of_kind(kind)
        found = self._kinds[kind]
        for pools in found.values():
            for pool in pools:
                pool.bring_up_to_date()
        return found

    def changed(self, *, packed: bool | None = None) -> None:
        """Hosts were changed: by one that spreads or packs, or (None) without being taken off."""
        for packs, pools in self._pools.items():
            if packs is not packed:
                for pool in pools.values():
                    pool.is_outdated = True

    def _of_kind(self, kind: Demand) -> dict[str | None, list[Pool]]:
        found: dict[str | None, list[Pool]] = defaultdict(list)
        pools = self._pools[kind.packs]
        for number, alike in enumerate(self._classes or ()):
            if fits(alike[0], kind):
                if number not in pools:
                    pools[number] = Pool(alike, packs=kind.packs)
                found[spread_value(alike[0], kind)].append(pools[number])
        return dict(found)

    def _sort_by(self, keys: frozenset[str]) -> None:
        """Begin with other classes if these keys tell more hosts apart."""
        if self._classes is not None and keys <= self._keys:
            return
        self._keys |= keys
        ordered = sorted(self._keys)
        classes: dict[tuple[object, ...], list[Room]] = defaultdict(list)
        for room in self._usable:
            classes[room.view.executors, *(constraints.value_of(room.view, key) for key in ordered)].append(room)
        self._classes = list(classes.values())
        self._pools, self._kinds = {True: {}, False: {}}, {}


def _keys(kind: Demand) -> frozenset[str]:
    """What a demand of this kind looks at."""
    spread = {f"{constraints.TAG}{kind.spread_over}"} if kind.spread_over else set()
    return frozenset({constraint.key for constraint in kind.constraints} | spread)


def spread_value(room: Room, demand: Demand) -> str | None:
    """The host's value of the tag over which tasks spread; None: it has none, or there is no such tag."""
    return room.view.config.tags.get(demand.spread_over) if demand.spread_over else None
