"""``memory:``, the store of tests and the simulator: as strict as the real ones, and as nasty when asked (``Nasty``).

A ``MemorySpace`` is what is stored; each ``MemoryStore`` is one process's connection to it. Time is the ``Clock``
given, so a session expires when the test says so.
"""

import threading
from collections.abc import Mapping, Sequence

import msgspec

from reconciler.errors import StoreUnreachable
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.runtime.ids import new_id
from reconciler.store.commits import check_commit, check_key, check_prefix
from reconciler.store.effects import Change, decide
from reconciler.store.interface import (
    CommitResult,
    Committed,
    Conflict,
    Entry,
    Limits,
    Listing,
    Operation,
    Session,
    Unknown,
)
from reconciler.store.kept import one_by_one
from reconciler.store.nasty import Nasty, Trouble

GLANCE_S = 0.05
"""How often a blocked ``wait`` looks at a clock that is not the machine's, and for sessions that ended."""

LOG_LENGTH = 10_000
"""How many changed keys are remembered; a wait from before the oldest one returns at once."""


class _Lease(msgspec.Struct):
    name: str
    ttl_s: float
    expires_at: float


class Snapshot(msgspec.Struct, frozen=True):
    """A copy of a space, as ``consul snapshot save`` makes one."""

    entries: dict[str, Entry]
    index: int


class MemorySpace:
    """The stored keys and sessions that any number of ``MemoryStore`` share."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.changed = threading.Condition(threading.RLock())
        self.index = 1
        self.entries: dict[str, Entry] = {}
        self.log: dict[str, int] = {}
        self.forgotten_index = 0
        self.leases: dict[str, _Lease] = {}

    def snapshot(self) -> Snapshot:
        """What is stored now (no sessions)."""
        with self.changed:
            return Snapshot(dict(self.entries), self.index)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to ``snapshot``: later commits are lost, indexes go back, sessions are gone."""
        with self.changed:
            self.entries = {key: Entry(key, old.value, old.index) for key, old in snapshot.entries.items()}
            self.index = snapshot.index
            self.log.clear()
            self.forgotten_index = snapshot.index
            self.leases.clear()
            self.changed.notify_all()

    def expire(self) -> None:
        """End the sessions whose time is over; called under the lock before anything is read or written."""
        now = self.clock.monotonic()
        for session_id in [each for each, lease in self.leases.items() if lease.expires_at <= now]:
            self.end_session(session_id)

    def end_session(self, session_id: str) -> None:
        """Drop a session and what it holds; under the lock."""
        if self.leases.pop(session_id, None) is None:
            return
        held = [entry for entry in self.entries.values() if entry.holder == session_id]
        self.write([Change(entry.key, entry.value) for entry in held])

    def write(self, changes: Sequence[Change]) -> None:
        """Carry out changes as one step of the index; under the lock."""
        if not changes:
            return
        self.index += 1
        for change in changes:
            if change.value is None:
                self.entries.pop(change.key, None)
            else:
                self.entries[change.key] = Entry(change.key, change.value, self.index, change.holder)
            self.log.pop(change.key, None)
            self.log[change.key] = self.index
        while len(self.log) > LOG_LENGTH:
            self.forgotten_index = self.log.pop(next(iter(self.log)))
        self.changed.notify_all()

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        """Decide and write; under the lock."""
        outcome = decide(operations, self.entries.get, self.leases.__contains__)
        if isinstance(outcome, Conflict):
            return outcome
        self.write(outcome)
        return Committed()

    def changed_since(self, prefix: str, after: int) -> bool:
        """Whether anything under ``prefix`` (or that key) changed after an index; under the lock."""
        for key, index in reversed(self.log.items()):
            if index <= after:
                return False
            if key == prefix or ((not prefix or prefix.endswith("/")) and key.startswith(prefix)):
                return True
        return after < self.forgotten_index


