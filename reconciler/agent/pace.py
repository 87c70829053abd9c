"""How often the agent looks, plans and publishes. ``loop`` would else do nothing but plan while much happens.

What comes after a while of nothing is answered at once. What follows is answered together, after a rest that depends on
how long the last answer took: hardly felt where there is little to do, and where others keep the store, the engine or
this machine busy, one answer serves many changes.
"""

from typing import Final

from reconciler.runtime.clock import Clock

_RESTS: Final = 3.0
_LEAST_PLAN_REST_S: Final = 0.02
_MOST_PLAN_REST_S: Final = 0.2
_LEAST_LOOK_REST_S: Final = 0.1
_MOST_LOOK_REST_S: Final = 0.5


def after_a_plan_s(took_s: float) -> float:
    """How long to rest from planning: not felt with a few tasks, and with hundreds a plan then answers many reports."""
    return max(_LEAST_PLAN_REST_S, min(_RESTS * took_s, _MOST_PLAN_REST_S))


def after_a_look_s(took_s: float) -> float:
    """How long not to look at an executor again: while many tasks start, each of them is a reason to."""
    return max(_LEAST_LOOK_REST_S, min(_RESTS * took_s, _MOST_LOOK_REST_S))


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
