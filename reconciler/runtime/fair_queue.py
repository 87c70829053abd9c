"""A queue where the urgent come first, but keep nobody waiting for ever. Pure; not thread-safe."""

import collections
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_URGENT_IN_A_ROW: Final = 3


class FairQueue(Generic[T]):
    """Each kind in the order given; after three of the urgent that went before others, one of those has its turn.

    So a quarter of the turns is left to what is not urgent, and three quarters to what is, however many of the other
    kind there are.
    """

    def __init__(self) -> None:
        self._urgent: collections.deque[T] = collections.deque()
        self._others: collections.deque[T] = collections.deque()
        self._passed_over = 0
        """How many of the urgent have gone before what waits."""

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def put(self, each: T, *, is_urgent: bool) -> None:
        """It waits from now on."""
        (self._urgent if is_urgent else self._others).append(each)

    def take(self) -> T:
        """Whose turn it is, which waits no more. Raises IndexError when nobody waits."""
        if self._urgent and (not self._others or self._passed_over < _URGENT_IN_A_ROW):
            self._passed_over += bool(self._others)
            return self._urgent.popleft()
        self._passed_over = 0
        return self._others.popleft()

    def clear(self) -> None:
        """Nobody waits any more."""
        self._urgent.clear()
        self._others.clear()
