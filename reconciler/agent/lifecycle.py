"""The life of one issue of a task on its host: which steps are legal, and when it may try again. Pure.

Within one attempt a life only goes forward, along ``STEPS``. What failed begins anew as the next attempt, so
(attempt, phase) never goes back. The planner makes each change through ``step``, ``again`` and their like: there is
no other way to change a phase.
"""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from reconciler.agent.settings import RestartPolicy
from reconciler.errors import ReconcilerError
from reconciler.model.durations import format_duration
from reconciler.model.task import Health, Phase, Task

STEPS: Final[Mapping[Phase, frozenset[Phase]]] = {
    # an agent that was restarted finds a task running: from pending straight to running
    Phase.PENDING: frozenset({Phase.PREPARING, Phase.RUNNING, Phase.FAILED, Phase.REJECTED, Phase.STOPPING}),
    Phase.PREPARING: frozenset({Phase.STARTING, Phase.FAILED, Phase.REJECTED, Phase.STOPPING}),
    Phase.STARTING: frozenset({Phase.RUNNING, Phase.FAILED, Phase.REJECTED, Phase.STOPPING}),
    Phase.RUNNING: frozenset({Phase.COMPLETE, Phase.FAILED, Phase.STOPPING}),
    Phase.COMPLETE: frozenset({Phase.STOPPING}),
    Phase.FAILED: frozenset({Phase.STOPPING}),
    Phase.REJECTED: frozenset({Phase.STOPPING}),
    Phase.STOPPING: frozenset({Phase.STOPPED}),
    Phase.STOPPED: frozenset(),
}

MAY_TRY_AGAIN: Final = frozenset({Phase.PENDING, Phase.PREPARING, Phase.STARTING, Phase.RUNNING})
"""Phases in which a failure makes a new attempt (or ends in ``failed``)."""

WAIT_S: Final = 5.0
"""How soon a start is tried again that failed for want of the store."""

NEVER: Final = float("-inf")


class IllegalStep(ReconcilerError):
    """A planner wanted a step that ``STEPS`` does not have: a defect of this program."""


class TaskKey(msgspec.Struct, frozen=True, order=True):
    """One issue of a task. Two issues of one id are never run at once."""

    id: str
    issue: int


class Now(msgspec.Struct, frozen=True):
    """Both clocks, read once: durations are of ``monotonic``, ``wall`` is for display."""

    monotonic: float
    wall: float


class Work(enum.StrEnum):
    """What is being done to a task outside the planner; one thing at a time."""

    START = "start"
    TAKE_DOWN = "take down"


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent remembers of one issue of a task. A restarted agent rebuilds it from what it finds.

    Times are monotonic, but for ``since``. ``acted_at``: when the last work on it ended; nothing observed before then
    says anything. ``kinds`` are the executors that may hold parts of it. ``health_output`` is that of the moment when
    the health changed: later ones differ in every run, and would be written to the store each time. ``critical_since``:
    since when its checks have said nothing but critical. ``keeps``: it stops, and what has ended of it is left for
    people to read. ``outdated``: which value is another by now than the one it was started with. ``paused_at``: when
    it was stopped until more is known.
    """

    phase: Phase = Phase.PENDING
    attempt: int = 1
    since: float = 0.0
    reason: str = ""
    exit_code: int | None = None
    record: Task | None = None
    kinds: frozenset[str] = frozenset()
    failures: tuple[float, ...] = ()
    not_before: float = NEVER
    attempt_began: float = NEVER
    acted_at: float = NEVER
    busy: Work | None = None
    cancelled: bool = False
    stop_began: float = NEVER
    stop_not_before: float = NEVER
    drains: bool = False
    keeps: bool = False
    drain_until: float | None = None
    unissued_since: float | None = None
    health: Health = Health.UNKNOWN
    health_output: str = ""
    critical_since: float | None = None
    outdated: str = ""
    paused_at: float | None = None


def step(life: Life, to: Phase, now: Now, reason: str = "") -> Life:
    """``life`` one legal step further.

    Raises:
        IllegalStep: there is no such step.
    """
    if to not in STEPS[life.phase]:
        raise IllegalStep(f"a task cannot go from {life.phase} to {to}")
    return msgspec.structs.replace(
        life,
        phase=to,
        since=now.wall,
        reason=reason,
        health=Health.UNKNOWN,
        health_output="",
        critical_since=None,
        outdated="",
    )


def begin(life: Life, now: Now, *, fetches: bool) -> Life:
    """The step into ``preparing``, with the start in somebody's hands; into ``starting`` where nothing is fetched."""
    begun = step(life, Phase.PREPARING, now)
    if not fetches:
        begun = step(begun, Phase.STARTING, now)
    return msgspec.structs.replace(begun, attempt_began=now.monotonic, busy=Work.START, cancelled=False, paused_at=None)


