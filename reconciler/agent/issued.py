"""What to do next with a task that should run here: begin, restart, give up, or nothing. Pure; ``plan`` calls it."""

from collections.abc import Sequence

import msgspec

from reconciler.agent import isolation, lifecycle
from reconciler.agent.actions import Cancel, Start
from reconciler.agent.case import Case, Decision, blindness, usable
from reconciler.agent.environment import environment
from reconciler.agent.host_view import Seen, Unusable
from reconciler.agent.lifecycle import Life, Work
from reconciler.agent.outdated import changed
from reconciler.executors.interface import Ref, Spec
from reconciler.model import ports
from reconciler.model.durations import format_duration
from reconciler.model.manifests import TaskDefinition
from reconciler.model.task import Health, Phase, Task


def decide(case: Case) -> Decision:
    """The next step of a task that is issued to this host."""
    return isolation.with_look(case, isolation.pause(case) or _decide(case))


def _decide(case: Case) -> Decision:
    life = case.life
    if life.busy is not None:
        return _watch_start(case)
    blind = blindness(case.view, life)
    if blind is not None and life.phase is Phase.RUNNING:
        return Decision(_judged(case))
    if blind is not None:
        return Decision(_waiting(life, blind) if life.phase is Phase.PENDING and life.attempt == 1 else life)
    match life.phase:
        case Phase.PENDING:
            return _begin(case)
        case Phase.RUNNING:
            return _watch(case)
        case _:
            running = [each for each in case.seen if each.container.running]
            return case.take_down(running, remove=False) if running else Decision(life)


def _watch_start(case: Case) -> Decision:
    """Somebody works on it; only a start that takes too long is our business."""
    life = case.life
    if life.busy is not Work.START or life.phase not in (Phase.PREPARING, Phase.STARTING):
        return Decision(life)
    deadline_s = case.tempo.start_deadline_s
    if case.now.monotonic < life.attempt_began + deadline_s:
        return Decision(life, again_at=life.attempt_began + deadline_s)
    reason = f"{life.phase} took longer than {format_duration(deadline_s)}"
    failed = lifecycle.step(life, Phase.FAILED, case.now, reason)
    return Decision(msgspec.structs.replace(failed, cancelled=True), Cancel(case.key))


def _begin(case: Case) -> Decision:
    """From pending: take over what runs already, clear what is left of earlier attempts, or start."""
    life, now = case.life, case.now
    current = [each for each in case.seen if each.container.attempt == life.attempt]
    running = [each for each in current if each.container.running]
    ended = [each for each in current if not each.container.running]
    stale = [each for each in case.seen if each.container.running and each.container.attempt != life.attempt]
    names = _names(case, current)
    if ended and _is_good_end(case, ended):
        # an agent that was restarted finds a part of the work done
        begun = _adopted(case, current)
        return Decision(begun) if running else Decision(lifecycle.step(begun, Phase.COMPLETE, now))
    if ended:
        return _died(case, ended)
    if running and not stale and names <= {each.container.ref.container for each in running}:
        return Decision(_adopted(case, running))
    if stale:
        return case.take_down(stale, remove=False)
    if now.monotonic < life.not_before:
        return Decision(life, again_at=life.not_before)
    obstacle = _obstacle(case)
    if isinstance(obstacle, Unusable) and obstacle.permanent:
        return Decision(lifecycle.step(life, Phase.REJECTED, now, obstacle.reason))
    if isinstance(obstacle, Unusable):
        return Decision(_waiting(life, obstacle.reason))
    record, definition = obstacle
    here = {each.container.ref.container for each in running}
    needed = () if here else ports.to_listen_on(definition, record)
    start = Start(case.key, _specs(case, record, definition, here), needed)
    return Decision(lifecycle.begin(life, now, fetches=start.fetches), start)


def _obstacle(case: Case) -> Unusable | tuple[Task, TaskDefinition]:
    """Why it can't be started now; else what is needed to start it."""
    if (why := isolation.why_waits(case)) is not None:
        return Unusable(why, permanent=False)
    if case.older:
        return Unusable(f"waits until issue {min(case.older)} of it has stopped", permanent=False)
    definition = usable(case.view, case.record)
    if case.record is None or isinstance(definition, Unusable):
        return definition if isinstance(definition, Unusable) else Unusable("its record is gone", permanent=False)
    if missing := [each.name for each in definition.ports if each.name not in case.record.named_ports]:
        return Unusable(f"its scheduler does not know named ports: it provided no {', '.join(missing)}", permanent=True)
    return case.record, definition


def _specs(case: Case, record: Task, definition: TaskDefinition, here: set[str]) -> tuple[Spec, ...]:
    address = case.view.settings.address
    return tuple(
        Spec(
            ref=Ref(record.id, record.issue, container.name),
            container=container,
            digest=record.digest,
            attempt=case.life.attempt,
            environment=environment(record, definition, container, address),
            address=address,
            port=record.port,
            publications=ports.published(definition, record, container),
            memory=definition.memory,
            cpu_units=definition.cpu_units,
        )
        for container in definition.containers
        if container.name not in here
    )


