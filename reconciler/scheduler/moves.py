"""Which tasks of a service are replaced, start and stop now. Pure; ``service_plan`` decides what it should be.

The rules, in the order in which they are applied (``docs/scheduling.md`` explains them with pictures):

1. A task that is dead (lost with its host, or failed) is replaced: one transaction withdraws it and issues the other.
2. New tasks start, as far as ``max`` and the hosts allow.
3. Tasks that must go (old version, draining host) and are not healthy make room for those that ``max`` keeps out.
4. Healthy ones that must go stop only while ``desired`` healthy ones remain: start first, then stop. New ones start in
   their stead at once, where a host has room for them already.
5. Only where starting first is impossible (``max`` = ``desired``, or no host has room beside the old task) do they stop
   first, down to ``min``, and only where that lets a new one start (``stop_first``).
6. Surplus tasks stop, down to ``min`` healthy ones.
"""

import msgspec

from reconciler.model.task import RolloutPhase
from reconciler.scheduler import rollout, stop_first
from reconciler.scheduler.changes import Changes
from reconciler.scheduler.cluster_view import ClusterView, Defined
from reconciler.scheduler.replicas import PERHAPS_HEALTHY, Bounds, Member, Standing
from reconciler.scheduler.rollout import Course
from reconciler.scheduler.steps import Note
from reconciler.scheduler.stop_first import Short