def begin_stop(life: Life, now: Now, reason: str, *, drains: bool, keeps: bool = False) -> Life:
    """The step into ``stopping``. What was running may have clients, which get time to leave (``drains``)."""
    return msgspec.structs.replace(
        step(life, Phase.STOPPING, now, reason),
        stop_began=now.monotonic,
        drains=drains and life.phase is Phase.RUNNING,
        keeps=keeps,
    )


def again(
    life: Life, now: Now, policy: RestartPolicy, jitter: float, reason: str, exit_code: int | None = None
) -> Life:
    """What a failure leads to: the next attempt after a delay, or ``failed`` when there were too many in the window.

    ``jitter`` is between 0 and 1. Raises IllegalStep when the life is past trying.
    """
    if life.phase not in MAY_TRY_AGAIN:
        raise IllegalStep(f"a task that is {life.phase} is not tried again")
    failures = (*recent(life.failures, now, policy), now.monotonic)
    if len(failures) >= policy.max_attempts:
        text = reason
        if len(failures) > 1:
            text = f"failed {len(failures)} times in {format_duration(policy.window_s)}, the last time: {reason}"
        return msgspec.structs.replace(step(life, Phase.FAILED, now, text), failures=failures, exit_code=exit_code)
    return _pending_again(life, now, reason, exit_code, failures, delay_s(len(failures), policy, jitter))


def wait(life: Life, now: Now, reason: str) -> Life:
    """The next attempt after ``WAIT_S``, without a failure that counts. Raises IllegalStep as ``again`` does."""
    if life.phase not in MAY_TRY_AGAIN:
        raise IllegalStep(f"a task that is {life.phase} is not tried again")
    return _pending_again(life, now, reason, None, life.failures, WAIT_S)


def _pending_again(
    life: Life, now: Now, reason: str, exit_code: int | None, failures: tuple[float, ...], delay: float
) -> Life:
    return msgspec.structs.replace(
        life,
        phase=Phase.PENDING,
        attempt=life.attempt + 1,
        since=now.wall,
        reason=reason,
        exit_code=exit_code,
        failures=failures,
        not_before=now.monotonic + delay,
        health=Health.UNKNOWN,
        health_output="",
        critical_since=None,
        outdated="",
    )


def pause(life: Life, now: Now, reason: str) -> Life:
    """Stopped by us until more is known; no failure is counted. Raises IllegalStep as ``again`` does."""
    if life.phase not in MAY_TRY_AGAIN:
        raise IllegalStep(f"a task that is {life.phase} is not tried again")
    paused = _pending_again(life, now, reason, None, life.failures, 0.0)
    return msgspec.structs.replace(paused, paused_at=now.monotonic)


def recent(failures: tuple[float, ...], now: Now, policy: RestartPolicy) -> tuple[float, ...]:
    """The failures that still count."""
    return tuple(each for each in failures if now.monotonic - each < policy.window_s)


def delay_s(failures: int, policy: RestartPolicy, jitter: float) -> float:
    """How long to wait after ``failures`` recent failures (1 or more)."""
    if failures <= 1:
        full = min(policy.most_delay_s, policy.first_delay_s)
    else:
        full = min(policy.most_delay_s, policy.delay_s * policy.factor ** min(failures - 2, 60))
    return full * (1.0 - policy.jitter * jitter)
