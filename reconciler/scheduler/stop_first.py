"""Stopping an old task before the new one starts: only where it can't be otherwise, and only where it helps.

``moves`` calls it late. It is the way out of what would be a deadlock: ``max`` = ``desired``, a fixed port on
every host, hosts so full that a second version does not fit beside the first. What the new task needs is fetched on its
host before anything that may be healthy stops for it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from reconciler.scheduler.changes import Changes
from reconciler.scheduler.cluster_view import Defined
from reconciler.scheduler.preparing import AHEAD
from reconciler.scheduler.replicas import PERHAPS_HEALTHY, Member, Standing
from reconciler.scheduler.steps import Note


class Short(msgspec.Struct, frozen=True, kw_only=True):
    """New tasks that could not start.

    ``unplaced`` found no host, ``blocked`` are kept out by ``max`` alone, ``later`` by what goes on already.
    """

    defined: Defined
    unplaced: int
    blocked: int
    later: int = 0


class _Exchange(msgspec.Struct, frozen=True):
    """Who could stop for a new task, on which host that would start then, and why."""

    leavers: Sequence[Member]
    host: str
    why: str

    @property
    def risks(self) -> bool:
        """Whether something that may be healthy would stop."""
        return any(member.standing in PERHAPS_HEALTHY for member in self.leavers)


def stop_first(changes: Changes, short: Short, floor: int, at_once: int, *, surges: bool) -> Note | None:
    """Stop leavers down to ``floor`` healthy tasks so that new ones can start once they are gone.

    ``at_once``: how many may stop together; ``surges``: whether new ones may start first where there is room. Returns
    what is waited for.
    """
    defined = short.defined
    need = short.unplaced or short.blocked
    if need + short.later <= 0:
        return None
    changes.keep_prepared(defined)
    if not changes.leavers:
        return None
    places = [] if short.unplaced else changes.where_fit(defined, max(need, min(need + short.later, AHEAD * at_once)))
    if places and surges and not need:
        return None
    waiting = changes.fit_when_left(defined) if need and not places else []
    need -= len(waiting)
    exchanges = _exchanges(changes, defined, places)
    for each in exchanges:
        is_prepared = not each.risks or changes.preparing.is_ready(each.host, defined)
        if need > 0 and is_prepared and _may_stop(changes, each, floor):
            for leaver in each.leavers:
                changes.withdraw(leaver, each.why)
            need -= 1
    changes.preparing.ask(defined, [each.host for each in exchanges if each.risks], at_once)
    if waiting:
        text = f"waits for the room of tasks that are stopping on {waiting[0]}"
        return Note(service=changes.service, reason=text, is_ordinary=True)
    return changes.preparing.waits(defined)


def _exchanges(changes: Changes, defined: Defined, places: Sequence[str]) -> list[_Exchange]:
    """First leavers for which ``max`` alone waits, then groups that make room on their own host."""
    why = f"makes room for version {defined.definition.version}"
    known = [each for each in changes.leavers.values() if each.standing is not Standing.MISSING]
    first, rest = known[: len(places)], known[len(places) :]
    # where one leaves, another comes, if that is as good a place as any
    own = Counter(places) & Counter(leaver.task.host for leaver in first)
    others = (Counter(places) - own).elements()
    found = []
    for leaver in first:
        host = leaver.task.host
        own[host] -= 1
        found.append(_Exchange((leaver,), host if own[host] >= 0 else next(others), why))
    return found + [_Exchange(group, host, f"{why} on {host}") for host, group in _groups(changes, defined, rest)]


def _may_stop(changes: Changes, exchange: _Exchange, floor: int) -> bool:
    """Whether ``floor`` healthy tasks are left when all of these stop."""
    return not exchange.risks or changes.healthy - sum(member.healthy for member in exchange.leavers) >= floor


def _groups(changes: Changes, defined: Defined, leavers: Iterable[Member]) -> list[tuple[str, list[Member]]]:
    """By host, the fewest leavers whose going makes room there for a new task; the smallest group first."""
    by_host: dict[str, list[Member]] = defaultdict(list)
    for leaver in leavers:
        by_host[leaver.task.host].append(leaver)
    groups = []
    for host, there in by_host.items():
        for size in range(1, len(there) + 1):
            if changes.makes_room(there[:size], defined):
                groups.append((host, there[:size]))
                break
    return sorted(groups, key=lambda group: len(group[1]))
