"""How often the agent plans. While much happens each of it is a reason to; ``loop`` would else do nothing but plan."""

from collections.abc import Callable
from typing import Final

from reconciler.runtime.clock import Clock

_RESTS: Final = 3.0
_LEAST_REST_S: Final = 0.01
_MOST_REST_S: Final = 0.2


class Pace:
    """Rests after each pass for some times its duration: not felt with a few tasks, and with hundreds a plan then
    answers many reports.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rest_until = clock.monotonic()

    def step(self, make_pass: Callable[[], float | None]) -> float | None:
        """Make one pass, unless it is time to rest; returns in how many seconds to come again."""
        began = self._clock.monotonic()
        if began < self._rest_until:
            return self._rest_until - began
        again_s = make_pass()
        ended = self._clock.monotonic()
        self._rest_until = ended + max(_LEAST_REST_S, min(_RESTS * (ended - began), _MOST_REST_S))
        return again_s
