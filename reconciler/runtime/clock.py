"""Where time comes from. Whoever needs it is given a ``Clock``, so that tests and the simulator can own it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Durations are measured on ``monotonic``; ``wall`` is for display and never compared between machines."""

    def monotonic(self) -> float:
        """Seconds on this process's own clock."""

    def wall(self) -> float:
        """Seconds since 1970."""


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()
