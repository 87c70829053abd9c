"""Writes a plan: in as few transactions as the store allows, so that no reader ever takes a mix for a revision.

Each transaction is fenced by the lock ``sync/<source>`` and compares and sets the source's mark, whose value changes
every time: a transaction that is late, or that of a holder who lost the lock, fails as a whole. The first of several
marks the source as ``applying``, the last one as ``settled``. Each writes ``config/.moved`` too, for those who decide
from what all sources declare. A change takes with it, in its transaction, what it ends of what operators said by hand.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.moved import Moved, to_compare
from reconciler.model.source_state import SourceState
from reconciler.runtime.ids import new_id
from reconciler.store import chunks
from reconciler.store.interface import Check, Committed, Conflict, DeleteIf, Held, Operation, Put, PutIf, Store, Unknown
from reconciler.sync.adoption import Handover
from reconciler.sync.config_view import View, counts_after, counts_of
from reconciler.sync.late import LatePlan
from reconciler.sync.overridden import Ending
from reconciler.sync.plan import Change, Create, Delete, Update
from reconciler.sync.source_state import applying

_SPARE_BYTES = 512
"""A mark on the way is a little longer than the last one: it names two revisions; and which source moved."""


class Done(msgspec.Struct, frozen=True):
    """All of it is written; ``commits`` is how many transactions that took (0: it was all there)."""

    commits: int


class Interrupted(msgspec.Struct, frozen=True):
    """Not all of it is written, or nobody can say: look again and plan anew."""

    why: str


Result: TypeAlias = Done | Interrupted


class _Origins:
    """The marks of the sources that objects are taken from, from one transaction to the next."""

    def __init__(self, view: View, handover: Handover | None) -> None:
        self._handover = handover
        self._names = tuple(filter(None, handover.adoption.origins)) if handover else ()
        self._states = {name: view.sources.get(name) for name in self._names}
        self._indexes = {name: view.marks.get(keys.source(name), 0) for name in self._names}
        self._written: dict[str, bytes] = {}

    @property
    def spare_bytes(self) -> int:
        """How much room their marks take at most."""
        states = [each for each in self._states.values() if each]
        return sum(len(encode(each)) + len(keys.source(each.source)) for each in states)

    @property
    def spare_operations(self) -> int:
        """How many operations their marks take at most."""
        return len(self._names)

    def operations(self, written: Iterable[str], *, is_last: bool) -> list[Operation]:
        """What belongs to a transaction that writes these keys."""
        handover, operations = self._handover, list[Operation]()
        if handover is None:
            return operations
        taken = [key for key in written if key in handover.taken]
        self._written = {}
        for name in self._names:
            mine = [key for key in taken if handover.taken[key] == name]
            is_over = is_last and name in handover.emptied
            state, key = self._states[name], keys.source(name)
            if not mine and not is_over:
                continue
            if state is None:
                operations.append(Check(key, 0))
                continue
            self._states[name] = state = _without(state, mine)
            if is_over:
                operations.append(DeleteIf(key, self._indexes[name]))
            else:
                self._written[key] = encode(state)
                operations.append(PutIf(key, self._written[key], self._indexes[name]))
        return operations

    @property
    def written(self) -> Mapping[str, bytes]:
        """The marks that the last transaction wrote, by key."""
        return self._written

    def moved(self, key: str, index: int) -> None:
        """A mark that was written has this index now."""
        self._indexes[key.removeprefix(keys.SOURCES)] = index


def carry_out(
    store: Store,
    fence: Held,
    view: View,
    changes: Sequence[Change],
    goal: SourceState,
    handover: Handover | None = None,
    ends: Mapping[str, Ending] | None = None,
) -> Result:
    """Write ``changes`` and, with the last of them, ``goal``. Writes nothing when all of it is there already.

    ``handover``: which of the changes take over what is another source's; its mark changes with each of them.
    ``ends``: by the key of a change, what operators said and it ends.
    """
    key, old, index = keys.source(view.source), view.own, view.own_index
    if not changes and old is not None and encode(old) == encode(goal) and view.moved:
        return Done(0)
    chunk = old.mark.chunk if old else 0
    ends = ends or {}
    groups = [[_operation(change), *_ended(ends.get(change.key))] for change in changes]
    sizes = [len(encode(state)) for state in (goal, old) if state]
    origins = _Origins(view, handover)
    taken = handover.taken if handover else {}
    parts = chunks.split(
        groups,
        store.limits,
        spare_operations=3 + origins.spare_operations,  # fence, mark, and which source moved
        spare_bytes=max(sizes) + len(key) + len(fence.key) + _SPARE_BYTES + origins.spare_bytes,
    )
    counts = counts_of(view.mine()) if len(parts) > 1 else goal.mark.counts
    position = 0
    for number, operations in enumerate(parts or [()], 1):
        is_last = number >= len(parts)
        part = changes[position : position + sum(each.key.startswith(keys.CONFIG) for each in operations)]
        position += len(part)
        gained = [change.key for change in part if isinstance(change, Create) or change.key in taken]
        counts = counts_after(counts, gained, [change.key for change in part if isinstance(change, Delete)])
        if is_last:
            state = goal if not changes and old and old.mark == goal.mark else _with_chunk(goal, chunk + number)
        else:
            state = applying(old, goal, chunk + number, counts)
        value = encode(state)
        marks = origins.operations((change.key for change in part), is_last=is_last)
        moves = operations or _is_told(old) != _is_told(state) or not view.moved
        moved = [Put(keys.MOVED, _moved(view.source))] if moves else []
        outcome = store.commit([fence, PutIf(key, value, index), *moved, *marks, *operations])
        if not isinstance(outcome, Committed):
            return Interrupted(_why(outcome))
        if not is_last:
            for written, what in ((key, value), *origins.written.items()):
                now = outcome.indexes.get(written) or _index(store, written, what)
                if not now:
                    return Interrupted(f"{written} was changed by somebody else")
                if written == key:
                    index = now
                else:
                    origins.moved(written, now)
    return Done(max(1, len(parts)))


def delete_late(store: Store, fence: Held, view: View, late: LatePlan, placement: int) -> Result:
    """Delete retired definitions in a transaction of its own, which fails if anything it rests on has moved.

    ``placement`` is the index of ``state/placement`` before the records were read: no task was issued since. Where it
    does not exist no task ever was (and Consul lets only those who may write a key check that it is not there).
    """
    assert view.own is not None
    own = keys.source(view.source)
    mark = msgspec.structs.replace(view.own.mark, chunk=view.own.mark.chunk + 1, counts=late.after, told=True)
    state = msgspec.structs.replace(view.own, mark=mark, retired=dict(late.retired))
    checks = [Check(key, index) for key, index in _others(view).items()]
    if placement:
        checks.append(Check(keys.PLACEMENT, placement))
    deletes = [DeleteIf(delete.key, delete.index) for delete in late.deletes]
    moved = PutIf(keys.MOVED, _moved(view.source), view.moved) if view.moved else Put(keys.MOVED, _moved(view.source))
    outcome = store.commit([fence, PutIf(own, encode(state), view.own_index), moved, *checks, *deletes])
    return Done(1) if isinstance(outcome, Committed) else Interrupted(_why(outcome))


def room_for_late_deletes(store: Store, view: View) -> int:
    """How many definitions ``delete_late`` can delete at once."""
    return store.limits.operations - len(_others(view)) - 4  # fence, mark, which source moved, placement


def _others(view: View) -> dict[str, int]:
    """What proves, beside ``config/.moved`` and the own mark, that no source has moved."""
    compared = to_compare(view.marks, view.sources, view.moved)
    return {key: index for key, index in sorted(compared.items()) if key not in {keys.MOVED, keys.source(view.source)}}


def _is_told(state: SourceState | None) -> tuple[bool, bool] | None:
    """What others know of a source beside its objects."""
    return (state.mark.settled, state.mark.told) if state else None


def _moved(source: str) -> bytes:
    return encode(Moved(source=source, id=new_id()))


def _index(store: Store, key: str, value: bytes) -> int:
    """The index of a key that was just written; 0: it is another one's by now."""
    entry = store.get(key)
    return entry.index if entry is not None and entry.value == value else 0


