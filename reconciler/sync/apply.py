"""Writes a plan: in as few transactions as the store allows, so that no reader ever takes a mix for a revision.

Each transaction is fenced by the lock ``sync/<source>`` and compares and sets the source's mark, whose value changes
every time: a transaction that is late, or that of a holder who lost the lock, fails as a whole. The first of several
marks the source as ``applying``, the last one as ``settled``.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.task import SourceState
from reconciler.store import chunks
from reconciler.store.interface import Check, Committed, Conflict, DeleteIf, Held, Operation, PutIf, Store, Unknown
from reconciler.sync.config_view import View, counts_after, counts_of
from reconciler.sync.late import LatePlan
from reconciler.sync.plan import Change, Create, Delete, Update
from reconciler.sync.source_state import applying

_SPARE_BYTES = 256
"""A mark on the way is a little longer than the last one: it names two revisions."""


class Done(msgspec.Struct, frozen=True):
    """All of it is written; ``commits`` is how many transactions that took (0: it was all there)."""

    commits: int


class Interrupted(msgspec.Struct, frozen=True):
    """Not all of it is written, or nobody can say: look again and plan anew."""

    why: str


Result: TypeAlias = Done | Interrupted


def carry_out(store: Store, fence: Held, view: View, changes: Sequence[Change], goal: SourceState) -> Result:
    """Write ``changes`` and, with the last of them, ``goal``. Writes nothing when all of it is there already."""
    key, old, index = keys.source(view.source), view.own, view.own_index
    if not changes and old is not None and encode(old) == encode(goal):
        return Done(0)
    chunk = old.mark.chunk if old else 0
    groups = [[_operation(change)] for change in changes]
    sizes = [len(encode(state)) for state in (goal, old) if state]
    parts = chunks.split(
        groups, store.limits, spare_operations=2, spare_bytes=max(sizes) + len(key) + len(fence.key) + _SPARE_BYTES
    )
    counts = counts_of(view.mine()) if len(parts) > 1 else goal.mark.counts
    position = 0
    for number, operations in enumerate(parts or [()], 1):
        is_last = number >= len(parts)
        part = changes[position : position + len(operations)]
        position += len(operations)
        counts = counts_after(counts, _keys(part, Create), _keys(part, Delete))
        if is_last:
            state = goal if not changes and old and old.mark == goal.mark else _with_chunk(goal, chunk + number)
        else:
            state = applying(old, goal, chunk + number, counts)
        value = encode(state)
        outcome = store.commit([fence, PutIf(key, value, index), *operations])
        if not isinstance(outcome, Committed):
            return Interrupted(_why(outcome))
        if not is_last:
            entry = store.get(key)
            if entry is None or entry.value != value:
                return Interrupted(f"{key} was changed by somebody else")
            index = entry.index
    return Done(max(1, len(parts)))


def delete_late(store: Store, fence: Held, view: View, late: LatePlan, placement: int) -> Result:
    """Delete retired definitions in a transaction of its own, which fails if anything it rests on has moved.

    ``placement`` is the index of ``state/placement`` before the records were read: no task was issued since. Where it
    does not exist no task ever was (and Consul lets only those who may write a key check that it is not there).
    """
    assert view.own is not None
    own = keys.source(view.source)
    mark = msgspec.structs.replace(view.own.mark, chunk=view.own.mark.chunk + 1, counts=late.after)
    state = msgspec.structs.replace(view.own, mark=mark, retired=dict(late.retired))
    checks = [Check(key, index) for key, index in sorted(view.marks.items()) if key != own]
    if placement:
        checks.append(Check(keys.PLACEMENT, placement))
    deletes = [DeleteIf(delete.key, delete.index) for delete in late.deletes]
    outcome = store.commit([fence, PutIf(own, encode(state), view.own_index), *checks, *deletes])
    return Done(1) if isinstance(outcome, Committed) else Interrupted(_why(outcome))


def room_for_late_deletes(store: Store, view: View) -> int:
    """How many definitions ``delete_late`` can delete at once."""
    return store.limits.operations - len(view.marks) - 3


def _operation(change: Change) -> Operation:
    match change:
        case Create(key, value):
            return PutIf(key, value, 0)
        case Update(key, value, index, _):
            return PutIf(key, value, index)
        case Delete(key, index):
            return DeleteIf(key, index)


def _keys(changes: Sequence[Change], kind: type[Create | Delete]) -> list[str]:
    return [change.key for change in changes if isinstance(change, kind)]


def _with_chunk(goal: SourceState, chunk: int) -> SourceState:
    return msgspec.structs.replace(goal, mark=msgspec.structs.replace(goal.mark, chunk=chunk))


def _why(outcome: Conflict | Unknown) -> str:
    return outcome.why if isinstance(outcome, Conflict) else f"nobody can say whether it was written: {outcome.why}"
