"""The steps of one service in the making: each method plans one legal move and keeps the counts after it.

``moves`` decides which to make.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from reconciler.model.task import Task
from reconciler.scheduler.amendments import as_said
from reconciler.scheduler.cluster_view import ClusterView, Defined
from reconciler.scheduler.filters import Demand
from reconciler.scheduler.numbering import Numbering
from reconciler.scheduler.placement import Place, Placer
from reconciler.scheduler.preparing import Preparing
from reconciler.scheduler.replicas import Member, Standing, giving_up_order
from reconciler.scheduler.steps import Action, Issue, Pending, Step, Withdraw


class Changes:
    """Counts and groups of a service's tasks after the steps planned so far.

    ``dead`` are replaced come what may; of the others ``keepers`` may stay and ``leavers`` must go in the end, each by
    id, who goes first standing first. ``started_of``: issued by this plan, to stay, by digest; ``carried``: issued by
    this plan in an old version, to go later. ``preparing``: what hosts fetch before one of them stops.
    """

    def __init__(
        self,
        view: ClusterView,
        service: str,
        members: Sequence[Member],
        placer: Placer,
        numbering: Numbering,
        now: float,
    ) -> None:
        self.steps: list[Step] = []
        self.pending: list[Pending] = []
        self.issued = len(members)
        self.healthy = sum(member.healthy for member in members)
        self.dead = {each.task.id: each for each in sorted((each for each in members if each.dead), key=_lost_first)}
        alive = giving_up_order(view, (each for each in members if not each.dead))
        self.keepers = {each.task.id: each for each in alive if each.keeper}
        self.leavers = {each.task.id: each for each in alive if not each.keeper}
        self.started_of: Counter[str] = Counter()
        self.carried = 0
        self.service = service
        self.preparing = Preparing(view, service, members)
        self._numbering = numbering
        self._now = now
        self._placer = placer
        self._view = view
        self._places = placer.for_service(
            Counter(member.task.host for member in members),
            service,
            Counter(member.task.host for member in self.keepers.values()),
        )

    def close(self, *, holds: bool = False) -> None:
        """Done with all moves. ``holds``: what hosts were asked to prepare stays as it is."""
        self._places.close()
        if not holds:
            self.steps.extend(self.preparing.steps())

    @property
    def alive(self) -> int:
        """Tasks that were issued before and are neither dead nor stopped by this plan."""
        return len(self.keepers) + len(self.leavers)

    @property
    def started(self) -> int:
        """Tasks that this plan issues, to stay."""
        return self.started_of.total()

    def replace(self, dead: Member, successors: Sequence[tuple[Defined, bool]], why: str) -> bool:
        """Withdraw a dead task and issue another in its place, in one step; False: there is no place.

        ``successors`` are what may take its place, best first, and whether it is there to stay. A failed task's own
        place is good enough when there is no other: nothing of it runs any more.
        """
        failed = dead.task if dead.standing is Standing.FAILED else None
        for defined, to_stay in successors:
            demand = self._demand(defined)
            task_id = self._next_id(defined)
            place = self._places.place(demand, task_id, (*failed.failed_on, failed.host) if failed else ())
            if place is None and failed:
                place = self._places.place_on(failed.host, demand, task_id, failed)
            if place is None:
                continue
            same_version = failed if failed and defined.is_of(failed) else None
            self._step(Withdraw(dead.task, why), self._issue(defined, place, why, same_version))
            self._forget(dead)
            self._count(defined, to_stay=to_stay)
            return True
        self.cannot_place(successors[-1][0], 1)
        return False

    def withdraw(self, member: Member, why: str, *, harmless: bool = False) -> None:
        """Stop a task. ``harmless``: whatever its health is by now."""
        self._step(Withdraw(member.task, why), needs_fresh_health=not (harmless or member.dead))
        self._forget(member)

    def start(self, defined: Defined, count: int, why: str, *, says_why_not: bool = True) -> int:
        """Issue up to ``count`` new tasks that may stay, rather where it is prepared; returns how many did not fit,
        which is said if wanted.
        """
        demand = self._demand(defined)
        prepared = [host for host in self.preparing.under_way(defined) if self.preparing.is_ready(host, defined)]
        for number in range(count):
            task_id = self._next_id(defined)
            place = self._places.place_first(prepared, demand, task_id) or self._places.place(demand, task_id)
            if place is None:
                if says_why_not:
                    self.cannot_place(defined, count - number)
                return count - number
            prepared = [host for host in prepared if host != place.host]
            self._step(self._issue(defined, place, why))
            self._count(defined, to_stay=True, host=place.host)
        return 0

    def start_there(self, host: str, defined: Defined, why: str, *, says_why_not: bool = True) -> bool:
        """Issue one task that may stay on that very host; False: it does not fit, which is said if wanted."""
        place = self._places.place_on(host, self._demand(defined), self._next_id(defined))
        if place is None:
            if says_why_not:
                self.cannot_place(defined, 1, host)
            return False
        self._step(self._issue(defined, place, why))
        self._count(defined, to_stay=True, host=host)
        return True

    def replace_there(self, dead: Member, defined: Defined, why: str) -> bool:
        """Withdraw a failed task and issue another on its host, in one step; False: it does not fit, which is said."""
        place = self._places.place_on(dead.task.host, self._demand(defined), self._next_id(defined), dead.task)
        if place is None:
            self.cannot_place(defined, 1, dead.task.host)
            return False
        self._step(
            Withdraw(dead.task, why), self._issue(defined, place, why, dead.task if defined.is_of(dead.task) else None)
        )
        self._forget(dead)
        self._count(defined, to_stay=True)
        return True

    def exchange(self, leaver: Member, defined: Defined, why: str) -> bool:
        """Let a task that is not healthy make room for a new one; False: that would not help."""
        demand = self._demand(defined)
        place = self._places.place(demand, self._next_id(defined))
        if place is not None:
            self._step(Withdraw(leaver.task, why), self._issue(defined, place, why), needs_fresh_health=True)
            self._count(defined, to_stay=True)
        elif self.makes_room((leaver,), defined):
            self._step(Withdraw(leaver.task, why), needs_fresh_health=True)
        else:
            return False
        self._forget(leaver)
        return True

    def makes_room(self, members: Sequence[Member], defined: Defined) -> bool:
        """Whether a new task would fit on the host of these once all of them are gone."""
        tasks = [member.task for member in members]
        return self._placer.would_fit(tasks[0].host, self._demand(defined), tasks)

    def where_fit(self, defined: Defined, up_to: int) -> list[str]:
        """On which hosts new tasks would find a place now if as many leavers were gone, at most ``up_to`` of them.

        Those that prepare it already come first, and where it could not be fetched last.
        """
        gone = Counter(leaver.task.host for leaver in list(self.leavers.values())[:up_to])
        first, last = self.preparing.under_way(defined), self.preparing.failed(defined)
        return self._places.where_fit(self._demand(defined), up_to, gone=gone, first=first, last=last)

    def why_nowhere(self, defined: Defined) -> str:
        """Why no host takes a new task now."""
        return self._placer.why_nowhere(self._demand(defined))

    def fit_when_left(self, defined: Defined) -> list[str]:
        """The hosts with room for a new task once the tasks that are stopping there are gone."""
        return self._placer.fit_when_left(self._demand(defined))

    def fits_on(self, host: str, defined: Defined) -> bool:
        """Whether a new task fits on that host now."""
        return self._placer.would_fit(host, self._demand(defined))

    def keep_prepared(self, defined: Defined) -> None:
        """Forget no preparation whose host has room, or will have, and none that failed."""
        demand = self._demand(defined)
        waiting = [
            host for host in self.preparing.under_way(defined) if self._placer.would_fit(host, demand, when_left=True)
        ]
        self.preparing.keep(defined, [*waiting, *self.preparing.failed(defined)])

    def cannot_place(self, defined: Defined, count: int, host: str | None = None) -> None:
        """Say which tasks should run and find no host, and why; or why not on the one ``host`` where it should be."""
        definition, demand = defined.definition, self._demand(defined)
        found = Pending(
            service=self.service,
            task_name=definition.name,
            task_version=definition.version,
            count=count,
            reason=self._placer.why_nowhere(demand) if host is None else self._placer.why_not(host, demand),
            hosts=self._placer.refusals(demand) if self._placer.explains else (),
        )
        last = self.pending[-1] if self.pending else None
        if last and msgspec.structs.replace(last, count=count, hosts=found.hosts) == found:
            self.pending[-1] = msgspec.structs.replace(last, count=last.count + count)
        else:
            self.pending.append(found)

    def _demand(self, defined: Defined) -> Demand:
        return Demand.in_view(self._view, self.service, defined.definition)

    def _next_id(self, defined: Defined) -> str:
        return self._numbering.next_id(self.service, defined.definition.version)

    def _issue(self, defined: Defined, place: Place, why: str, after: Task | None = None) -> Issue:
        declared = self._view.services.get(self.service)
        # on hold, what can't be read of its service is as it was
        completes = declared.kind == "batch" if declared else after is not None and after.completes
        task = self._numbering.task(self.service, defined, place, self._now, after, completes=completes)
        return Issue(as_said(self._view, task, after), why)

    def _step(self, *actions: Action, needs_fresh_health: bool = False) -> None:
        self.steps.append(Step(service=self.service, actions=actions, needs_fresh_health=needs_fresh_health))

    def _count(self, defined: Defined, *, to_stay: bool, host: str = "") -> None:
        self.issued += 1
        self.preparing.started(host, defined)
        self.started_of[defined.digest] += to_stay
        self.carried += not to_stay

    def _forget(self, member: Member) -> None:
        self.issued -= 1
        self.healthy -= member.healthy
        for group in (self.keepers, self.leavers, self.dead):
            group.pop(member.task.id, None)


def _lost_first(member: Member) -> tuple[bool, str]:
    return member.standing is not Standing.LOST, member.task.id
