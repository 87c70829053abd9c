"""How a service's change of version stands: what its stored record must say, and with which version tasks start.

Rule 12: the outcome is stored in the transaction that decides it, so that a version that failed is not tried again by
the next scheduler, but only when its content or the wanted version changes, or an operator says ``promote``.

```text
 first version ──▶ rolling ─────────────▶ completed
 canary ─promote─▶ rolling ─fails─▶ failed                     (on_failure: halt)
    └──abort, or fails──▶ reverting ──▶ reverted, or failed     (on_failure: revert; a revert is never reverted)
```
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from reconciler.model.durations import format_duration
from reconciler.model.manifests import RolloutPolicy, Service
from reconciler.model.overrides import Verdict
from reconciler.model.task import Rollout, RolloutPhase, Task
from reconciler.scheduler.cluster_view import ClusterView, Defined
from reconciler.scheduler.replicas import PERHAPS_HEALTHY, Member, Standing

TRIES: Final = 3
"""A new version fails when this many of its tasks in a row failed while older ones still run."""

GOES_FORWARD: Final = frozenset({RolloutPhase.CANARY, RolloutPhase.ROLLING})
GOES_BACK: Final = frozenset({RolloutPhase.REVERTING, RolloutPhase.REVERTED})


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """``target`` is what the service declares, ``before`` what it goes back to (None: nothing, or it is gone).

    ``record`` is the rollout as it should be stored.
    """

    target: Defined
    before: Defined | None
    record: Rollout

    @property
    def phase(self) -> RolloutPhase:
        """How far it has come."""
        return self.record.phase

    @property
    def is_first(self) -> bool:
        """Whether there never was another version."""
        return self.record.previous_version is None

    @property
    def given_up(self) -> bool:
        """Whether no task of the target starts again. A first version is tried on: there is nothing else to run."""
        return self.phase in GOES_BACK or (self.phase is RolloutPhase.FAILED and not self.is_first)

    @property
    def start(self) -> Defined | None:
        """What new tasks run, canaries excepted (None: it is not in the store any more)."""
        return self.before if self.given_up or self.phase is RolloutPhase.CANARY else self.target

    def accepts(self, task: Task, standing: Standing) -> bool:
        """Whether a task may stay, as far as its version goes."""
        is_target = self.target.is_of(task)
        if self.phase in GOES_BACK:
            return self.before is not None and self.before.is_of(task)
        if self.given_up:
            return not is_target or standing in PERHAPS_HEALTHY
        if self.phase is RolloutPhase.CANARY:
            return is_target or (self.before is not None and self.before.is_of(task))
        return is_target


def course(view: ClusterView, service: Service, target: Defined, now: float) -> Course:
    """Go on with the stored rollout if it has the same target, else begin one; and do what an operator said of it."""
    stored = view.rollouts.get(service.name)
    if stored and (stored.target_version, stored.target_digest) == (target.definition.version, target.digest):
        return _heard(view, _course(view, target, stored), service.policy, view.verdicts.get(service.name), now)
    previous_task, previous_version = None, None
    if stored and stored.phase is RolloutPhase.COMPLETED:
        previous_task, previous_version = stored.target_task, stored.target_version
    elif stored:
        previous_task, previous_version = stored.previous_task, stored.previous_version
    heard = view.verdicts.get(service.name)  # whatever it was, it was said of an earlier rollout
    begun = _course(
        view,
        target,
        Rollout(
            cluster=view.name,
            service=service.name,
            target_task=target.definition.name,
            target_version=target.definition.version,
            target_digest=target.digest,
            previous_task=previous_task,
            previous_version=previous_version,
            phase=RolloutPhase.ROLLING,
            reason="first version" if previous_version is None else f"from version {previous_version}",
            since=now,
            answered=heard.since if heard else 0.0,
            again=view.restarted.get(service.name, 0),
        ),
    )
    before = begun.before
    if service.policy.canary and before and any(before.is_of(task) for task in view.tasks.get(service.name, ())):
        return settle(view, begun, RolloutPhase.CANARY, f"{begun.record.reason}, canaries first", now)
    return begun


def _heard(view: ClusterView, current: Course, policy: RolloutPolicy, verdict: Verdict | None, now: float) -> Course:
    """The course after what an operator said of this very target, once."""
    record = current.record
    if current.phase is RolloutPhase.CANARY and not (policy.canary and current.before):
        return settle(view, current, RolloutPhase.ROLLING, "no canaries are asked for any more", now)
    is_meant = verdict is not None and (
        (verdict.target_version, verdict.target_digest) == (record.target_version, record.target_digest)
        and verdict.since != record.answered
    )
    if verdict is None or not is_meant:
        return current
    current = msgspec.structs.replace(current, record=msgspec.structs.replace(record, answered=verdict.since))
    why = f"{'promoted' if verdict.promote else 'aborted'} by {verdict.by}"
    why += f": {verdict.reason}" if verdict.reason else ""
    if verdict.promote and current.phase not in (RolloutPhase.ROLLING, RolloutPhase.COMPLETED):
        return settle(view, current, RolloutPhase.ROLLING, why, now)
    if not verdict.promote and current.phase in GOES_FORWARD:
        return go_back(view, current, why, now)
    return current


def _course(view: ClusterView, target: Defined, record: Rollout) -> Course:
    before = None
    if record.previous_task is not None and record.previous_version is not None:
        before = view.definitions.get((record.previous_task, record.previous_version))
    if before is not None and (before.digest, before.definition.version) == (target.digest, target.definition.version):
        before = None  # its content was changed under the same version: what it was before is nowhere
    return Course(target=target, before=before, record=record)


def in_the_way(view: ClusterView, current: Course, group: Sequence[Member]) -> list[Member]:
    """What failed of a version that an operator has just promoted after all: it goes first, and is not held against it.

    Until it is gone the verdict is not answered, so a scheduler that is killed in between does the same once more.
    """
    stored = view.rollouts.get(current.record.service)
    is_heard_now = stored is not None and (
        (stored.target_version, stored.target_digest) == (current.record.target_version, current.record.target_digest)
        and stored.answered != current.record.answered
        and stored.phase is not RolloutPhase.ROLLING
        and current.phase is RolloutPhase.ROLLING
    )
    if not is_heard_now:
        return []
    return [each for each in group if each.standing is Standing.FAILED and current.target.is_of(each.task)]


def without_canaries(service: Service) -> Service:
    """The same service for a kind that has none."""
    if not service.policy.canary:
        return service
    return msgspec.structs.replace(service, rollout=msgspec.structs.replace(service.policy, canary=0))


def settle(view: ClusterView, current: Course, phase: RolloutPhase, reason: str, now: float) -> Course:
    """The course in another phase."""
    record = msgspec.structs.replace(current.record, phase=phase, reason=reason, since=now)
    return _course(view, current.target, record)


def go_back(view: ClusterView, current: Course, reason: str, now: float) -> Course:
    """The course on its way back; where there is nothing to go back to, it has failed."""
    if current.before is None:
        return settle(view, current, RolloutPhase.FAILED, f"{reason}; there is no earlier version to go back to", now)
    return settle(view, current, RolloutPhase.REVERTING, reason, now)


def judge(
    view: ClusterView,
    current: Course,
    service: Service,
    members: Sequence[Member],
    no_place: Callable[[], str],
    now: float,
) -> Course:
    """The course, ended if it has failed by now. ``no_place`` says why a further task finds no host, if so."""
    reason = _failure(view, current, service, members, no_place)
    if reason is None:
        return current
    if current.phase is RolloutPhase.REVERTING:
        reason = f"{current.record.reason}; going back failed as well: {reason}"
    elif service.policy.on_failure == "revert" and not current.is_first:
        return go_back(view, current, reason, now)
    return settle(view, current, RolloutPhase.FAILED, reason, now)


def _failure(
    view: ClusterView, current: Course, service: Service, members: Sequence[Member], no_place: Callable[[], str]
) -> str | None:
    """Why the rollout must be given up now; None if it need not."""
    if current.phase not in GOES_FORWARD and current.phase is not RolloutPhase.REVERTING:
        return None
    goal = current.before if current.phase is RolloutPhase.REVERTING else current.target
    if goal is None:
        return "the version before it is not in the store any more"
    new = [member for member in members if goal.is_of(member.task)]
    sick = next((each for each in new if each.standing is Standing.FAILED and each.task.retries + 1 >= TRIES), None)
    if sick and any(not goal.is_of(each.task) and each.standing is not Standing.LOST for each in members):
        return f"{TRIES} tasks in a row failed, last {sick.task.id}: {sick.reason}"
    is_there = sum(member.healthy and member.keeper for member in new) >= min(service.desired, service.max_issued)
    if is_there or view.stalled_s.get(service.name, 0.0) < service.policy.deadline_s:
        return None
    waits = next((f"{each.task.id}: {each.reason}" for each in new if not each.healthy), None)
    why = waits or no_place() or "no more of it could start"
    return f"no progress for {format_duration(service.policy.deadline_s)}: {why}"


def settled(view: ClusterView, current: Course, now: float) -> Course:
    """The course once all tasks are what it goes to, and healthy."""
    if current.phase is RolloutPhase.REVERTING:
        return settle(view, current, RolloutPhase.REVERTED, current.record.reason, now)
    if current.phase is RolloutPhase.ROLLING or (current.phase is RolloutPhase.FAILED and current.is_first):
        return settle(view, current, RolloutPhase.COMPLETED, "", now)
    return current
