"""What real stores do to their users now and then, decided by a seed: for ``memory:`` in tests and the simulator."""

import random

import msgspec

from reconciler.store.interface import Operation


class Nasty(msgspec.Struct, frozen=True, kw_only=True):
    """Chances (0 to 1), each per call, and the seed that decides."""

    seed: int
    early_wake: float = 0.1
    lost_answer: float = 0.05
    index_back: float = 0.01


class LostAnswer(msgspec.Struct, frozen=True):
    """A commit that answers ``Unknown``: done, or done ``after`` that many later calls, or (None) never."""

    is_applied: bool
    after: int | None


class Trouble:
    """The dice of one connection. Not thread-safe: called under the store's lock."""

    def __init__(self, nasty: Nasty) -> None:
        self._nasty = nasty
        self._rng = random.Random(nasty.seed)  # noqa: S311 - to be replayed, not to be secret
        self._offset = 0
        self._late: list[tuple[int, tuple[Operation, ...]]] = []

    def wakes_early(self) -> bool:
        """Whether a ``wait`` returns now though nothing happened."""
        return self._rng.random() < self._nasty.early_wake

    def loses_answer(self) -> LostAnswer | None:
        """Whether nobody will know of this commit, and what becomes of it."""
        if self._rng.random() >= self._nasty.lost_answer:
            return None
        fate = self._rng.randrange(3)
        return LostAnswer(is_applied=fate == 0, after=self._rng.randrange(1, 6) if fate == 1 else None)

    def postpone(self, calls: int, operations: tuple[Operation, ...]) -> None:
        """Keep a commit whose answer was lost; ``due`` gives it back after that many calls."""
        self._late.append((calls, operations))

    def due(self) -> list[tuple[Operation, ...]]:
        """The lost commits that happen now; called once a call."""
        waiting = [(calls - 1, operations) for calls, operations in self._late]
        self._late = [each for each in waiting if each[0] > 0]
        return [operations for calls, operations in waiting if calls <= 0]

    def shown(self, index: int) -> int:
        """The index that a watcher is shown; now and then smaller than the one before."""
        if self._rng.random() < self._nasty.index_back:
            self._offset = self._rng.randrange(index)
        return index - self._offset

    def real(self, index: int) -> int:
        """What a shown index stands for."""
        return index + self._offset
