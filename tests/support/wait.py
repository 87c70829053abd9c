"""Wait for a condition instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


MOST_S = 0.2
"""The rarest look: other tests need the processor too."""


def wait_until(condition: Callable[[], T], *, timeout_s: float = 20.0, what: str = "", every_s: float = 0.02) -> T:
    """The first true value of ``condition``; fails the test with ``what`` and the last value when there is none.

    It looks every ``every_s`` seconds at first, more rarely the longer it takes.
    """
    began = time.monotonic()
    deadline = began + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}; last: {value!r}")
        time.sleep(max(every_s, min(MOST_S, (time.monotonic() - began) / 20)))
