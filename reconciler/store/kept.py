"""What was read once and need not be read again: a listing that follows one's own commits; several keys in one go.

``KeptListing`` is how a scheduler that writes thousands of tasks avoids reading thousands after each transaction.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from reconciler.store.interface import (
    CommitResult,
    Committed,
    DeleteIf,
    Entry,
    Listing,
    Operation,
    Put,
    PutIf,
    Store,
)

KEPT_S: Final = 60.0
"""For less than the 15 minutes after which Consul forgets deletions, and with them that there was a change."""


class _Reader(Protocol):
    def get(self, key: str) -> Entry | None: ...
    def list(self, prefix: str) -> Listing: ...


def one_by_one(store: _Reader, names: Sequence[str]) -> Mapping[str, Entry]:
    """``Store.get_all`` for stores that are asked at no cost."""
    found: dict[str, Entry] = {}
    for name in names:
        entries = store.list(name).entries if name.endswith("/") else (store.get(name),)
        found |= {entry.key: entry for entry in entries if entry is not None}
    return found


class KeptListing:
    """Everything under one prefix. Not thread-safe: one loop reads, commits and reads again.

    Whoever writes under the prefix also writes a *witness*, by compare-and-set: for the tasks of a cluster that is its
    head (rule 1), and for each placement ``state/placement``. So as long as every witness is as it was, or as one's own
    commit left it, nobody else has written, and one's own commits say what is there now. A writer without that
    discipline, a person say, is noticed as well, but for a write that falls between a reading and one's own next
    commit: that is seen after ``KEPT_S`` at the latest.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._entries: dict[str, Entry] | None = None
        self._index = 0
        self._read_at = 0.0
        self._witnesses: dict[str, int] = {}

    def read(self, witnesses: Mapping[str, int]) -> tuple[Entry, ...]:
        """All entries now, in key order. ``witnesses``: indexes that were read before. Raises StoreError."""
        began = time.monotonic()
        known, entries = None, self._entries
        if entries is not None and witnesses == self._witnesses and began < self._read_at + KEPT_S:
            known = Listing(tuple(entries[key] for key in sorted(entries)), self._index)
            listing = self._store.list_again(self._prefix, known)
        else:
            listing = self._store.list(self._prefix)
        if listing is not known:
            self._entries = {entry.key: entry for entry in listing.entries}
            self._index, self._witnesses = listing.index, dict(witnesses)
        if known is None:
            self._read_at = began
        return listing.entries

    def note(self, operations: Sequence[Operation], outcome: CommitResult) -> None:
        """Take in a commit of one's own. What can't be followed is forgotten, and read anew."""
        entries, self._entries = self._entries, None
        if entries is None or not isinstance(outcome, Committed):
            return
        is_touched = False
        for operation in operations:
            key, index = operation.key, outcome.indexes.get(operation.key, 0)
            if key in self._witnesses:
                if not isinstance(operation, PutIf) or operation.index != self._witnesses[key] or not index:
                    return
                self._witnesses[key] = index
            elif not key.startswith(self._prefix):
                continue
            elif isinstance(operation, Put | PutIf) and index:
                before = entries.get(key)
                entries[key] = Entry(key, operation.value, index, before.holder if before else None)
                is_touched = True
            elif isinstance(operation, DeleteIf):
                entries.pop(key, None)
                is_touched = True
            else:
                return
        if is_touched:
            self._index = max(outcome.indexes.values(), default=0)
        self._entries = entries
