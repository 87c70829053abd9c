"""What one service needs now: which dead tasks are replaced, which new ones start, which old ones stop.

The rules by which tasks start and stop are in ``moves``.
"""

from collections.abc import Sequence

import msgspec

from reconciler.model.manifests import Service
from reconciler.model.task import RolloutPhase
from reconciler.scheduler import canary, obstacles, rollout
from reconciler.scheduler.changes import Changes
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.filters import Demand
from reconciler.scheduler.moves import Moves, why_dead
from reconciler.scheduler.numbering import Numbering
from reconciler.scheduler.outage import Outage
from reconciler.scheduler.placement import Placer
from reconciler.scheduler.preparing import why_not_prepared
from reconciler.scheduler.proving import GOES_ON
from reconciler.scheduler.replicas import Bounds, Member, Standing, members
from reconciler.scheduler.resting import rests
from reconciler.scheduler.rollout import Course
from reconciler.scheduler.steps import DropRollout, Note, Pending, SaveRollout, Step


class ServicePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a plan that concerns one service."""

    steps: tuple[Step, ...] = ()
    pending: tuple[Pending, ...] = ()
    notes: tuple[Note, ...] = ()
    look_again_s: float | None = None
    hosts: int | None = None
    """Of a system service: how many hosts are to have it."""


def plan_service(
    view: ClusterView, service: Service, outage: Outage, placer: Placer, numbering: Numbering, now: float
) -> ServicePlan:
    """Bring a declared service nearer to what is wanted."""
    target = view.definitions[service.task_name, service.task_version]
    course = rollout.course(view, service, target, now)
    if rests(view, service, course):
        return ServicePlan()
    group = members(view, service.name, outage, course.accepts)
    bounds = Bounds.of(service)
    if bounds.desired == 0:
        by = view.scaled_by.get(service.name)
        return stop_all(view, service.name, group, f"stopped {by}" if by else "none are desired", placer, numbering)
    if failed := rollout.in_the_way(view, course, group):
        return stop_all(view, service.name, failed, "promoted: it begins anew", placer, numbering)
    demand = Demand.in_view(view, service.name, target.definition)
    judged = rollout.judge(
        view, course, service, group, lambda: why_not_prepared(view, service.name) or placer.why_nowhere(demand), now
    )
    if judged is not course:
        course, group = judged, members(view, service.name, outage, judged.accepts)
    canaries = min(service.policy.canary, bounds.desired) if course.phase is RolloutPhase.CANARY else 0
    if canaries:
        group = canary.make_way(view, group, course, bounds.desired - canaries)
    changes = Changes(view, service.name, group, placer, numbering, now)
    blocker = Moves(view, changes, bounds, course, service.policy.parallel, canaries).all()
    changes.close()
    if converged(changes, bounds):
        course = rollout.settled(view, course, now)
    return ServicePlan(
        steps=with_record(view, service, course, changes.steps),
        pending=tuple(changes.pending),
        notes=obstacles.notes(service.name, course, changes, bounds, blocker),
        look_again_s=next_look(view, course, service, (*changes.keepers.values(), *changes.leavers.values())),
    )


def with_record(view: ClusterView, service: Service, course: Course, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, the first of which also stores how far the rollout has come, if that changed."""
    if course.record == view.rollouts.get(service.name):
        return tuple(steps)
    save = SaveRollout(course.record)
    first = steps[0] if steps else Step(service=service.name, actions=())
    return (msgspec.structs.replace(first, actions=(save, *first.actions)), *steps[1:])


def stop_all(
    view: ClusterView, service: str, group: Sequence[Member], why: str, placer: Placer, numbering: Numbering
) -> ServicePlan:
    """Stop all tasks of a service that nobody wants any more, whatever their health and wherever they are."""
    changes = Changes(view, service, group, placer, numbering, 0.0)
    for member in group:
        changes.withdraw(member, why, harmless=True)
    changes.close()
    return ServicePlan(steps=tuple(changes.steps))


def remove_service(
    view: ClusterView, service: str, outage: Outage, placer: Placer, numbering: Numbering
) -> ServicePlan:
    """Stop all tasks of a service that is not declared any more, and forget its rollout with the last of them."""
    group = members(view, service, outage, lambda *_: True)
    why = f"service {service} was removed" if view.declared else f"cluster {view.name} was removed"
    planned = stop_all(view, service, group, why, placer, numbering)
    if service not in view.rollouts:
        return planned
    last = planned.steps[-1] if planned.steps else Step(service=service, actions=())
    dropped = msgspec.structs.replace(last, actions=(*last.actions, DropRollout(service)))
    return ServicePlan(steps=(*planned.steps[:-1], dropped))


def hold_service(
    view: ClusterView, service: str, reason: str, outage: Outage, placer: Placer, numbering: Numbering, now: float
) -> ServicePlan:
    """Change nothing voluntarily: only dead tasks are replaced, one for one, by what their records say."""
    group = tuple(
        msgspec.structs.replace(each, overdue=False) for each in members(view, service, outage, lambda *_: True)
    )
    changes = Changes(view, service, group, placer, numbering, now)
    notes = [Note(service=service, reason=f"on hold: {reason}")]
    declared = view.services.get(service)
    may_be_system = declared is None or declared.kind == "system"
    for dead in list(changes.dead.values()):
        if own := view.definition_of(dead.task):
            # one that can't be read may be a system service: then any other host has one already
            if dead.task.completes or not may_be_system:
                changes.replace(dead, [(own, True)], why_dead(dead))
            elif dead.standing is Standing.FAILED:  # of a lost one nothing starts elsewhere
                changes.replace_there(dead, own, why_dead(dead))
        else:
            text = f"{dead.task.id} can't be replaced: what it ran is not in the store any more"
            notes.append(Note(service=service, reason=text))
    changes.close(holds=True)
    return ServicePlan(
        steps=tuple(changes.steps),
        pending=tuple(changes.pending),
        notes=tuple(notes),
        look_again_s=next_retry(group),
    )


def converged(changes: Changes, bounds: Bounds) -> bool:
    """Whether all is as wanted, and healthy."""
    nothing_to_do = not changes.steps and not changes.pending
    return nothing_to_do and changes.issued == len(changes.keepers) == changes.healthy == bounds.desired


def next_look(view: ClusterView, course: Course, service: Service, left: Sequence[Member]) -> float | None:
    """When something is due though nothing changes: a retry, a task that counts from then on, a deadline."""
    waits = [each for each in (next_retry(left),) if each is not None]
    stalled_s = view.stalled_s.get(service.name)
    if stalled_s is not None and course.phase in GOES_ON and course.record == view.rollouts.get(service.name):
        waits.append(max(0.0, service.policy.deadline_s - stalled_s))
    return min(waits, default=None)


def next_retry(group: Sequence[Member]) -> float | None:
    """When the next of them is due."""
    return min((member.wait_s for member in group if member.wait_s > 0), default=None)
