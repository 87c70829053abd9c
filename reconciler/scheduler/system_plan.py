"""What a ``system`` service needs now: one task on each host that can run it, also on hosts that join later.

A host can run it when its agent is there, it does not drain, it offers the executors and keeps to the constraints; one
that is only too full gets its task when there is room, and is said. A new version goes from host to host: beside the
old task where the host has room for both, else in its place, by default one host at a time.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from reconciler.model.manifests import Service
from reconciler.scheduler import obstacles, rollout
from reconciler.scheduler.changes import Changes
from reconciler.scheduler.cluster_view import ClusterView, Defined
from reconciler.scheduler.filters import Demand
from reconciler.scheduler.moves import why_dead
from reconciler.scheduler.numbering import Numbering
from reconciler.scheduler.outage import Outage
from reconciler.scheduler.placement import Placer
from reconciler.scheduler.preparing import why_not_prepared
from reconciler.scheduler.replicas import PERHAPS_HEALTHY, Bounds, Member, Standing, members
from reconciler.scheduler.rollout import Course
from reconciler.scheduler.service_plan import ServicePlan, converged, next_look, stop_all, with_record
from reconciler.scheduler.steps import Note

ROOM: Final = frozenset({"memory", "cpu_units", "disk", "port", "provided port", "apart"})
"""The filters that say no only for now."""


def plan_system(
    view: ClusterView, service: Service, outage: Outage, placer: Placer, numbering: Numbering, now: float
) -> ServicePlan:
    """Bring a declared system service nearer to what is wanted."""
    target = view.definitions[service.task_name, service.task_version]
    course = rollout.course(view, rollout.without_canaries(service), target, now)
    group = members(view, service.name, outage, course.accepts)
    if service.desired == 0:
        by = view.scaled_by.get(service.name)
        return stop_all(view, service.name, group, f"stopped {by}" if by else "none are desired", placer, numbering)
    if failed := rollout.in_the_way(view, course, group):
        return stop_all(view, service.name, failed, "promoted: it begins anew", placer, numbering)
    hosts = _hosts(view, service, target, group, placer)
    counted = sized(service, len(hosts))
    judged = rollout.judge(view, course, counted, group, lambda: _no_start(view, service, target, placer), now)
    if judged is not course:
        course, group = judged, members(view, service.name, outage, judged.accepts)
    changes = Changes(view, service.name, group, placer, numbering, now)
    waits = _Hosts(changes, Bounds.of(counted), course, hosts, service.policy.parallel).all()
    changes.close()
    if converged(changes, Bounds.of(counted)):
        course = rollout.settled(view, course, now)
    left = (*changes.keepers.values(), *changes.leavers.values())
    return ServicePlan(
        steps=with_record(view, service, course, changes.steps),
        pending=tuple(changes.pending),
        notes=obstacles.notes(service.name, course, changes, Bounds.of(counted), waits),
        look_again_s=next_look(view, course, service, left),
        hosts=len(hosts),
    )


def wanted_on(view: ClusterView, name: str, outage: Outage, placer: Placer) -> int | None:
    """On how many hosts a service on hold is to be; None: it is no system service, or that can't be told now."""
    service = view.services.get(name)
    target = view.definitions.get((service.task_name, service.task_version)) if service else None
    if service is None or service.kind != "system" or target is None:
        return None
    group = members(view, name, outage, lambda *_: True)
    return len(_hosts(view, service, target, group, placer)) if service.desired else 0


def _hosts(
    view: ClusterView, service: Service, target: Defined, group: Sequence[Member], placer: Placer
) -> frozenset[str]:
    """The hosts that can run it, and those that are missing but may have it still."""
    demand = Demand.in_view(view, service.name, target.definition)
    no = {each.host for each in placer.refusals(demand) if each.filter not in ROOM}
    may_be = {each.task.host for each in group if each.standing is Standing.MISSING}
    return frozenset((view.hosts.keys() - no) | may_be)


def sized(service: Service, hosts: int) -> Service:
    """The service with its numbers: without any of its own, one host may be without it, and one may have two."""
    step = max(1, service.policy.parallel)
    most = hosts + step if service.max is None else service.max
    least = max(0, hosts - step) if service.min is None else min(service.min, hosts)
    return msgspec.structs.replace(service, desired=hosts, min=least, max=most)


def _no_start(view: ClusterView, service: Service, target: Defined, placer: Placer) -> str:
    demand = Demand.in_view(view, service.name, target.definition)
    return why_not_prepared(view, service.name) or placer.why_nowhere(demand)


