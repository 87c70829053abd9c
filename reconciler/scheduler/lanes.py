"""The order in which hosts are taken while tasks of one service are placed. ``placement`` has one for each tag value.

A host that has no task of the service goes before those that have; so the pools, which many services share, need not
know how many each service has where.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from reconciler.scheduler.filters import Demand, Room, has_room
from reconciler.scheduler.pools import FAILING_PENALTY, Pool

Rank = tuple[tuple[int, int], float, str]
"""How many tasks of the service are on a host (to stay, all), its score, its name: the lower the better."""
NONE: Final = (0, 0)


class Lane:
    """Hosts of some classes while tasks of one service are placed, the best first: the fewest of its tasks, then score.

    Tasks that are to go decide only between hosts with as many that stay, so that a rolling update ends as even as it
    began. What packs does not count its tasks: it fills the fullest host.
    """

    def __init__(
        self,
        room: Callable[[str], Room],
        pools: Sequence[Pool],
        crowd: Mapping[str, int],
        staying: Mapping[str, int],
        *,
        drops: bool,
    ) -> None:
        """``crowd``: the service's tasks by host, ``staying`` those of them that are there to stay. ``drops``: hosts
        without room are not put back.
        """
        self._room = room
        self._pools = pools
        self._crowd = crowd
        self._staying = staying
        self._drops = drops
        self._full: set[str] = set()
        self._off: list[tuple[Pool, Room]] = []
        self._candidates: list[Rank] = []
        self._tops = [(*best, number) for number, pool in enumerate(pools) if (best := pool.best())]
        heapq.heapify(self._tops)

    def best(self) -> Rank | None:
        """The host that ``find`` looks at first."""
        candidates, tops = self._candidates, self._tops
        while tops:
            score, name, number = tops[0]
            if candidates and candidates[0] < (NONE, score, name):
                break
            pool = self._pools[number]
            pool.take_off()
            if following := pool.best():
                heapq.heapreplace(tops, (*following, number))
            else:
                heapq.heappop(tops)
            room = self._room(name)
            self._off.append((pool, room))
            heapq.heappush(candidates, (self._count(room), score, name))
        return candidates[0] if candidates else None

    def find(self, demand: Demand, shunned: frozenset[str], *, takes_failing: bool) -> Room | None:
        """Take off the best host that has room; those in ``shunned`` stay, and unless wanted those that fail much."""
        passed: list[Rank] = []
        found: Room | None = None
        while found is None and (candidate := self.best()):
            if candidate[0][0] >= FAILING_PENALTY and not takes_failing:
                break  # so are all after it
            heapq.heappop(self._candidates)
            room = self._room(candidate[2])
            if not has_room(room, demand):
                if self._drops:
                    self._full.add(room.name)
                continue
            if room.name in shunned:
                passed.append(candidate)
            else:
                found = room
        for candidate in passed:
            heapq.heappush(self._candidates, candidate)
        return found

    def taken(self, room: Room) -> None:
        """A task was placed there: it may take another."""
        heapq.heappush(self._candidates, (self._count(room), self._pools[0].score(room), room.name))

    def close(self) -> None:
        """Put all hosts back."""
        for pool, room in self._off:
            if room.name in self._full:
                pool.drop(room)
            else:
                pool.put_back(room)

    def _count(self, room: Room) -> tuple[int, int]:
        name = room.name
        count = NONE if self._pools[0].packs else (self._staying.get(name, 0), self._crowd.get(name, 0))
        return (count[0] + FAILING_PENALTY, count[1]) if room.view.failing else count
