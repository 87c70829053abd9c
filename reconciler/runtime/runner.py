"""The one way to run a loop: wake, coalesce, pass, retry.

A loop is level-triggered: ``step`` looks at everything that is there now and does what is missing. Wakers (watches,
timers, signals) only say "look again"; any number of wakes while a step runs make one more step. A step that fails is
tried again with backoff; one that succeeds is repeated when it asked to be, when woken, and at the latest after
``resync_s``. Where much happens it rests first, so that one step answers many wakes.
"""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from reconciler.errors import ReconcilerError
from reconciler.runtime import metrics
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock, SystemClock

log = logging.getLogger(__name__)

RESYNC_S = 60.0

Step = Callable[[], float | None]
"""One pass of a loop. Returns in how many seconds it wants to look again at the latest, or None."""


def no_rest(_: float) -> float:
    """For loops that answer each wake at once."""
    return 0.0


class Loop:
    """A named loop in a thread of its own."""

    def __init__(
        self,
        name: str,
        step: Step,
        *,
        resync_s: float = RESYNC_S,
        backoff: Backoff | None = None,
        rest_s: Callable[[float], float] = no_rest,
        clock: Clock | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        """``rest_s``: for how many seconds no wake counts after a step that succeeded and took so many.

        ``on_stop`` runs in the loop's thread after its last step (to release locks).
        """
        self.name = name
        self._step = step
        self._resync_s = resync_s
        self._backoff = backoff or Backoff()
        self._rest_s = rest_s
        self._clock = clock or SystemClock()
        self._on_stop = on_stop
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._last_success: float | None = None
        self._last_error: str | None = None

    def start(self) -> None:
        """Start the thread; the first step begins at once."""
        self._thread.start()

    def wake(self) -> None:
        """Look again soon. Any thread; cheap."""
        self._wake.set()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Finish the step that runs, run ``on_stop``, and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was asked for; long steps look at it between writes."""
        return self._stopping.is_set()

    @property
    def last_error(self) -> str | None:
        """Why the last step failed; None if it did not."""
        return self._last_error

    def age_s(self) -> float | None:
        """Seconds since a step last succeeded; None if none has yet."""
        return None if self._last_success is None else self._clock.monotonic() - self._last_success

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._wake.clear()
            wait_s: float
            rest_s = 0.0
            began = self._clock.monotonic()
            try:
                again_s = self._step()
            except Exception as error:  # a loop outlives whatever one pass runs into
                failures += 1
                wait_s = self._backoff.delay_s(failures, self._rng)
                self._failed(error, failures, wait_s)
            else:
                failures = 0
                self._last_error = None
                self._last_success = self._clock.monotonic()
                wait_s = self._resync_s if again_s is None else max(0.0, min(again_s, self._resync_s))
                rest_s = self._rest_s(self._last_success - began)
            metrics.pass_done(self.name, self._clock.monotonic() - began, failed=failures > 0)
            if failures:
                # a wake must not defeat the backoff
                self._stopping.wait(wait_s)
            else:
                if rest_s:
                    self._stopping.wait(rest_s)
                self._wake.wait(max(0.0, wait_s - rest_s))
        if self._on_stop is not None:
            try:
                self._on_stop()
            except ReconcilerError as error:
                log.warning("%s: stopping: %s", self.name, error.message)

    def _failed(self, error: Exception, failures: int, wait_s: float) -> None:
        if isinstance(error, ReconcilerError):
            if error.message != self._last_error or failures % 20 == 0:
                log.warning("%s: %s; trying again in %.1f s", self.name, error.message, wait_s)
            self._last_error = error.message
        else:
            text = "%s: a pass failed on something unforeseen; trying again in %.1f s"
            log.error(text, self.name, wait_s, exc_info=error)
            self._last_error = f"{type(error).__name__}: {error}"


class Daemon(Protocol):
    """What wiring starts and stops: one of the three loops with all its threads."""

    @property
    def loops(self) -> Sequence[Loop]:
        """The loops inside, for ``/healthz``."""

    def start(self) -> None:
        """Start all threads; returns at once."""

    def stop(self) -> None:
        """Finish the running step, release locks, end all threads."""


class Waker:
    """A thread that blocks on something (a watch) and wakes a loop when it returns."""

    def __init__(self, name: str, wait: Callable[[], bool], loops: Sequence[Loop]) -> None:
        """``wait`` blocks for some seconds at most, returns True when there may be something new, may raise."""
        self._wait = wait
        self._loops = loops
        self._stopping = threading.Event()
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop waking; a call that blocks is left to end by itself."""
        self._stopping.set()

    def _run(self) -> None:
        backoff, failures = Backoff(first_s=0.2, most_s=5.0), 0
        while not self._stopping.is_set():
            try:
                news = self._wait()
            except Exception as error:  # the loop itself will meet and report whatever is wrong
                failures += 1
                log.debug("%s: %s", self._thread.name, error)
                self._stopping.wait(backoff.delay_s(failures, self._rng))
                news = failures == 1
            else:
                failures = 0
            if news and not self._stopping.is_set():
                for loop in self._loops:
                    loop.wake()
