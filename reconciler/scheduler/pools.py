"""The hosts of a plan, sorted into classes, in each the best first. ``placement`` takes them off and puts them back.

Hosts that are equal in all that any demand so far looks at (executors, and the tags and attributes that constraints and
spreading name) are one class. So a constraint is asked once for a class, not once for each task and host, and a host
stands in one class only, however many kinds of demand there are.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from reconciler.scheduler import constraints
from reconciler.scheduler.filters import Demand, Room, fits

FAILING_PENALTY = 1_000_000
"""What puts a host on which much failed behind all others, in scores and in counts of tasks alike."""


class Pool:
    """One class: a heap of its hosts by score. Whoever takes hosts off puts them back before another begins."""

    def __init__(self, rooms: Sequence[Room], seen: int, *, packs: bool) -> None:
        self.packs = packs
        self._seen = seen
        self._rooms = rooms
        self._full: set[str] = set()
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

    def drop(self, room: Room) -> None:
        """Never offer that host again: it is too full for the one demand that this pool is for."""
        self._full.add(room.name)

    def catch_up(self, changes: int, *, forgives: bool) -> None:
        """Begin anew if others changed hosts since; none may be off. ``forgives``: what was full may not be so now."""
        if forgives:
            self._full.clear()
        if forgives or changes != self._seen:
            self._fill()
            self._seen = changes

    def score(self, room: Room) -> float:
        """The lower the better."""
        score = -room.load if self.packs else room.load
        return score + FAILING_PENALTY if room.view.failing else score

    def _fill(self) -> None:
        self._heap = [(self.score(room), room.name) for room in self._rooms if room.name not in self._full]
        heapq.heapify(self._heap)


class Pools:
    """All classes of a plan. All who spread share pools.

    Who packs has pools for each demand: the fullest hosts come first there, and those that are too full for that very
    demand must not be looked at again and again.
    """

    def __init__(self, rooms: Iterable[Room]) -> None:
        # hosts that can't even take a task without needs are never worth a look
        self._usable = [room for room in rooms if fits(room, Demand())]
        self._keys: frozenset[str] = frozenset()
        self._classes: list[list[Room]] | None = None
        self._pools: dict[tuple[Demand | None, int], Pool] = {}
        self._kinds: dict[Demand, dict[str | None, list[Pool]]] = {}
        self._changes: Counter[Demand | None] = Counter()
        self._all_changes = 0
        self._forgiven: dict[Demand, int] = {}
        self._to_forgive = 0

    def open(self, demand: Demand) -> Mapping[str | None, Sequence[Pool]]:
        """The hosts that are right for a demand, whether they have room or not, by value of the tag it spreads over."""
        kind = demand if demand.packs else _looks_at(demand)
        if kind not in self._kinds:
            self._sort_by(_keys(kind))
            self._kinds[kind] = self._of_kind(kind)
        found = self._kinds[kind]
        others = self._changes_of_others(kind)
        forgives = self._forgiven.get(kind, 0) != self._to_forgive
        self._forgiven[kind] = self._to_forgive
        for pools in found.values():
            for pool in pools:
                pool.catch_up(others, forgives=forgives)
        return found

    def changed(self, demand: Demand) -> None:
        """Hosts that were off for this demand were changed."""
        self._changes[_owner(demand)] += 1
        self._all_changes += 1

    def freed(self) -> None:
        """A host was changed without being off, and has more room perhaps."""
        self._to_forgive += 1

    def _changes_of_others(self, kind: Demand) -> int:
        return self._all_changes - self._changes[_owner(kind)]

    def _of_kind(self, kind: Demand) -> dict[str | None, list[Pool]]:
        found: dict[str | None, list[Pool]] = defaultdict(list)
        looks_at, owner, changes = _looks_at(kind), _owner(kind), self._changes_of_others(kind)
        for number, alike in enumerate(self._classes or ()):
            if fits(alike[0], looks_at):
                pool = self._pools.get((owner, number))
                if pool is None:
                    pool = self._pools[owner, number] = Pool(alike, changes, packs=kind.packs)
                found[spread_value(alike[0], kind)].append(pool)
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
        self._pools, self._kinds = {}, {}


def _owner(demand: Demand) -> Demand | None:
    """Whose pools a demand uses."""
    return demand if demand.packs else None


def _looks_at(demand: Demand) -> Demand:
    """What of a demand tells classes of hosts apart."""
    return Demand(executors=demand.executors, constraints=demand.constraints, spread_over=demand.spread_over)


def _keys(kind: Demand) -> frozenset[str]:
    """What a demand of this kind looks at."""
    spread = {f"{constraints.TAG}{kind.spread_over}"} if kind.spread_over else set()
    return frozenset({constraint.key for constraint in kind.constraints} | spread)


def spread_value(room: Room, demand: Demand) -> str | None:
    """The host's value of the tag over which tasks spread; None: it has none, or there is no such tag."""
    return room.view.config.tags.get(demand.spread_over) if demand.spread_over else None
