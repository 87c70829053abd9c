"""From a look at everything to what should be done next: the agent's one pure decision.

The loop calls ``plan`` with what its observers found and carries the result out; ``--dry-run`` prints it. The plan
holds the lives that the next look begins from, so the loop itself decides nothing.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from reconciler.agent import issued, lifecycle, outcomes, standing, stopping
from reconciler.agent.actions import Action
from reconciler.agent.case import Case, Decision, blindness, definition_of, kinds_of
from reconciler.agent.host_view import NOT_ENTERED, Fetching, HostView, Seen, Standing, Standings, ours, strangers
from reconciler.agent.lifecycle import Life, Now, TaskKey
from reconciler.agent.outdated import wanted_by
from reconciler.agent.preparing import prepare, prepared
from reconciler.agent.remains import is_worth_keeping, remains
from reconciler.agent.status import host_status, shortened, task_status
from reconciler.agent.tempo import tempo_of
from reconciler.executors.interface import Owner
from reconciler.health.interface import Registration
from reconciler.model.events import Event, Level
from reconciler.model.manifests import TaskDefinition
from reconciler.model.secrets import Wanted
from reconciler.model.task import Health, HostStatus, Phase, Task, TaskStatus

_LEVELS: Final = {Phase.FAILED: Level.ERROR, Phase.REJECTED: Level.ERROR}

_EVENT_BYTES: Final = 1000
_ENDS: Final = (Phase.FAILED, Phase.COMPLETE)
_LEAVING: Final = (Phase.STOPPING, Phase.STOPPED)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that an agent may do in one pass.

    ``registrations`` and ``status`` are None while too little is known to say anything. ``keep``: tasks whose
    registration is to be left as it is. ``held``: issues that somebody should check if the listing lacks them;
    ``confirm``: do so now. ``ended``: everything was to be stopped, and nothing is left. ``strangers``: who else has
    containers here. ``remains``: what is left of tasks that are gone. ``secrets``: the values that tasks of this host
    are started with. ``standing``: with which of them nothing is to be done until something changes.
    """

    lives: Mapping[TaskKey, Life] = {}
    remains: Mapping[TaskKey, list[Seen]] = {}
    fetching: Mapping[str, Fetching] = {}
    actions: tuple[Action, ...] = ()
    registrations: Mapping[str, Registration] | None = None
    keep: frozenset[str] = frozenset()
    status: HostStatus | None = None
    held: frozenset[TaskKey] = frozenset()
    confirm: bool = False
    events: tuple[Event, ...] = ()
    look_again_s: float | None = None
    ended: bool = False
    strangers: frozenset[Owner] = frozenset()
    secrets: frozenset[Wanted] = frozenset()
    standing: Standings = Standings()


class _Draft:
    """Collects what is decided about the single tasks, and what is said of them."""

    def __init__(self, view: HostView, now: Now) -> None:
        self._view = view
        self._now = now
        self.gone: set[TaskKey] = set()
        self.lives: dict[TaskKey, Life] = {}
        self.statuses: dict[TaskKey, TaskStatus] = {}
        self.registrations: dict[str, Registration] = {}
        self.unregistered: set[str] = set()
        """Tasks that run, and are not known well enough to register them."""
        self.standing: dict[TaskKey, Standing] = {}
        self.actions: list[Action] = []
        self.again_at: list[float] = []
        self.confirm = False

    def take(self, case: Case, decision: Decision, record: Task | None) -> None:
        key, life = case.key, decision.life
        if decision.action is not None:
            self.actions.append(decision.action)
        if decision.again_at is not None:
            self.again_at.append(decision.again_at)
        self.confirm = self.confirm or decision.confirm
        if life is None:
            self.gone.add(key)
        if decision.action is None and _may_go_on(case, life, record):
            self.again_at.append(self._now.monotonic)
        if life is None:
            return
        registration = _registration(self._view, life)
        published = self._view.published.tasks.get(key.id) if self._view.published else None
        self._say(key, life, task_status(key, life, published), registration)
        if standing.stands(case, decision, record):
            own = standing.own(self._view, key, record, life, case.seen)
            self.standing[key] = Standing(
                own=own, life=life, until=decision.again_at, status=self.statuses[key], registration=registration
            )

    def keep(self, key: TaskKey, known: Standing) -> None:
        """What was decided the last time."""
        self.standing[key] = known
        if known.until is not None:
            self.again_at.append(known.until)
        self._say(key, known.life, known.status, known.registration)

    def _say(self, key: TaskKey, life: Life, status: TaskStatus, registration: Registration | None) -> None:
        self.lives[key] = life
        self.statuses[key] = status
        if registration is not None:
            self.registrations[key.id] = registration
        elif life.phase is Phase.RUNNING:
            self.unregistered.add(key.id)


