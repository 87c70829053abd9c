"""Takes what there is to say to one receiver, one thing after the other, in a thread of its own.

A receiver that is slow, away or wrong holds up nothing but itself. What it could not be told is tried again with
growing delays, and given up after a while. What it has heard is only remembered here: whoever hands it words writes
that down.
"""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from prometheus_client import Counter, Gauge

from reconciler.model.reports import Word
from reconciler.model.revisions import short
from reconciler.notify.answers import Later, Never, Taken, Verdict
from reconciler.notify.backlog import past_what_is_not_told, unheard
from reconciler.notify.receivers import Receiver
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock
from reconciler.runtime.runner import Loop

log = logging.getLogger(__name__)

GIVE_UP_S: Final = 3600.0
"""How long one thing is tried, counted from its first failure, by this process."""
PAUSE_S: Final = 1.0
"""Between two requests: GitHub and Slack want no more than one a second."""

DELIVERIES: Final = Counter(
    "reconciler_notify_requests_total",
    "Requests to those who are told of revisions: delivered, failed (tried again), given_up, or dropped unsent",
    ["source", "receiver", "result"],
)
WAITING: Final = Gauge(
    "reconciler_notify_waiting", "How many things a receiver has yet to be told", ["source", "receiver"]
)

Send = Callable[[Receiver, Word], Verdict]


class _Load(msgspec.Struct, frozen=True):
    """What there is to say, the oldest first, and up to which ``seq`` the receiver has heard it."""

    words: tuple[Word, ...]
    heard: int

    def unheard(self, receiver: Receiver) -> list[Word]:
        """What is to be told now."""
        return unheard(receiver, self.words, self.heard)


class Courier:
    """Tells one receiver."""

    def __init__(
        self,
        source: str,
        receiver: Receiver,
        send: Send,
        *,
        clock: Clock,
        may_tell: Callable[[], bool],
        on_heard: Callable[[], None],
        backoff: Backoff = Backoff(first_s=1.0, most_s=300.0),  # noqa: B008 - immutable
        pause_s: float = PAUSE_S,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        """``send`` sends a word once, if ``may_tell``: while this process is the one that tells.

        ``on_heard`` is called, in the courier's thread, when ``heard`` has grown.
        """
        self.receiver = receiver
        self._source = source
        self._send = send
        self._clock = clock
        self._may_tell = may_tell
        self._on_heard = on_heard
        self._backoff = backoff
        self._pause_s = pause_s
        self._give_up_s = give_up_s
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._lock = threading.Lock()
        self._load: _Load | None = None
        self._failures = 0
        self._why = ""
        self._failing: tuple[int, float] | None = None
        """The ``seq`` of what could not be told, and since when."""
        self._not_before = 0.0
        self._loop = Loop(f"notify {source} {receiver.name}", self._step, clock=clock)

    def start(self) -> None:
        """Start the thread; returns at once."""
        self._loop.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Send nothing more. What is under way is left to end by itself after that time."""
        self._loop.stop(timeout_s)

    def offer(self, words: Sequence[Word], heard: int) -> None:
        """Tell what is in ``words`` beyond ``heard``; what was heard here already stays so."""
        with self._lock:
            heard = max(heard, self._load.heard) if self._load else heard
            self._load = _Load(tuple(words), past_what_is_not_told(self.receiver, words, heard))
            waiting = len(self._load.unheard(self.receiver))
        WAITING.labels(self._source, self.receiver.name).set(waiting)
        if waiting:
            self._loop.wake()

    def withdraw(self) -> None:
        """Tell nothing more until the next offer: another process does."""
        with self._lock:
            self._load = None
        WAITING.remove_by_labels({"source": self._source, "receiver": self.receiver.name})

    @property
    def heard(self) -> int | None:
        """Up to which ``seq`` the receiver has heard all, or it was given up; None: nothing is offered."""
        with self._lock:
            return self._load.heard if self._load else None

    def _step(self) -> float | None:
        wait_s = self._not_before - self._clock.monotonic()
        if wait_s > 0:
            return wait_s
        with self._lock:
            load = self._load
        ahead = load.unheard(self.receiver) if load else []
        if not ahead or not self._may_tell():
            return None
        word = ahead[0]
        try:
            verdict = self._send(self.receiver, word)
        except Exception:  # what breaks on one thing must not keep the receiver from the next
            log.exception("%s: unforeseen", self._loop.name)
            verdict = Never("this failed here")
        self._not_before = self._clock.monotonic() + self._after(word, verdict)
        return max(0.0, self._not_before - self._clock.monotonic())

    def _after(self, word: Word, verdict: Verdict) -> float:
        """Note what came of telling a word; how long to rest now."""
        match verdict:
            case Taken():
                self._count("delivered")
                if self._failures:
                    log.info("%s: takes what it is told again", self._loop.name)
                self._failures, self._failing, self._why = 0, None, ""
                self._hear(word)
                return self._pause_s
            case Never(why):
                self._give_up(word, why)
                return self._pause_s
            case Later(why, asked_s):
                return self._failed(word, why, asked_s)

    def _failed(self, word: Word, why: str, asked_s: float) -> float:
        now = self._clock.monotonic()
        self._failures += 1
        if self._failing is None or self._failing[0] != word.seq:
            self._failing = (word.seq, now)
        rest_s = max(asked_s, self._backoff.delay_s(self._failures, self._rng))
        if now - self._failing[1] >= self._give_up_s:
            self._give_up(word, why)
            return rest_s
        self._count("failed")
        text = "%s: %s; trying again in %.0f s, and for %.0f minutes in all"
        log.log(
            logging.DEBUG if why == self._why else logging.WARNING,
            text,
            self._loop.name,
            why,
            rest_s,
            self._give_up_s / 60,
        )
        self._why = why
        return rest_s

    def _give_up(self, word: Word, why: str) -> None:
        self._count("given_up")
        text = "%s: will not hear that revision %s is %s: %s"
        log.error(text, self._loop.name, short(word.revision), word.event.value, why)
        self._failing = None
        self._hear(word)

    def _hear(self, word: Word) -> None:
        with self._lock:
            if self._load is None or word not in self._load.words:
                return  # withdrawn meanwhile: another process tells, or what was said is begun anew
            heard = past_what_is_not_told(self.receiver, self._load.words, max(self._load.heard, word.seq))
            self._load = msgspec.structs.replace(self._load, heard=heard)
            waiting = len(self._load.unheard(self.receiver))
        WAITING.labels(self._source, self.receiver.name).set(waiting)
        self._on_heard()

    def _count(self, result: str) -> None:
        DELIVERIES.labels(self._source, self.receiver.name, result).inc()


def dropped(source: str, receiver: Receiver, count: int) -> None:
    """So many things were never told, since a receiver was too far behind."""
    DELIVERIES.labels(source, receiver.name, "dropped").inc(count)
    log.error("notify %s %s: never heard of %d things: it was too far behind", source, receiver.name, count)
