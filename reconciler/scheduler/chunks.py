"""Cuts the steps of a plan into transactions that a store takes. Pure; ``apply`` carries them out in order."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from reconciler.scheduler.steps import Action, DropRollout, Issue, SaveRollout, Step


class Chunks(msgspec.Struct, frozen=True):
    """The transactions that one reading allows. ``is_all``: whether no step waits for a fresh look at health."""

    transactions: tuple[tuple[Step, ...], ...]
    is_all: bool


def operations_of(action: Action) -> int:
    """How many operations of a transaction an action takes: tasks and preparations have two records."""
    return 1 if isinstance(action, SaveRollout | DropRollout) else 2


def split(steps: Sequence[Step], most_operations: int) -> Chunks:
    """As many steps in each transaction as fit, none torn, those of a service in order.

    What rests on health is left for another reading once a transaction has written something of the same service, and
    all of that service after it (rule 8). So where that matters, services begin a new transaction rather than be torn.
    So do hosts where tasks are only started: one that learns of all of them at once looks, works and reports once.
    """
    cut = _Cut(most_operations)
    for block in _blocks(steps):
        cut.take(block)
    cut.close()
    return Chunks(tuple(cut.closed), is_all=not cut.left)


class _Cut:
    """Transactions in the making. ``left``: services of which the rest waits."""

    def __init__(self, most_operations: int) -> None:
        self._most = most_operations
        self._current: list[Step] = []
        self._room = most_operations
        self._written: set[str] = set()
        self.closed: list[tuple[Step, ...]] = []
        self.left: set[str] = set()

    def take(self, block: Sequence[Step]) -> None:
        """Add the next steps, which belong together."""
        if self._room < _size(block) <= self._most:
            self.close()
        for step in block:
            size = _size((step,))
            if size > self._room:
                self.close()
            if step.needs_fresh_health and step.service in self._written:
                self.left.add(step.service)
            if step.service in self.left:
                continue
            self._current.append(step)
            self._room -= size

    def close(self) -> None:
        """Let the next step begin a transaction."""
        if self._current:
            self.closed.append(tuple(self._current))
            self._written |= {step.service for step in self._current}
        self._current, self._room = [], self._most


def _blocks(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """What belongs together: the steps of a service, if one of them rests on health, else each by itself.

    The steps of services that only start tasks, which are legal in any order, are put together by host, after all those
    that store rollouts.
    """
    others = {step.service for step in steps if not _only_starts(step)}
    for may_stop, run in groupby(steps, lambda step: step.service in others):
        if may_stop:
            for _, of_service in groupby(run, lambda step: step.service):
                block = tuple(of_service)
                yield from [block] if any(step.needs_fresh_health for step in block) else _each(block)
        else:
            parts = sorted((part for step in run for part in _rollout_first(step)), key=_host)
            for host, of_host in groupby(parts, _host):
                block = tuple(of_host)
                yield from [block] if host else _each(block)


def _each(steps: Iterable[Step]) -> Iterator[tuple[Step, ...]]:
    return ((step,) for step in steps)


def _rollout_first(step: Step) -> Iterator[Step]:
    """What stores a rollout and what starts tasks of it, apart."""
    saves = tuple(action for action in step.actions if isinstance(action, SaveRollout))
    starts = tuple(action for action in step.actions if not isinstance(action, SaveRollout))
    yield from (msgspec.structs.replace(step, actions=part) for part in (saves, starts) if part)


def _only_starts(step: Step) -> bool:
    return all(isinstance(action, Issue | SaveRollout) for action in step.actions)


def _host(step: Step) -> str:
    first = step.actions[0]
    return first.task.host if isinstance(first, Issue) else ""


def _size(steps: Iterable[Step]) -> int:
    return sum(operations_of(action) for step in steps for action in step.actions)