class Moves:
    """The six rules, one after the other, on one service.

    ``parallel``: how many tasks are exchanged at once (0: as ``bounds`` allow). ``canaries``: how many tasks of the
    target there are to be, while an operator has not yet said whether there may be more (0: it does not apply).
    """

    def __init__(
        self, view: ClusterView, changes: Changes, bounds: Bounds, course: Course, parallel: int, canaries: int
    ) -> None:
        self._view = view
        self._changes = changes
        self._bounds = bounds
        self._course = course
        self._parallel = parallel
        self._canaries = canaries

    def all(self) -> Note | None:
        """Plan all moves that are legal now; returns what the next ones wait for, if that is known."""
        blocker: Note | None = None
        self._replace_dead()
        short = [self._exchange(self._start(defined, missing)) for defined, missing in self._missing()]
        if self._stop_leavers():
            short = [self._start_in_their_stead(each) for each in short]
        at_once = self._bounds.desired - self._least
        for each in short:
            waits = stop_first.stop_first(self._changes, each, self._least, at_once, surges=self._surges)
            blocker = blocker or waits
        self._stop_surplus()
        return blocker

    @property
    def _least(self) -> int:
        """Down to how many healthy tasks old ones may stop before new ones start."""
        floor, desired = self._bounds.floor, self._bounds.desired
        return max(floor, desired - self._parallel) if self._parallel else floor

    @property
    def _surges(self) -> bool:
        return self._bounds.ceiling > self._bounds.desired

    def _wanted(self) -> int:
        changes = self._changes
        return self._bounds.desired - len(changes.keepers) - changes.started

    def _missing(self) -> list[tuple[Defined, int]]:
        """What should start, of which definition; the dead ones that found no place need none beside them."""
        changes, course = self._changes, self._course
        missing = max(0, self._wanted() - len(changes.dead))
        if not self._canaries:
            return [(course.start, missing)] if course.start else []
        running = sum(course.target.is_of(keeper.task) for keeper in changes.keepers.values())
        canaries = min(missing, max(0, self._canaries - running - changes.started_of[course.target.digest]))
        return [(course.target, canaries), *([(course.start, missing - canaries)] if course.start else [])]

    def _allowed(self, missing: int) -> int:
        """How many of them ``parallel`` lets start, while others have to go for them."""
        changes = self._changes
        if not self._parallel or not changes.leavers:
            return missing
        on_the_way = changes.started + sum(not keeper.healthy for keeper in changes.keepers.values())
        return min(missing, max(0, self._parallel - on_the_way))

    def _replace_dead(self) -> None:
        changes = self._changes
        for dead in list(changes.dead.values()):
            successors = self._successors(dead)
            if successors:
                changes.replace(dead, successors, why_dead(dead))
            elif self._wanted() <= 0:
                changes.withdraw(dead, f"{why_dead(dead)}; enough others run")

    def _successors(self, dead: Member) -> list[tuple[Defined, bool]]:
        """What may take a dead task's place, best first, and whether it is there to stay."""
        changes, wanted = self._changes, self._wanted() > 0
        own = self._view.definition_of(dead.task)
        if dead.current and own:
            return [(own, True)] if wanted else []
        successors = [(self._course.start, True)] if self._course.start and wanted else []
        # where the host failed, not the version, and nothing is known of the new one yet, don't lean on the new one
        is_proven = any(keeper.healthy for keeper in changes.keepers.values())
        is_short = len(changes.leavers) + changes.carried < self._bounds.desired
        if own and dead.standing is Standing.LOST and is_short and not is_proven:
            return [(own, False), *successors]
        return successors

    def _start(self, defined: Defined, missing: int) -> Short:
        """Start what is missing; returns what could not."""
        changes = self._changes
        allowed = self._allowed(missing)
        room = max(0, self._bounds.ceiling - changes.issued)
        count = min(allowed, room)
        unplaced = changes.start(defined, count, self._why_start(defined))
        return Short(defined=defined, unplaced=unplaced, blocked=allowed - count, later=missing - allowed)

    def _exchange(self, short: Short) -> Short:
        """Let tasks that must go and are not healthy make room; returns what is still without place or kept out."""
        defined, unplaced, blocked = short.defined, short.unplaced, short.blocked
        for leaver in list(self._changes.leavers.values()):
            if unplaced + blocked <= 0:
                break
            if leaver.standing in PERHAPS_HEALTHY:
                continue
            if self._changes.exchange(leaver, defined, self._why_leave(leaver)):
                unplaced, blocked = (unplaced - 1, blocked) if unplaced else (0, blocked - 1)
        later = short.later
        if self._surges:  # as soon as ``max`` lets them, they start first, if a host has room
            blocked, later = 0, later + blocked
        return Short(defined=defined, unplaced=unplaced, blocked=blocked, later=later)

    def _start_in_their_stead(self, short: Short) -> Short:
        """Start what ``max`` has room for now that others stop, if there is a place; returns what could not."""
        changes = self._changes
        kept_out = short.blocked + short.later
        count = min(self._allowed(kept_out), max(0, self._bounds.ceiling - changes.issued))
        if short.unplaced or not count:
            return short
        why = self._why_start(short.defined)
        kept_out -= count - changes.start(short.defined, count, why, says_why_not=False)
        blocked = min(short.blocked, kept_out)
        return msgspec.structs.replace(short, blocked=blocked, later=kept_out - blocked)

    def _stop_leavers(self) -> bool:
        """Stop those that must go and may; returns whether there were any."""
        changes, bounds = self._changes, self._bounds
        before = len(changes.leavers)
        for leaver in list(changes.leavers.values()):
            if leaver.standing is Standing.MISSING:
                continue
            if leaver.standing in PERHAPS_HEALTHY:
                must_stay = bounds.floor if changes.issued > bounds.ceiling else bounds.desired
                free = changes.healthy - leaver.healthy >= must_stay
            else:
                free = changes.alive > bounds.desired
            if free:
                changes.withdraw(leaver, self._why_leave(leaver))
        return len(changes.leavers) < before

    def _stop_surplus(self) -> None:
        changes, bounds = self._changes, self._bounds
        for keeper in list(changes.keepers.values()):
            if len(changes.keepers) + changes.started <= bounds.desired:
                return
            if keeper.standing is Standing.MISSING:
                continue
            if keeper.standing not in PERHAPS_HEALTHY or changes.healthy - keeper.healthy >= bounds.floor:
                changes.withdraw(keeper, f"{bounds.desired} desired, one too many")

    def _why_start(self, defined: Defined) -> str:
        changes, record, version = self._changes, self._course.record, defined.definition.version
        if self._course.target == defined and record.phase in rollout.GOES_FORWARD and not self._course.is_first:
            if record.goes_back_to is None:
                return f"new content of version {version}"
            return f"{'canary, ' if self._canaries else ''}version {record.previous_version} to {version}"
        if record.phase is RolloutPhase.REVERTING:
            return f"back to version {version}"
        if not changes.issued:
            return "first placement"
        draining = [each.task.host for each in changes.leavers.values() if each.draining]
        if draining:
            return f"host {draining[0]} is draining"
        reasons = [each.misplaced or each.outdated for each in changes.leavers.values()]
        return next(filter(None, reasons), f"{self._bounds.desired} desired")

    def _why_leave(self, leaver: Member) -> str:
        version, task = self._course.target.definition.version, leaver.task
        if leaver.draining and leaver.current:
            return f"host {task.host} is draining"
        if leaver.misplaced and leaver.current:
            return leaver.misplaced
        if leaver.current:
            return "it is restarted" if leaver.restarts else leaver.outdated
        if self._course.phase is RolloutPhase.REVERTING:
            return f"back to version {self._course.record.previous_version}"
        if self._course.given_up:
            return f"version {task.task_version} failed"
        return f"version {version} replaces it" if task.task_version != version else "new content replaces it"


def why_dead(dead: Member) -> str:
    """Why another takes its place."""
    if dead.standing is Standing.LOST:
        return f"host {dead.task.host} is lost"
    if dead.standing is not Standing.FAILED:
        return f"host {dead.task.host} should be drained by now"
    return f"failed on {dead.task.host}: {dead.reason}"
