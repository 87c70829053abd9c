"""How often the agent looks, plans and publishes. ``loop`` would else do nothing but plan while much happens.

What comes after a while of nothing is answered at once. What follows is answered together, after a rest that depends on
how long the last answer took: hardly felt where there is little to do, and where others keep the store, the engine or
this machine busy, one answer serves many changes.
"""

from collections.abc import Callable
from typing import Final

from reconciler.runtime.clock import Clock

_RESTS: Final = 3.0
_LEAST_REST_S: Final = 0.02
_MOST_REST_S: Final = 0.2


class Rest:
    """``times`` as long as the last turn took, ``least_s`` at least and ``most_s`` at most."""

    def __init__(self, clock: Clock, *, times: float, least_s: float, most_s: float) -> None:
        self._clock = clock
        self._times = times
        self._least_s = min(least_s, most_s)
        self._most_s = most_s
        self.until = clock.monotonic()
        """When (monotonic) it is over."""

    @property
    def left_s(self) -> float:
        """How long it still takes; 0: it is over."""
        return max(0.0, self.until - self._clock.monotonic())

    def begin(self, took_s: float) -> None:
        """After a turn that took so long."""
        self.until = self._clock.monotonic() + max(self._least_s, min(self._times * took_s, self._most_s))


class Pace:
    """Rests after each pass for some times its duration: not felt with a few tasks, and with hundreds a plan then
    answers many reports.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rest = Rest(clock, times=_RESTS, least_s=_LEAST_REST_S, most_s=_MOST_REST_S)

    def step(self, make_pass: Callable[[], float | None]) -> float | None:
        """Make one pass, unless it is time to rest; returns in how many seconds to come again."""
        if left_s := self._rest.left_s:
            return left_s
        began = self._clock.monotonic()
        again_s = make_pass()
        self._rest.begin(self._clock.monotonic() - began)
        return again_s
