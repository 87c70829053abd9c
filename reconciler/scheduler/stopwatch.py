"""For how long things have been as they are, by the observer's own monotonic clock (rule 16).

Kept by the observer between readings; a new scheduler begins anew, which only ever makes it wait longer.
"""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Stopwatch(Generic[K]):
    """One watch for each key that was in every reading since it began."""

    def __init__(self) -> None:
        self._since: dict[K, float] = {}

    def read(self, keys: Iterable[K], now: float) -> dict[K, float]:
        """Seconds for each of ``keys`` since it first was among them without a break; others are forgotten."""
        self._since = {key: self._since.get(key, now) for key in keys}
        return {key: now - since for key, since in self._since.items()}