def plan(view: HostView, now: Now) -> Plan:
    """Decide about every task of ours on this host."""
    lives = outcomes.fold(view, now)
    seen = ours(view)
    wanted = {TaskKey(task.id, task.issue): task for task in view.issued.tasks.values()}
    if view.issued.remembered:
        # it may be issued to another host by now: kept alive is what runs here, and nothing else is begun
        wanted = {key: task for key, task in wanted.items() if key in seen or key in lives}
    elif not view.issued.known and not view.ending:
        # what runs is left as it is: nobody knows yet what it should be
        return Plan(lives=lives, look_again_s=None)
    left = remains(view, wanted, lives, seen)
    seen = {key: found for key, found in seen.items() if key not in left}
    draft = _Draft(view, now)
    unjudged: dict[str, Task | None] = {}
    here = _issues(lives, seen)
    alike, before = standing.since_last(view)
    for key in sorted(wanted.keys() | lives.keys() | seen.keys()):
        record, found = wanted.get(key), seen.get(key, [])
        known = before.get(key)
        if known is not None and standing.still(known, now, standing.own(view, key, record, lives.get(key), found)):
            draft.keep(key, known)
            continue
        life = lives.get(key) or _born(view, now, key, record, found)
        if life is None:
            unjudged[key.id] = record
            continue
        # those come first, so it is known by now whether they are gone
        older = [
            issue for issue in here.get(key.id, ()) if issue < key.issue and TaskKey(key.id, issue) not in draft.gone
        ]
        case = Case(key, _informed(life, record, view), found, older, view, now)
        draft.take(case, _decide(case, record), record)
    if any(executor.problem is not None for executor in view.executors.values()):
        for task_id, status in (view.published.tasks if view.published else {}).items():
            key = TaskKey(task_id, status.issue)
            if task_id not in unjudged and key not in draft.gone and _may_be_hidden(view, key, lives, seen):
                unjudged[task_id] = None
    made = _assembled(view, now, draft, unjudged)
    return msgspec.structs.replace(made, remains=left, standing=Standings(alike=alike, tasks=draft.standing))


def _decide(case: Case, record: Task | None) -> Decision:
    life = case.life
    if case.view.ending and life.phase not in (Phase.STOPPING, Phase.STOPPED):
        life = lifecycle.begin_stop(life, case.now, "everything on this host is being stopped", drains=False)
    if life.phase in (Phase.STOPPING, Phase.STOPPED):
        return stopping.stop(case.with_life(life))
    if record is not None:
        return issued.decide(case.with_life(stopping.doubted(life)))
    verdict = stopping.verdict(case)
    if verdict.life is None:
        return Decision(None)
    if verdict.stop is not None:
        keeps = bool(case.view.settings.keep.ended_s) and is_worth_keeping(verdict.life)
        stops = lifecycle.begin_stop(verdict.life, case.now, verdict.stop, drains=True, keeps=keeps)
        return stopping.stop(case.with_life(stops))
    if verdict.confirm and case.key not in case.view.issued.findings and _has_ended(case):
        # an agent that was killed may have been stopping it: before that is known, this is no death
        return Decision(verdict.life, confirm=True)
    decision = issued.decide(case.with_life(verdict.life))
    times = [at for at in (decision.again_at, verdict.again_at) if at is not None]
    return msgspec.structs.replace(decision, again_at=min(times, default=None), confirm=verdict.confirm)


def _may_go_on(case: Case, after: Life | None, record: Task | None) -> bool:
    """Whether the next step after this one may be due at once, for no other reason than that this one was made.

    Mostly that is to stop what still runs of an attempt that is over; or to note what is left of a task that is gone.
    """
    if after is None:
        return record is not None or bool(case.seen)
    if after == case.life or after.phase is Phase.STOPPING or case.life.phase is after.phase is Phase.RUNNING:
        return False
    return any(each.container.running for each in case.seen)


def _has_ended(case: Case) -> bool:
    return any(not each.container.running for each in case.seen)


def _issues(lives: Mapping[TaskKey, Life], seen: Mapping[TaskKey, list[Seen]]) -> dict[str, set[int]]:
    """Which issues of each task are on this host."""
    issues: dict[str, set[int]] = {}
    for key in lives.keys() | seen.keys():
        issues.setdefault(key.id, set()).add(key.issue)
    return issues


def _born(view: HostView, now: Now, key: TaskKey, record: Task | None, seen: list[Seen]) -> Life | None:
    """The first memory of a task: rebuilt from what is found here. None while too little can be seen for that."""
    found = definition_of(view, record)
    definition = found if isinstance(found, TaskDefinition) else None
    kinds = kinds_of(definition, view)
    life = Life(since=now.wall, record=record, kinds=kinds | {each.kind for each in seen})
    if blindness(view, life) is not None:
        return None
    before = view.published.tasks.get(key.id) if view.published else None
    if before is not None and before.issue == key.issue and before.phase in _ENDS and record is not None:
        return _as_it_ended(life, before)
    if not seen:
        return life
    attempt = max(each.container.attempt for each in seen)
    started = max(each.container.started_at for each in seen)
    policy = tempo_of(definition, view.settings).restart
    # attempts are also made for want of the store, so they alone bring no task to its end
    guessed = min(attempt - 1, max(0, policy.max_attempts - 2)) if now.wall - started < policy.window_s else 0
    failures = (now.monotonic,) * guessed
    return msgspec.structs.replace(life, attempt=attempt, failures=failures)


