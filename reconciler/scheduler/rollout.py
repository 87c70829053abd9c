"""How a service's change of version stands: what its stored record must say, and with which version tasks start.

Rule 12: the outcome is stored in the transaction that decides it, so that a version that failed is not tried again by
the next scheduler, but only when its content or the wanted version changes.
"""

from collections.abc import Iterable

import msgspec

from reconciler.model.manifests import Service
from reconciler.model.task import Rollout, RolloutPhase, Task
from reconciler.scheduler.cluster_view import ClusterView, Defined
from reconciler.scheduler.replicas import PERHAPS_HEALTHY, Member, Standing

TRIES = 3
"""A new version fails when this many of its tasks in a row failed while older ones still run."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """``target`` is what the service declares; ``start`` what new tasks run (None: it is not in the store any more).

    ``record`` is the rollout as it should be stored.
    """

    target: Defined
    start: Defined | None
    record: Rollout

    @property
    def failed(self) -> bool:
        """Whether the target was given up."""
        return self.record.phase is RolloutPhase.FAILED

    def accepts(self, task: Task, standing: Standing) -> bool:
        """Whether a task may stay: one of the target; once that failed, one of any version, but no sick target."""
        if not self.failed:
            return self.target.is_of(task)
        return not self.target.is_of(task) or standing in PERHAPS_HEALTHY


def course(view: ClusterView, service: Service, target: Defined, now: float) -> Course:
    """Go on with the stored rollout if it has the same target, else begin one."""
    stored = view.rollouts.get(service.name)
    if stored and (stored.target_version, stored.target_digest) == (target.definition.version, target.digest):
        return _course(view, target, stored)
    previous_task, previous_version = None, None
    if stored and stored.phase is RolloutPhase.COMPLETED:
        previous_task, previous_version = stored.target_task, stored.target_version
    elif stored:
        previous_task, previous_version = stored.previous_task, stored.previous_version
    begun = Rollout(
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
    )
    return _course(view, target, begun)


def _course(view: ClusterView, target: Defined, record: Rollout) -> Course:
    if record.phase is not RolloutPhase.FAILED:
        return Course(target=target, start=target, record=record)
    start = None
    if record.previous_task is not None and record.previous_version is not None:
        start = view.definitions.get((record.previous_task, record.previous_version))
    return Course(target=target, start=start, record=record)


def failure(current: Course, members: Iterable[Member]) -> str | None:
    """Why the target must be given up now; None if it need not. Without older tasks there is nothing to go back to."""
    if current.record.phase is not RolloutPhase.ROLLING:
        return None
    sick: Member | None = None
    older = False
    for member in members:
        if not current.target.is_of(member.task):
            older = older or member.standing is not Standing.LOST
        elif member.standing is Standing.FAILED and member.task.retries + 1 >= TRIES:
            sick = sick or member
    return f"{TRIES} tasks in a row failed, last {sick.task.id}: {sick.reason}" if sick and older else None


def settle(view: ClusterView, current: Course, phase: RolloutPhase, reason: str, now: float) -> Course:
    """The course after the rollout completed or failed."""
    record = msgspec.structs.replace(current.record, phase=phase, reason=reason, since=now)
    return _course(view, current.target, record)
