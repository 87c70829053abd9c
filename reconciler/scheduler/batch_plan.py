"""What a ``batch`` needs now: so many tasks of one content have to come to a good end, and then nothing runs any more.

How many have is counted in the rollout's record, in the transaction that withdraws them: so records stay bounded, no
finished work is done again, and another scheduler goes on counting. A version that fails three times in a row, each
time after its agent's own attempts, ends as failed.
"""

from typing import Final

import msgspec

from reconciler.model.manifests import Service
from reconciler.model.task import RolloutPhase
from reconciler.scheduler import rollout
from reconciler.scheduler.changes import Changes
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.moves import why_dead
from reconciler.scheduler.numbering import Numbering
from reconciler.scheduler.obstacles import tried_again
from reconciler.scheduler.outage import Outage
from reconciler.scheduler.placement import Placer
from reconciler.scheduler.replicas import Member, Standing, members
from reconciler.scheduler.rollout import TRIES, Course
from reconciler.scheduler.service_plan import ServicePlan, next_retry, stop_all
from reconciler.scheduler.steps import Note, SaveRollout, Step, Withdraw

MOST_AT_ONCE: Final = 5
"""How many finished tasks are counted in one step, which has to fit into one transaction."""


def plan_batch(
    view: ClusterView, service: Service, outage: Outage, placer: Placer, numbering: Numbering, now: float
) -> ServicePlan:
    """Bring a declared batch nearer to its end."""
    target = view.definitions[service.task_name, service.task_version]
    course = rollout.course(view, rollout.without_canaries(service), target, now)
    if view.restarted.get(service.name, 0) > course.record.again:
        course = _anew(view, course, now)
    group = members(view, service.name, outage, lambda task, _: target.is_of(task))
    desired = min(service.desired, service.max_issued)
    if desired == 0:
        by = view.scaled_by.get(service.name)
        return stop_all(view, service.name, group, f"stopped {by}" if by else "none are desired", placer, numbering)
    changes = Changes(view, service.name, group, placer, numbering, now)
    ended = [each for each in group if each.standing is Standing.COMPLETE][:MOST_AT_ONCE]
    done = course.record.done + sum(each.current and not each.restarts for each in ended)
    course = msgspec.structs.replace(course, record=msgspec.structs.replace(course.record, done=done))
    for each in ended:
        changes.withdraw(each, "it is done", harmless=True)
    counted = changes.steps
    changes.steps = []
    course = _judged(view, course, group, desired, now)
    _stop_old(changes, course)
    if course.phase is RolloutPhase.ROLLING:
        _run(changes, service, course, desired)
    else:
        for each in [*changes.dead.values(), *changes.keepers.values(), *changes.leavers.values()]:
            if each.dead or each.standing is Standing.FAILED:
                changes.withdraw(each, why_dead(each), harmless=True)
    changes.close()
    left = (*changes.keepers.values(), *changes.leavers.values())
    steps = [*_with_record(view, service, course, counted), *changes.steps]
    return ServicePlan(
        steps=tuple(steps),
        pending=tuple(changes.pending),
        notes=_notes(service, course, left, desired),
        look_again_s=next_retry(left),
    )


def _anew(view: ClusterView, course: Course, now: float) -> Course:
    """Begun once more, by an operator's word."""
    again = rollout.settle(view, course, RolloutPhase.ROLLING, "restarted", now)
    record = msgspec.structs.replace(again.record, done=0, again=view.restarted[course.record.service])
    return msgspec.structs.replace(again, record=record)


def _judged(view: ClusterView, course: Course, group: tuple[Member, ...], desired: int, now: float) -> Course:
    if course.phase is RolloutPhase.COMPLETED and course.record.done < desired:
        return rollout.settle(view, course, RolloutPhase.ROLLING, f"{desired} desired", now)
    if course.phase in rollout.GOES_BACK:
        return rollout.settle(view, course, RolloutPhase.FAILED, course.record.reason, now)
    if course.phase is not RolloutPhase.ROLLING:
        return course
    if course.record.done >= desired:
        return rollout.settle(view, course, RolloutPhase.COMPLETED, "", now)
    sick = next(
        (each for each in group if each.keeper and each.standing is Standing.FAILED and each.task.retries + 1 >= TRIES),
        None,
    )
    if sick is not None:
        why = f"{TRIES} tasks in a row failed, last {sick.task.id}: {sick.reason}"
        return rollout.settle(view, course, RolloutPhase.FAILED, why, now)
    return course


def _stop_old(changes: Changes, course: Course) -> None:
    """What an earlier version or run left; tasks on a draining host may come to their end there."""
    for each in [*changes.leavers.values(), *changes.dead.values()]:
        if each.standing is not Standing.MISSING and (not each.current or each.restarts):
            version = course.target.definition.version
            changes.withdraw(
                each, "it is restarted" if each.restarts else f"version {version} replaces it", harmless=True
            )


def _run(changes: Changes, service: Service, course: Course, desired: int) -> None:
    """Replace what is dead, start what is missing, stop what is too much."""
    for dead in list(changes.dead.values()):
        if dead.standing is Standing.COMPLETE:
            continue  # it is counted in one of the next looks
        changes.replace(dead, [(course.target, True)], why_dead(dead))
    running = [each for each in (*changes.keepers.values(), *changes.leavers.values()) if each.current]
    alive = len(running) + changes.started + len(changes.dead)
    missing = desired - course.record.done - alive
    at_once = service.policy.parallel or desired
    count = max(0, min(missing, at_once - alive, service.max_issued - changes.issued))
    changes.start(course.target, count, f"{desired} to be done, {course.record.done} are")
    stoppable = [each for each in running if each.standing not in (Standing.MISSING, Standing.COMPLETE)]
    for surplus in stoppable[: max(0, -missing)]:
        changes.withdraw(surplus, f"{desired} to be done, {course.record.done} are", harmless=True)


def _with_record(view: ClusterView, service: Service, course: Course, counted: list[Step]) -> list[Step]:
    """One step: what is counted and the count change together."""
    actions = [action for step in counted for action in step.actions if isinstance(action, Withdraw)]
    save = [] if course.record == view.rollouts.get(service.name) else [SaveRollout(course.record)]
    return [Step(service=service.name, actions=(*save, *actions))] if save or actions else []


def progress(done: int, desired: int) -> str:
    """How far a batch is."""
    return f"{done} of {desired} are done"


def _notes(service: Service, course: Course, left: tuple[Member, ...], desired: int) -> tuple[Note, ...]:
    if course.phase is RolloutPhase.FAILED:
        version = course.target.definition.version
        again = f"`reconciler restart {service.name}` begins anew, `reconciler promote {service.name}` goes on"
        return (Note(service=service.name, reason=f"version {version} failed: {course.record.reason}; {again}"),)
    if course.phase is RolloutPhase.ROLLING:
        count = Note(service=service.name, reason=progress(course.record.done, desired), is_ordinary=True)
        waits = [each for each in left if each.standing is Standing.FAILED]
        return (count, tried_again(service.name, waits)) if waits else (count,)
    return ()
