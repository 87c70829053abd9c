"""Which tasks would be better elsewhere. Pure.

Nothing moves by itself when a host is added, only when an operator asks: ``reconciler rebalance`` asks here and writes
down the tasks, and schedulers then replace those as on a draining host. A move has to make something better and nothing
that counts more worse: first how a service is spread over a tag, then how it is spread over hosts, then how full the
fuller of the two hosts is. So none is taken back by a later one, and they come to an end.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from reconciler.model.task import RolloutPhase, Task
from reconciler.scheduler.cluster_view import ClusterView, HostView
from reconciler.scheduler.filters import Demand, Room
from reconciler.scheduler.placement import Place, Placer
from reconciler.scheduler.pools import spread_value
from reconciler.scheduler.replicas import Bounds
from reconciler.scheduler.scores import fullness
from reconciler.scheduler.steps import Plan

WORTH_IT: Final = 0.05
"""By how much of a host the one must be emptier, with the task, than the other is now."""
SETTLED: Final = frozenset({RolloutPhase.COMPLETED, RolloutPhase.REVERTED})


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """An issue of a task that should go. ``to`` is where it would be best now; its successor's host is found anew."""

    task: str
    issue: int
    service: str
    host: str
    to: str
    reason: str


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What to move, from the fullest host on; ``left_out`` says by service why none of its tasks is moved."""

    moves: tuple[Move, ...]
    left_out: Mapping[str, str]


class _Group(msgspec.Struct, kw_only=True):
    """The tasks of one service: which may move, by host; how many are where, by host and by value of the tag."""

    key: str
    service: str
    demand: Demand
    tasks: dict[str, list[Task]]
    crowd: Counter[str]
    values: Counter[str | None] = msgspec.field(default_factory=Counter)


def find(
    hosts: Mapping[str, HostView],
    clusters: Sequence[tuple[ClusterView, Plan]],
    services: Collection[str] | None,
    at_most: int,
) -> Balance:
    """At most so many tasks of these services (None: of all) that would be better elsewhere.

    Services in which something moves already by their cluster's plan are left out, and those that are in none of these
    clusters.
    """
    groups: list[_Group] = []
    known = {name for view, _ in clusters for name in view.services}
    left_out = {name: "no cluster that our scheduler serves runs it" for name in services or () if name not in known}
    for view, plan in clusters:
        busy = {step.service for step in plan.steps} | {pending.service for pending in plan.pending}
        busy |= {note.service for note in plan.notes}
        for name in sorted(view.services if services is None else view.services.keys() & set(services)):
            if why := _why_not(view, name, is_busy=name in busy):
                left_out[name] = why
            elif view.tasks.get(name):
                groups.append(_group(view, name))
    return Balance(moves=tuple(itertools.islice(_Search(hosts, groups).moves(), at_most)), left_out=left_out)


def _why_not(view: ClusterView, name: str, *, is_busy: bool) -> str:
    """Why nothing of the service is moved; empty: it may be."""
    service, bounds, record = view.services[name], Bounds.of(view.services[name]), view.rollouts.get(name)
    if reason := view.hold or view.held.get(name):
        return f"on hold: {reason}"
    if service.kind != "service":
        return "a batch is not begun anew for that" if service.kind == "batch" else "it runs on every host anyway"
    if service.placement and service.placement.strategy == "binpack":
        return "it is packed, not spread"
    if bounds.desired and bounds.floor == bounds.ceiling:
        return f"min, desired and max are all {bounds.desired}, so no task of it can be replaced"
    if is_busy or (record and record.phase not in SETTLED):
        return "something changes there already; ask again when that is done"
    for task in view.tasks.get(name, ()):
        status = view.status_of(task)
        if status is None or not status.healthy or not view.hosts[task.host].present:
            return f"{task.id} is not healthy"
        if view.definition_of(task) is None:
            return f"what {task.id} runs is not in the store any more"
    return ""


def _group(view: ClusterView, name: str) -> _Group:
    tasks: dict[str, list[Task]] = defaultdict(list)
    for task in view.tasks[name]:
        tasks[task.host].append(task)
    # all are of one definition, since nothing changes there
    defined = next(found for task in view.tasks[name] if (found := view.definition_of(task)))
    demand = Demand.in_view(view, name, defined.definition)
    crowd = Counter({host: len(mine) for host, mine in tasks.items()})
    return _Group(key=f"{view.name}/{name}", service=name, demand=demand, tasks=dict(tasks), crowd=crowd)


class _Search:
    """Carries moves out in a plan that is never written, so that each counts on those before it."""

    def __init__(self, hosts: Mapping[str, HostView], groups: Sequence[_Group]) -> None:
        self._placer = Placer(hosts)
        self._groups: dict[str, list[_Group]] = defaultdict(list)
        for group in groups:
            for host, count in group.crowd.items():
                self._groups[host].append(group)
                group.values[spread_value(self._placer.room(host), group.demand)] += count
        self._targets = [name for name, host in hosts.items() if host.present and not host.failing]
        self._hopeless: set[tuple[str, str]] = set()

    def moves(self) -> Iterator[Move]:
        """One after the other, until nothing is better elsewhere."""
        is_certain = True
        while True:
            move = self._next()
            if move is None and is_certain:
                return
            if move is not None:
                yield move
                is_certain = False
            else:  # a host that was left meanwhile may be better by now for what found no better one before
                self._hopeless.clear()
                is_certain = True

    def _next(self) -> Move | None:
        lowest = min((self._load(name) for name in self._targets), default=0.0)
        for host in sorted(self._groups, key=lambda name: (-self._load(name), name)):
            may_be_fuller = self._load(host) - lowest >= WORTH_IT
            for group in sorted(self._groups[host], key=lambda group: (-group.crowd[host], group.service)):
                if (group.key, host) in self._hopeless or not group.tasks[host]:
                    continue
                if (may_be_fuller or group.crowd[host] > 1 or group.demand.spread_over) and (
                    move := self._better(group, host)
                ):
                    return move
                self._hopeless.add((group.key, host))
        return None

    def _load(self, host: str) -> float:
        return self._placer.room(host).load

    def _better(self, group: _Group, host: str) -> Move | None:
        """A task of that service on that host, moved, if there is a better place for it."""
        demand, here = group.demand, self._placer.room(host)
        others = Counter(group.crowd)
        others[host] -= 1
        places = self._placer.for_service(others, group.service, others)
        found = places.where_fit(demand, 1)
        places.close()
        if not found or found[0] == host:
            return None
        there = self._placer.room(found[0])
        reason = "" if there.view.failing else self._why(group, here, there)
        if not reason:
            return None
        task = group.tasks[host].pop()
        self._placer.take(there, demand, task.id, group.service)
        self._placer.give_back(Place(host, task.held_ports), demand, group.service)
        self._placer.pools.freed()
        for room, change in ((here, -1), (there, 1)):
            group.crowd[room.name] += change
            group.values[spread_value(room, demand)] += change
        return Move(task=task.id, issue=task.issue, service=task.service, host=host, to=there.name, reason=reason)

    @staticmethod
    def _why(group: _Group, here: Room, there: Room) -> str:
        """What would be better there; empty: nothing, or something would be worse."""
        demand, crowd, values, tag = group.demand, group.crowd, group.values, group.demand.spread_over
        mine, other = spread_value(here, demand), spread_value(there, demand)
        if mine != other:
            if mine is None:
                return f"{here.name} has no {tag}, {there.name} has"
            if other is None or values[other] >= values[mine]:
                return ""
            if values[mine] - values[other] > 1:
                return f"{values[mine]} of {group.service} where {tag} is {mine}, {values[other]} where it is {other}"
        if crowd[there.name] >= crowd[here.name]:
            return ""
        if crowd[here.name] - crowd[there.name] > 1:
            return f"{crowd[here.name]} of {group.service} on {here.name}, {crowd[there.name]} on {there.name}"
        with_it = msgspec.structs.replace(there, services={})
        with_it.take(demand, group.service)
        if here.load - fullness(with_it) < WORTH_IT:
            return ""
        return f"{here.name} is {here.load:.0%} full, {there.name} {there.load:.0%}"
