"""What a commit changes, decided in one place for the stores that carry commits out themselves (memory, SQLite).

Pure: given how the keys are now and which sessions live, it returns the changes or the conflict. Consul decides by
itself; the contract suite proves that the answers are the same.
"""

from collections.abc import Callable, Sequence

import msgspec

from reconciler.store.interface import (
    Acquire,
    Check,
    Conflict,
    DeleteIf,
    Entry,
    Held,
    Operation,
    Put,
    PutIf,
    Release,
)


class Change(msgspec.Struct, frozen=True):
    """How a key is after the commit; no value: it is gone."""

    key: str
    value: bytes | None
    holder: str | None = None


def decide(
    operations: Sequence[Operation], lookup: Callable[[str], Entry | None], is_alive: Callable[[str], bool]
) -> list[Change] | Conflict:
    """The changes that ``operations`` come to, each key at most once and without those that change nothing."""
    changes: list[Change] = []
    for operation in operations:
        now = lookup(operation.key)
        outcome = _change(operation, now, is_alive)
        if isinstance(outcome, Conflict):
            return outcome
        if outcome is not None and not _is_same(now, outcome):
            changes.append(outcome)
    return changes


def _change(operation: Operation, now: Entry | None, is_alive: Callable[[str], bool]) -> Change | Conflict | None:
    key, holder = operation.key, now.holder if now else None
    match operation:
        case Put(value=value):
            return Change(key, value, holder)
        case PutIf(value=value, index=index):
            return _stale(key, now, index) or Change(key, value, holder)
        case DeleteIf(index=index):
            return (_stale(key, now, index) if now else None) or Change(key, None)
        case Check(index=index):
            return _stale(key, now, index)
        case Acquire(value=value, session=session):
            if not is_alive(session):
                return Conflict(f"{key}: session {session} is gone")
            if holder not in (None, session):
                return Conflict(f"{key} is held by session {holder}")
            return Change(key, value, session)
        case Release(value=value, session=session):
            return _not_held(key, holder, session) or Change(key, value)
        case Held(session=session):
            return _not_held(key, holder, session)


def _stale(key: str, now: Entry | None, index: int) -> Conflict | None:
    there = now.index if now else 0
    if there == index:
        return None
    if not there:
        return Conflict(f"{key} is gone (it was expected at index {index})")
    return Conflict(f"{key} is at index {there}" + (f", not {index}" if index else ", though it should not exist"))


def _not_held(key: str, holder: str | None, session: str) -> Conflict | None:
    if holder == session:
        return None
    return Conflict(f"{key} is held by {f'session {holder}' if holder else 'nobody'}, not by session {session}")


def _is_same(now: Entry | None, change: Change) -> bool:
    if now is None:
        return change.value is None
    return now.value == change.value and now.holder == change.holder
