"""Whose turn it is among checks that load the machine: a few at once, the urgent first. Pure; ``probes`` asks.

A script inside a container costs its engine about a tenth of a second of processor time. Twenty of them at once take
that from the containers that are being started, which then take several times as long.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from reconciler.runtime.fair_queue import FairQueue

T = TypeVar("T", bound=Hashable)


class Turns(Generic[T]):
    """At most ``most`` run at once. What runs longer than ``counts_s`` counts no more: what hangs keeps nobody out."""

    def __init__(self, most: int, counts_s: float) -> None:
        self._most = most
        self._counts_s = counts_s
        self._waiting: FairQueue[T] = FairQueue()
        self._began: dict[T, float] = {}

    def ask(self, each: T, *, is_urgent: bool) -> None:
        """It wants to run."""
        self._waiting.put(each, is_urgent=is_urgent)

    def take(self, now: float) -> T | None:
        """Who may begin now; None: nobody wants to, or too many run."""
        if not self._waiting or len(self._counting(now)) >= self._most:
            return None
        each = self._waiting.take()
        self._began[each] = now
        return each

    def ended(self, each: T) -> None:
        """It has run."""
        self._began.pop(each, None)

    def next_at(self, now: float) -> float | None:
        """When to ask again though nothing ends; None: not before."""
        counting = self._counting(now)
        return min(counting) + self._counts_s if counting and self._waiting else None

    def _counting(self, now: float) -> list[float]:
        return [began for began in self._began.values() if now < began + self._counts_s]