class _Hosts:
    """The moves, host by host."""

    def __init__(self, changes: Changes, bounds: Bounds, course: Course, hosts: frozenset[str], parallel: int) -> None:
        self._changes = changes
        self._bounds = bounds
        self._course = course
        self._hosts = hosts
        self._at_once = max(1, parallel)
        self._begun = 0
        self._replaced_on: set[str] = set()
        self._in_place: list[str] = []
        self._healthy_on = Counter(
            each.task.host for each in (*changes.keepers.values(), *changes.leavers.values()) if each.healthy
        )

    def all(self) -> Note | None:
        """Plan all moves that are legal now; returns what the next ones wait for, if that is known."""
        changes = self._changes
        for dead in list(changes.dead.values()):
            self._replace(dead)
        on_host: dict[str, list[Member]] = defaultdict(list)
        for member in (*changes.keepers.values(), *changes.leavers.values()):
            on_host[member.task.host].append(member)
        taken = {dead.task.host for dead in changes.dead.values()}
        for host in sorted(on_host.keys() - self._hosts):
            for member in on_host[host]:
                self._stop(member, f"{host} may not have it any more")
        empty = sorted(self._hosts - on_host.keys() - taken)
        for host in empty:
            self._start(host)
        for host in sorted(self._hosts & on_host.keys()):
            self._exchange(host, on_host[host])
        if self._course.start is None:
            return None
        changes.preparing.ask(self._course.start, self._in_place, self._at_once)
        return changes.preparing.waits(self._course.start)

    def _replace(self, dead: Member) -> None:
        """What failed starts anew on its own host; what its host took along does not start elsewhere."""
        host = dead.task.host
        has_another = any(keeper.task.host == host for keeper in self._changes.keepers.values())
        is_wanted = dead.standing is Standing.FAILED and host in self._hosts and not has_another
        if self._course.start is not None and is_wanted and host not in self._replaced_on:
            if self._changes.replace_there(dead, self._course.start, why_dead(dead)):
                self._replaced_on.add(host)
        else:
            self._changes.withdraw(dead, why_dead(dead))

    def _start(self, host: str) -> None:
        if self._course.start is not None and self._changes.issued < self._bounds.ceiling:
            self._changes.start_there(host, self._course.start, f"{host} has none")

    def _exchange(self, host: str, there: list[Member]) -> None:
        """Bring one host to one task of what is wanted."""
        keepers = [each for each in there if each.task.id in self._changes.keepers]
        leavers = [each for each in there if each.task.id in self._changes.leavers]
        for surplus in keepers[:-1]:
            self._stop(surplus, f"{host} has another")
        if keepers:
            if keepers[-1].healthy:
                for leaver in leavers:
                    self._stop(leaver, self._why(leaver))
            return
        if len(leavers) > 1:
            for surplus in leavers[:-1]:
                self._stop(surplus, self._why(surplus))
            return
        is_begun = host in self._replaced_on  # the new one beside the last old one is there with this plan
        may_change = bool(leavers) and leavers[0].standing is not Standing.MISSING
        if may_change and not is_begun and self._course.start is not None:
            self._replace_leaver(host, leavers[0], self._course.start)

    def _replace_leaver(self, host: str, leaver: Member, defined: Defined) -> None:
        """Start the new task beside the old one; without room for both, stop the old one once the new one can start."""
        changes, bounds = self._changes, self._bounds
        has_room = bounds.ceiling > bounds.desired and changes.fits_on(host, defined)
        is_prepared = leaver.standing not in PERHAPS_HEALTHY or changes.preparing.is_ready(host, defined)
        if (has_room or is_prepared) and self._may_begin():
            self._begun += 1
            if has_room and changes.issued < bounds.ceiling:
                changes.start_there(host, defined, self._why(leaver))
            elif is_prepared:
                self._stop(leaver, self._why(leaver))
        if not has_room and leaver.standing in PERHAPS_HEALTHY and leaver.task.id in changes.leavers:
            self._in_place.append(host)

    def _may_begin(self) -> bool:
        """Whether ``parallel`` lets one more host be changed."""
        changes = self._changes
        on_the_way = changes.started + sum(not each.healthy for each in changes.keepers.values())
        return max(on_the_way, self._begun) < self._at_once

    def _stop(self, member: Member, why: str) -> None:
        """Stop a task, if as many are healthy without it, and on as many hosts."""
        changes, host = self._changes, member.task.host
        if member.standing is Standing.MISSING:
            return
        hosts = sum(count > 0 for each, count in self._healthy_on.items() if each in self._hosts)
        is_last = host in self._hosts and self._healthy_on[host] <= member.healthy
        enough = changes.healthy - member.healthy >= self._bounds.floor and hosts - is_last >= self._bounds.floor
        if member.standing not in PERHAPS_HEALTHY or enough:
            self._healthy_on[host] -= member.healthy
            changes.withdraw(member, why)

    def _why(self, leaver: Member) -> str:
        if leaver.current and (leaver.restarts or leaver.outdated):
            return "it is restarted" if leaver.restarts else leaver.outdated
        return f"version {self._course.target.definition.version} replaces version {leaver.task.task_version}"