def _watch(case: Case) -> Decision:
    """A running task: is all of it alive, and what do its checks say?"""
    current = [each for each in case.seen if each.container.attempt == case.life.attempt]
    running = {each.container.ref.container for each in current if each.container.running}
    names = _names(case, current)
    if names and not names - running:
        return _unless_critical_too_long(case.with_life(_judged(case)))
    ended = [each for each in current if not each.container.running]
    if _is_good_end(case, ended) and names <= {each.container.ref.container for each in current}:
        return Decision(_judged(case) if running else lifecycle.step(case.life, Phase.COMPLETE, case.now))
    return _died(case, ended)


def _is_good_end(case: Case, ended: Sequence[Seen]) -> bool:
    """Whether a task that is to come to an end has come to a good one, as far as these containers go."""
    return (
        case.record is not None
        and case.record.completes
        and bool(ended)
        and all(each.container.exit_code == 0 for each in ended)
    )


def _judged(case: Case) -> Life:
    """Take in a reading of this very issue and attempt; any other says nothing."""
    life = case.life
    entry = case.view.health.entries.get(case.key.id)
    if entry is None or (entry.issue, entry.attempt) != (case.key.issue, life.attempt):
        health, output = Health.UNKNOWN, ""
    else:
        health, output = entry.reading.health, entry.reading.output
    outdated = _outdated(case)
    if (health, outdated) == (life.health, life.outdated):
        return life
    if health != life.health:
        life = msgspec.structs.replace(
            life,
            health=health,
            health_output="" if health is Health.PASSING else output,
            critical_since=case.now.monotonic if health is Health.CRITICAL else None,
        )
    return msgspec.structs.replace(life, outdated=outdated)


def _outdated(case: Case) -> str:
    """Which value is another by now than one of its containers was started with; what is older than the start of the
    task says nothing.
    """
    life, secrets = case.life, case.view.secrets
    if case.definition is None or secrets.began <= life.acted_at:
        return life.outdated
    kept = {
        each.container.ref.container: each.container.fingerprint
        for each in case.seen
        if each.container.attempt == life.attempt
    }
    changes = (changed(each, kept.get(each.name, ""), secrets) for each in case.definition.containers)
    return next(filter(None, changes), "")


def _unless_critical_too_long(case: Case) -> Decision:
    """A task that runs on, unless its definition says that it is of no use like this.

    The next pass stops what still runs of this attempt, before it begins the next one.
    """
    life = case.life
    if life.critical_since is None or case.view.issued.is_another_stores:
        return Decision(life)
    after_s = case.tempo.restart_after_s
    if after_s is None:
        return Decision(life)
    if case.now.monotonic < life.critical_since + after_s:
        return Decision(life, again_at=life.critical_since + after_s)
    output = f": {life.health_output}" if life.health_output else ""
    return _try_again(case, f"health was critical for {format_duration(after_s)}{output}", None)


def _died(case: Case, ended: Sequence[Seen]) -> Decision:
    """A container has ended, and with it this attempt."""
    if ended:
        first = ended[0].container
        code = first.exit_code
        how = first.reason or ("ended, nobody knows how" if code is None else f"exited with code {code}")
        reason, exit_code = f"{first.ref.container} {how}", code
    else:
        reason, exit_code = "it is gone: somebody removed it", None
    return _try_again(case, reason, exit_code)


def _try_again(case: Case, reason: str, exit_code: int | None) -> Decision:
    """The next attempt, or the end of all."""
    next_life = lifecycle.again(case.life, case.now, case.tempo.restart, case.view.jitter, reason, exit_code)
    return Decision(next_life, again_at=next_life.not_before if next_life.phase is Phase.PENDING else None)


def _adopted(case: Case, running: Sequence[Seen]) -> Life:
    started = max(each.container.started_at for each in running) or case.now.wall
    life = lifecycle.step(case.life, Phase.RUNNING, case.now)
    return msgspec.structs.replace(life, since=started, outdated=_published_outdated(case))


def _published_outdated(case: Case) -> str:
    """What an earlier agent said of this very attempt, until this one has looked at the values itself."""
    before = case.view.published.tasks.get(case.key.id) if case.view.published else None
    unlooked = case.view.secrets.began == lifecycle.NEVER
    same = before is not None and (before.issue, before.attempt) == (case.key.issue, case.life.attempt)
    return before.outdated if before is not None and same and unlooked else ""


def _names(case: Case, current: Sequence[Seen]) -> set[str]:
    """The containers that make up the task; those that are there when its definition is not known."""
    if case.definition is not None:
        return {container.name for container in case.definition.containers}
    return {each.container.ref.container for each in current}


def _waiting(life: Life, reason: str) -> Life:
    """Still pending, for a reason that people may see."""
    return life if life.reason == reason else msgspec.structs.replace(life, reason=reason)