class MemoryStore:
    """One connection to a ``MemorySpace``; the whole ``Store`` contract."""

    def __init__(
        self, space: MemorySpace | None = None, *, clock: Clock | None = None, nasty: Nasty | None = None
    ) -> None:
        self.space = space or MemorySpace(clock)
        self._trouble = Trouble(nasty) if nasty else None
        self._closed = False

    @property
    def url(self) -> str:
        return "memory:"

    @property
    def limits(self) -> Limits:
        return Limits(session_slack_s=2 * GLANCE_S)

    def get(self, key: str) -> Entry | None:
        check_key(key)
        with self.space.changed:
            self._enter()
            return self.space.entries.get(key)

    def list(self, prefix: str) -> Listing:
        check_prefix(prefix)
        with self.space.changed:
            self._enter()
            found = sorted(key for key in self.space.entries if key.startswith(prefix))
            return Listing(tuple(self.space.entries[key] for key in found), self._shown(self.space.index))

    def get_all(self, names: Sequence[str]) -> Mapping[str, Entry]:
        return one_by_one(self, names)

    def list_again(self, prefix: str, known: Listing) -> Listing:  # noqa: ARG002 - as every store's
        return self.list(prefix)

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        check_commit(operations, self.limits)
        with self.space.changed:
            self._enter()
            if self._trouble and (late := self._trouble.loses_answer()):
                if late.is_applied:
                    self.space.commit(operations)
                elif late.after is not None:
                    self._trouble.postpone(late.after, tuple(operations))
                return Unknown("the answer was lost (injected)")
            return self.space.commit(operations)

    def wait(self, prefix: str, after: int, timeout_s: float) -> int:
        check_key(prefix) if prefix and not prefix.endswith("/") else check_prefix(prefix)
        clock, space = self.space.clock, self.space
        deadline = clock.monotonic() + timeout_s
        with space.changed:
            while True:
                self._enter()
                now = self._shown(space.index)
                if after < 1 or now < after:
                    return 0 if now < after else now
                if space.changed_since(prefix, self._real(after)) or (self._trouble and self._trouble.wakes_early()):
                    return now
                left_s = deadline - clock.monotonic()
                if left_s <= 0:
                    return now
                space.changed.wait(min(left_s, GLANCE_S))

    def open_session(self, name: str, ttl_s: float) -> Session:
        with self.space.changed:
            self._enter()
            session_id = new_id()
            self.space.leases[session_id] = _Lease(name, ttl_s, self.space.clock.monotonic() + ttl_s)
            return _MemorySession(self, session_id, ttl_s)

    def resume_session(self, session_id: str, name: str, ttl_s: float) -> Session | None:
        with self.space.changed:
            self._enter()
            if not self.renew(session_id, ttl_s):
                return None
            self.space.leases[session_id].name = name
            return _MemorySession(self, session_id, ttl_s)

    def close(self) -> None:
        with self.space.changed:
            self._closed = True
            self.space.changed.notify_all()

    def renew(self, session_id: str, ttl_s: float) -> bool:
        """Prolong a session (for ``Session``)."""
        with self.space.changed:
            self._enter()
            lease = self.space.leases.get(session_id)
            if lease is None:
                return False
            lease.ttl_s, lease.expires_at = ttl_s, self.space.clock.monotonic() + ttl_s
            return True

    def _enter(self) -> None:
        if self._closed:
            raise StoreUnreachable("memory: the store is closed")
        self.space.expire()
        if self._trouble:
            for operations in self._trouble.due():
                self.space.commit(operations)

    def _shown(self, index: int) -> int:
        return self._trouble.shown(index) if self._trouble else index

    def _real(self, index: int) -> int:
        return self._trouble.real(index) if self._trouble else index


class _MemorySession:
    def __init__(self, store: MemoryStore, session_id: str, ttl_s: float) -> None:
        self._store = store
        self._id = session_id
        self._ttl_s = ttl_s

    @property
    def id(self) -> str:
        return self._id

    @property
    def ttl_s(self) -> float:
        return self._ttl_s

    def renew(self) -> bool:
        return self._store.renew(self._id, self._ttl_s)

    def close(self) -> None:
        with self._store.space.changed:
            self._store.space.end_session(self._id)