def _as_it_ended(life: Life, before: TaskStatus) -> Life:
    """An agent's restart gives no new attempts to a task that had failed, and does no work again that was done."""
    return msgspec.structs.replace(
        life,
        phase=before.phase,
        attempt=before.attempt,
        reason=before.reason,
        exit_code=before.exit_code,
        since=before.since,
    )


def _informed(life: Life, record: Task | None, view: HostView) -> Life:
    """``life`` with the newest record, and with the executors that its definition names."""
    known = life if record is None or life.record == record else msgspec.structs.replace(life, record=record)
    definition = definition_of(view, known.record)
    if isinstance(definition, TaskDefinition):
        kinds = kinds_of(definition, view)
        if not kinds <= known.kinds:
            known = msgspec.structs.replace(known, kinds=known.kinds | kinds)
    return known


def _may_be_hidden(
    view: HostView, key: TaskKey, lives: Mapping[TaskKey, Life], seen: Mapping[TaskKey, list[Seen]]
) -> bool:
    """Whether a task that was published, and of which nothing is known now, may be where nobody can look."""
    return key not in lives and key not in seen and key not in view.settled


def _assembled(view: HostView, now: Now, draft: _Draft, unjudged: Mapping[str, Task | None]) -> Plan:
    preparing = prepare(view, now)
    looked = all(executor.looked for executor in view.executors.values())
    times = [*draft.again_at, *([preparing.again_at] if preparing.again_at is not None else [])]
    again_at = min(times, default=None)
    return Plan(
        lives=draft.lives,
        fetching=preparing.fetching,
        actions=(*draft.actions, *preparing.actions),
        registrations=draft.registrations,
        keep=frozenset(draft.unregistered | unjudged.keys()),
        status=host_status(view, draft.statuses, unjudged, prepared(preparing.fetching)) if looked else None,
        held=frozenset(key for key, life in draft.lives.items() if life.phase not in _LEAVING),
        confirm=draft.confirm,
        events=(*_events(view.lives, draft.lives), *preparing.events),
        look_again_s=None if again_at is None else max(0.0, again_at - now.monotonic),
        strangers=strangers(view),
        secrets=_secrets(view, draft.lives),
        ended=view.ending and not unjudged and all(life.phase is Phase.STOPPED for life in draft.lives.values()),
    )


def _registration(view: HostView, life: Life) -> Registration | None:
    if life.phase is not Phase.RUNNING or life.record is None:
        return None
    definition = definition_of(view, life.record)
    if not isinstance(definition, TaskDefinition):
        return None
    return Registration(task=life.record, definition=definition, address=view.settings.address, attempt=life.attempt)


def _secrets(view: HostView, lives: Mapping[TaskKey, Life]) -> frozenset[Wanted]:
    found = {life.record.digest: definition_of(view, life.record) for life in lives.values() if life.record}
    return frozenset(
        wanted
        for definition in found.values()
        if isinstance(definition, TaskDefinition)
        for container in definition.containers
        for wanted in wanted_by(container)
    )


def _events(before: Mapping[TaskKey, Life], after: Mapping[TaskKey, Life]) -> list[Event]:
    """What changed, for people."""
    events = []
    for key, life in after.items():
        old = before.get(key)
        if old is life:
            continue
        if old is None and life.phase is Phase.PENDING and life.reason in ("", NOT_ENTERED):
            continue
        if old is None or (old.phase, old.attempt) != (life.phase, life.attempt):
            attempt = f" (attempt {life.attempt})" if life.attempt > 1 else ""
            reason = f": {shortened(life.reason, _EVENT_BYTES)}" if life.reason else ""
            again = life.phase is Phase.PENDING and old is not None
            level = Level.WARNING if again else _LEVELS.get(life.phase, Level.INFO)
            events.append(Event(loop="agent", subject=key.id, message=f"{life.phase}{attempt}{reason}", level=level))
        elif old.health != life.health and life.phase is Phase.RUNNING:
            bad = life.health is Health.CRITICAL
            output = f": {shortened(life.health_output, _EVENT_BYTES)}" if life.health_output else ""
            level = Level.WARNING if bad else Level.INFO
            events.append(Event(loop="agent", subject=key.id, message=f"health {life.health}{output}", level=level))
        elif life.outdated and life.outdated != old.outdated:
            events.append(Event(loop="agent", subject=key.id, message=f"outdated: {life.outdated}"))
    events.extend(
        Event(loop="agent", subject=key.id, message="gone")
        for key in before.keys() - after.keys()
        if before[key].phase is Phase.STOPPING or before[key].phase is Phase.STOPPED
    )
    return events
