"""Whose turn it is among checks that load the machine: a few at once, the urgent first. Pure; ``probes`` asks.

A script inside a container costs its engine about a tenth of a second of processor time. Twenty of them at once take
that from the containers that are being started, which then take several times as long.
"""

import collections
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Turns(Generic[T]):
    """At most ``most`` run at once. What runs longer than ``counts_s`` counts no more: what hangs keeps nobody out."""

    def __init__(self, most: int, counts_s: float) -> None:
        self._most = most
        self._counts_s = counts_s
        self._urgent: collections.deque[T] = collections.deque()
        self._others: collections.deque[T] = collections.deque()
        self._began: dict[T, float] = {}

    def ask(self, each: T, *, is_urgent: bool) -> None:
        """It wants to run."""
        (self._urgent if is_urgent else self._others).append(each)

    def take(self, now: float) -> T | None:
        """Who may begin now; None: nobody wants to, or too many run."""
        queue = self._urgent or self._others
        if not queue or len(self._counting(now)) >= self._most:
            return None
        each = queue.popleft()
        self._began[each] = now
        return each

    def ended(self, each: T) -> None:
        """It has run."""
        self._began.pop(each, None)

    def next_at(self, now: float) -> float | None:
        """When to ask again though nothing ends; None: not before."""
        counting = self._counting(now)
        return min(counting) + self._counts_s if counting and (self._urgent or self._others) else None

    def _counting(self, now: float) -> list[float]:
        return [began for began in self._began.values() if now < began + self._counts_s]
