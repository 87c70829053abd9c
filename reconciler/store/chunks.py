"""Cuts a long list of operations into commits that a store takes. Used by sync and the scheduler."""

from collections.abc import Sequence

from reconciler.errors import StoreTooLarge
from reconciler.store.commits import size_bytes
from reconciler.store.interface import Check, Held, Limits, Operation


def split(
    groups: Sequence[Sequence[Operation]], limits: Limits, *, spare_operations: int = 0, spare_bytes: int = 0
) -> list[tuple[Operation, ...]]:
    """Commits that hold ``groups`` in order, none of them torn, as few as that allows.

    Each commit leaves room for ``spare_operations`` more of ``spare_bytes`` bytes together (fence, head, mark), and
    writes a key at most once.

    Raises:
        StoreTooLarge: a group does not fit into one commit.
    """
    most, most_bytes = limits.operations - spare_operations, limits.commit_bytes - spare_bytes
    commits: list[tuple[Operation, ...]] = []
    current: list[Operation] = []
    written: set[str] = set()
    used = 0
    for group in groups:
        if not group:
            continue
        size = sum(map(size_bytes, group))
        if len(group) > most or size > most_bytes:
            raise StoreTooLarge(
                f"{group[0].key}: {len(group)} operations of {size} bytes must be written at once; "
                f"the store takes {most} of {most_bytes}",
                hint="Make the object smaller, or split it.",
            )
        keys = {operation.key for operation in group if not isinstance(operation, Check | Held)}
        if len(current) + len(group) > most or used + size > most_bytes or keys & written:
            commits.append(tuple(current))
            current, written, used = [], set(), 0
        current.extend(group)
        written |= keys
        used += size
    if current:
        commits.append(tuple(current))
    return commits