def _operation(change: Change) -> Operation:
    match change:
        case Create(key, value):
            return PutIf(key, value, 0)
        case Update(key, value, index, _):
            return PutIf(key, value, index)
        case Delete(key, index):
            return DeleteIf(key, index)


def _ended(ending: Ending | None) -> list[Operation]:
    if ending is None:
        return []
    if ending.value is None:
        return [DeleteIf(ending.key, ending.index)]
    return [PutIf(ending.key, ending.value, ending.index)]


def _with_chunk(goal: SourceState, chunk: int) -> SourceState:
    return msgspec.structs.replace(goal, mark=msgspec.structs.replace(goal.mark, chunk=chunk))


def _without(state: SourceState, taken: Collection[str]) -> SourceState:
    """The record of a source once another one has taken some of its objects."""
    names = {key.removeprefix(keys.TASK_DEFINITIONS) for key in taken}
    mark = msgspec.structs.replace(
        state.mark, chunk=state.mark.chunk + 1, counts=counts_after(state.mark.counts, (), taken)
    )
    retired = {name: since for name, since in state.retired.items() if name not in names}
    return msgspec.structs.replace(state, mark=mark, retired=retired)


def _why(outcome: Conflict | Unknown) -> str:
    return outcome.why if isinstance(outcome, Conflict) else f"nobody can say whether it was written: {outcome.why}"
