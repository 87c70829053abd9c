"""Why a service is not as it should be, in words, beside what can't be placed. ``service_plan`` asks at its end."""

from collections.abc import Iterator, Sequence

from reconciler.model.task import RolloutPhase
from reconciler.scheduler.changes import Changes
from reconciler.scheduler.replicas import Bounds, Member, Standing
from reconciler.scheduler.rollout import Course
from reconciler.scheduler.steps import Note


def notes(service: str, course: Course, changes: Changes, bounds: Bounds, blocker: Note | None) -> tuple[Note, ...]:
    """All obstacles; ``blocker`` is what stopping first waits for, if it does."""
    return tuple(_notes(service, course, changes, bounds, blocker))


def _notes(service: str, course: Course, changes: Changes, bounds: Bounds, blocker: Note | None) -> Iterator[Note]:
    left = (*changes.keepers.values(), *changes.leavers.values())
    yield from _of_the_rollout(service, course, changes)
    missing = [each.task.host for each in left if each.standing is Standing.MISSING]
    if missing:
        hosts = ", ".join(sorted(set(missing)))
        text = f"{len(missing)} of its tasks are on missing hosts ({hosts}): nothing is known of them"
        if len(missing) == 1:
            text = f"1 of its tasks is on a missing host ({hosts}): nothing is known of it"
        yield Note(service=service, reason=text)
    failed = [each for each in left if _waits_to_retry(each) and (each.current or course.start is not None)]
    if failed:
        yield tried_again(service, failed)
    if changes.leavers and not changes.steps:
        yield _waits_for(service, course, changes, bounds, blocker)


def _of_the_rollout(service: str, course: Course, changes: Changes) -> Iterator[Note]:
    """What an operator should know of it, and can do."""
    version, record = course.target.definition.version, course.record
    again = f"it is tried again when its content changes, or on `reconciler promote {service}`"
    match record.phase:
        case RolloutPhase.CANARY:
            canaries = [each for each in changes.keepers.values() if course.target.is_of(each.task)]
            young = next((each for each in canaries if not each.healthy and not _waits_to_retry(each)), None)
            if young is not None and not changes.steps and not changes.leavers:
                yield _waits_until_healthy(service, young)
            if canaries and not changes.steps and all(each.healthy for each in canaries):
                text = f"its canaries of version {version} ({len(canaries)}) are healthy"
                text += f": `reconciler promote {service}` goes on, `reconciler abort {service}` goes back"
                yield Note(service=service, reason=text)
        case RolloutPhase.REVERTING:
            yield Note(service=service, reason=f"goes back to version {record.previous_version}: {record.reason}")
        case RolloutPhase.REVERTED:
            text = f"version {version} was taken back ({record.reason}); version {record.previous_version} runs instead"
            yield Note(service=service, reason=f"{text}; {again}")
        case RolloutPhase.FAILED if course.is_first:
            yield Note(service=service, reason=f"version {version} failed: {record.reason}; it is tried on")
        case RolloutPhase.FAILED:
            yield Note(service=service, reason=f"version {version} failed: {record.reason}; {again}")
    if course.given_up and course.before is None:
        yield Note(service=service, reason="the version before it is not in the store any more, so nothing new starts")


def tried_again(service: str, failed: Sequence[Member]) -> Note:
    """One sentence, however many there are: what fails everywhere fails for one reason."""
    first = min(failed, key=lambda each: each.task.id)
    soonest_s = min(each.wait_s for each in failed)
    who = f"{first.task.id} failed"
    if len(failed) > 1:
        who = f"{len(failed)} of its tasks failed, such as {first.task.id}"
    text = f"{who} on {first.task.host} ({first.reason}); another starts in {soonest_s:.0f} s"
    return Note(service=service, reason=text)


def _waits_to_retry(member: Member) -> bool:
    return member.standing is Standing.FAILED and member.wait_s > 0


def _waits_for(service: str, course: Course, changes: Changes, bounds: Bounds, blocker: Note | None) -> Note:
    """Why tasks that must go are still there."""
    sick = [each for each in changes.keepers.values() if not each.healthy and not _waits_to_retry(each)]
    if sick and (blocker is None or blocker.is_ordinary):
        return _waits_until_healthy(service, sick[-1])
    if blocker is not None:
        return blocker
    missing = sorted({each.task.host for each in changes.leavers.values() if each.standing is Standing.MISSING})
    if missing:
        text = f"waits until {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} back, or what ran there is"
        text += f" replaced (after reschedule_after): {_must_stay(changes, bounds)}"
        return Note(service=service, reason=text)
    desired = bounds.desired
    if bounds.floor == desired == bounds.ceiling:
        text = f"min = desired = max = {desired}, so no task may start or stop first: raise max or lower min"
    elif changes.pending and bounds.floor == desired:
        text = f"no host has room beside the old tasks, and min = desired = {desired} forbids to stop one first"
        text += ": lower min, or make room on a host"
    elif changes.pending:
        text = "no host has room, nor would one if an old task stopped first: make room on a host"
    elif changes.healthy > bounds.floor and course.start and not changes.where_fit(course.start, 1):
        text = f"one may stop first ({_must_stay(changes, bounds)}), but nothing has room for what would take its place"
        text += f": {changes.why_nowhere(course.start)}"
    else:
        text = _must_stay(changes, bounds)
    return Note(service=service, reason=text)


def _must_stay(changes: Changes, bounds: Bounds) -> str:
    return f"{changes.healthy} {'is' if changes.healthy == 1 else 'are'} healthy, and at least {bounds.floor} must stay"


def _waits_until_healthy(service: str, member: Member) -> Note:
    text = f"waits until {member.task.id} on {member.task.host} is healthy: {member.reason}"
    is_young = member.standing in (Standing.STARTING, Standing.UNKNOWN, Standing.SETTLING)
    return Note(service=service, reason=text, is_ordinary=is_young)
