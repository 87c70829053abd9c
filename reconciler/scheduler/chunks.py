"""Cuts the steps of a plan into transactions that a store takes. Pure; ``apply`` carries them out in order."""

from collections.abc import Sequence

from reconciler.scheduler.steps import Action, DropRollout, SaveRollout, Step


def operations_of(action: Action) -> int:
    """How many operations of a transaction an action takes: tasks and preparations have two records."""
    return 1 if isinstance(action, SaveRollout | DropRollout) else 2


def split(steps: Sequence[Step], most_operations: int) -> list[tuple[Step, ...]]:
    """The steps in order, none torn, as many in each transaction as fit."""
    chunks: list[tuple[Step, ...]] = []
    current: list[Step] = []
    used = 0
    for step in steps:
        size = sum(map(operations_of, step.actions))
        if current and used + size > most_operations:
            chunks.append(tuple(current))
            current, used = [], 0
        current.append(step)
        used += size
    if current:
        chunks.append(tuple(current))
    return chunks
