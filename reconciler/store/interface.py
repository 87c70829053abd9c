"""What every store promises; ``tests/store_contract`` holds all of them to it.

- Keys are compared as text; a prefix ends with ``/``. Indexes are positive and never used twice in one life of a store;
  they may go *back* when a store is restored, so a smaller one than before means: look at everything anew.
- A commit is all or nothing. It names a key at most once beside checks (``Check``, ``Held``), which look at the state
  before the commit. Writing the value that is there already succeeds and moves no index. ``Unknown`` means it may have
  happened or may still happen: read again.
- Writing or deleting a key with ``Put``, ``PutIf``, ``DeleteIf`` asks nobody who holds it; a write leaves the holder.
  (Consul takes a ``Put`` or ``PutIf`` of the same value to a key that was ever held for a change, once.)
- Reads are consistent: they see every commit that was answered before they began.
- ``wait`` only says "look again". It may return early with nothing new.
- A session ends no sooner than its TTL after the last renewal that succeeded began; how much later is
  ``Limits.session_slack_s``. When it ends, keys that it holds stay, held by nobody.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may carry. Bytes are of raw keys and values."""

    operations: int = 64
    commit_bytes: int = 380_000
    value_bytes: int = 262_144
    session_slack_s: float = 10.0


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A key as it is now. ``index`` is that of its last change; ``holder`` the session that holds it, if any."""

    key: str
    value: bytes
    index: int
    holder: str | None = None


class Listing(msgspec.Struct, frozen=True):
    """All entries under a prefix in key order, and the index to ``wait`` after."""

    entries: tuple[Entry, ...]
    index: int


class Put(msgspec.Struct, frozen=True):
    """Write ``value``, whatever is there. Never used on a lock's key."""

    key: str
    value: bytes


class PutIf(msgspec.Struct, frozen=True):
    """Write ``value`` if the key's index is ``index``; 0: if there is no such key."""

    key: str
    value: bytes
    index: int


class DeleteIf(msgspec.Struct, frozen=True):
    """Delete the key if its index is ``index``; succeeds as well when the key is gone already.

    There is no unconditional delete, and none of a prefix.
    """

    key: str
    index: int


class Check(msgspec.Struct, frozen=True):
    """Nothing is written; the commit fails unless the key's index is ``index`` (0: there is no such key)."""

    key: str
    index: int


class Acquire(msgspec.Struct, frozen=True):
    """Write ``value`` and hold the key by ``session``; fails while another session holds it or this one is gone."""

    key: str
    value: bytes
    session: str


class Release(msgspec.Struct, frozen=True):
    """Write ``value`` and give the key up; fails unless ``session`` holds it."""

    key: str
    value: bytes
    session: str


class Held(msgspec.Struct, frozen=True):
    """The fence: nothing is written; the commit fails unless ``session`` holds the key now."""

    key: str
    session: str


Operation: TypeAlias = Put | PutIf | DeleteIf | Check | Acquire | Release | Held


class Committed(msgspec.Struct, frozen=True, eq=False):
    """All of it was written. ``indexes`` are those of keys after it, as far as the store says them: read the others."""

    indexes: Mapping[str, int] = {}

    def __eq__(self, other: object) -> bool:
        """All are equal: what was written is what was asked for."""
        return isinstance(other, Committed)

    def __hash__(self) -> int:
        return hash(Committed)


class Conflict(msgspec.Struct, frozen=True):
    """None of it was written: a condition did not hold. ``why`` names the key."""

    why: str


class Unknown(msgspec.Struct, frozen=True):
    """Nobody can say whether it was written, or will be. Read again and plan anew."""

    why: str


CommitResult: TypeAlias = Committed | Conflict | Unknown


class Session(Protocol):
    """A sign of life. Locks and host records are held by sessions."""

    @property
    def id(self) -> str:
        """What ``Entry.holder`` shows."""

    @property
    def ttl_s(self) -> float:
        """How long it lives after a renewal, at least."""

    def renew(self) -> bool:
        """Prolong it. False: it is gone for good. Raises StoreError when nobody can say."""

    def close(self) -> None:
        """End it at once and give up what it holds. Never raises; a session that can't be ended expires."""


class Store(Protocol):
    """One store under one root. Safe to use from several threads.

    Every method raises a ``StoreError``: ``StoreUnreachable``, ``StoreNoLeader``, ``StoreDenied``, ``StoreTooLarge``.
    """

    @property
    def url(self) -> str:
        """Where it is, for people; holds no secret."""

    @property
    def limits(self) -> Limits:
        """What one request may carry."""

    def get(self, key: str) -> Entry | None:
        """The key as it is now, or None if there is certainly no such key. A denied read raises StoreDenied."""

    def list(self, prefix: str) -> Listing:
        """Everything under a prefix as it is now. A token without rights may be shown less than there is (Consul)."""

    def get_all(self, names: Sequence[str]) -> Mapping[str, Entry]:
        """What ``get`` says of each key, and ``list`` of each prefix, in one request where the store has one for that.

        They are read in this order, or all at one moment.
        """

    def list_again(self, prefix: str, known: Listing) -> Listing:
        """As ``list``, but what is still as in ``known`` need not cross the network again.

        Each entry is as it was at some moment since this call began, not all of them at the same one. ``known`` is an
        earlier listing of this prefix, with or without one's own commits since (``kept``).
        """

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        """Carry out all operations at once, or none."""

    def wait(self, prefix: str, after: int, timeout_s: float) -> int:
        """Block until something under ``prefix`` (or the one key) may have changed since index ``after``.

        Returns the index to wait after next time; 0 when the store's index went back. ``after=0`` returns at once.
        """

    def open_session(self, name: str, ttl_s: float) -> Session:
        """A new session. ``name`` is for people who look at the store."""

    def resume_session(self, session_id: str, name: str, ttl_s: float) -> Session | None:
        """The session of an earlier process that is still alive, to go on with; None if it is gone."""

    def close(self) -> None:
        """Let go of connections; calls that are blocked in ``wait`` return or raise."""
