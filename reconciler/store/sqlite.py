"""``sqlite:///path``, the embedded store: one file, several processes on one machine (``dev``, demo, small sites).

Sessions are measured on the machine's boot clock, so neither a reboot nor a stepped wall clock revives or kills one.
Blocked ``wait`` calls share one thread that looks at SQLite's ``data_version`` every few milliseconds.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from reconciler.errors import StoreError, StoreUnreachable
from reconciler.runtime.ids import new_id
from reconciler.store.boot import boot_id, boot_seconds
from reconciler.store.commits import AnswerLost, check_commit, check_key, check_prefix
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
from reconciler.store.sqlite_file import Connection, SqliteFile
from reconciler.store.sqlite_watch import SqliteWatch

log = logging.getLogger(__name__)

LOG_LENGTH = 10_000
"""How many changed keys are remembered; a wait from before the oldest one returns at once."""


class SqliteStore:
    """A connection to the file; the whole ``Store`` contract."""

    def __init__(self, path: Path) -> None:
        """Open or create the file (see ``SqliteFile``)."""
        self._file = SqliteFile(path)
        self._boot = boot_id()
        self._watch = SqliteWatch(self._file, self._end_expired)

    @property
    def url(self) -> str:
        return f"sqlite://{quote(str(self._file.path))}"

    @property
    def limits(self) -> Limits:
        return Limits(session_slack_s=1.0)

    def get(self, key: str) -> Entry | None:
        check_key(key)
        self._end_expired()
        with self._file.read() as connection:
            return _lookup(connection, key)

    def list(self, prefix: str) -> Listing:
        check_prefix(prefix)
        self._end_expired()
        query = "SELECT key, value, idx, session FROM entries WHERE key >= ? AND key < ? ORDER BY key"
        with self._file.snapshot() as connection:
            entries = tuple(Entry(*row) for row in connection.execute(query, _span(prefix)))
            return Listing(entries, _counter(connection, "index"))

    def get_all(self, names: Sequence[str]) -> Mapping[str, Entry]:
        return one_by_one(self, names)

    def list_again(self, prefix: str, known: Listing) -> Listing:  # noqa: ARG002 - as every store's
        return self.list(prefix)

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        check_commit(operations, self.limits)
        if not operations:
            return Committed()
        try:
            with self._file.write() as connection:
                self._drop_expired(connection)
                outcome = decide(operations, partial(_lookup, connection), partial(_lives, connection))
                if isinstance(outcome, Conflict):
                    return outcome
                _write(connection, outcome)
        except AnswerLost as error:
            return Unknown(error.message)
        self._watch.look()
        return Committed()

    def wait(self, prefix: str, after: int, timeout_s: float) -> int:
        is_key = bool(prefix) and not prefix.endswith("/")
        check_key(prefix) if is_key else check_prefix(prefix)
        span = (prefix, prefix + "\0") if is_key else _span(prefix)
        deadline = time.monotonic() + timeout_s
        with self._watch.waiting():
            while True:
                seen = self._watch.turn
                index, changed = self._changed_since(span, after)
                if after < 1 or changed:
                    return index
                if index < after:
                    return 0
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return index
                if not self._watch.sleep(seen, left_s):
                    raise StoreUnreachable(f"{self.url}: the store is closed")

    def open_session(self, name: str, ttl_s: float) -> Session:
        session_id = new_id()
        with self._file.write(durable=False) as connection:
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)",
                (session_id, name, ttl_s, self._boot, boot_seconds() + ttl_s),
            )
        self._watch.look()
        return _SqliteSession(self, session_id, ttl_s)

    def resume_session(self, session_id: str, name: str, ttl_s: float) -> Session | None:
        session = _SqliteSession(self, session_id, ttl_s)
        if not session.renew():
            return None
        with self._file.write(durable=False) as connection:
            connection.execute("UPDATE sessions SET name = ? WHERE id = ?", (name, session_id))
        return session

    def close(self) -> None:
        self._watch.close()
        self._file.close()

    def renew_session(self, session_id: str, ttl_s: float) -> bool:
        """Prolong a session that still lives (for ``Session``)."""
        with self._file.write(durable=False) as connection:
            self._drop_expired(connection)
            query = "UPDATE sessions SET ttl_s = ?, expires_at = ? WHERE id = ?"
            done = connection.execute(query, (ttl_s, boot_seconds() + ttl_s, session_id))
            return done.rowcount == 1

    def end_session(self, session_id: str) -> None:
        """End a session and give up what it holds (for ``Session``)."""
        with self._file.write() as connection:
            _end_sessions(connection, [session_id])
        self._watch.look()

    def _changed_since(self, span: tuple[str, str], after: int) -> tuple[int, bool]:
        query = "SELECT 1 FROM changes WHERE idx > ? AND key >= ? AND key < ? LIMIT 1"
        with self._file.snapshot() as connection:
            index = _counter(connection, "index")
            if after < _counter(connection, "forgotten"):
                return index, True
            return index, connection.execute(query, (after, *span)).fetchone() is not None

    def _end_expired(self) -> float | None:
        """End the sessions whose time is over; returns in how many seconds the next one may expire."""
        with self._file.read() as connection:
            if not self._expired(connection):
                next_at = connection.execute("SELECT min(expires_at) FROM sessions").fetchone()[0]
                return None if next_at is None else max(0.0, next_at - boot_seconds())
        with self._file.write() as connection:
            self._drop_expired(connection)
        self._watch.look()
        return 0.0

    def _drop_expired(self, connection: Connection) -> None:
        _end_sessions(connection, self._expired(connection))

    def _expired(self, connection: Connection) -> tuple[str, ...]:
        # an expiry further away than the TTL was written before a reboot, on a system without a boot id
        now = boot_seconds()
        query = "SELECT id FROM sessions WHERE boot <> ? OR expires_at <= ? OR expires_at > ? + ttl_s"
        return tuple(row[0] for row in connection.execute(query, (self._boot, now, now)))


class _SqliteSession:
    def __init__(self, store: SqliteStore, session_id: str, ttl_s: float) -> None:
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
        return self._store.renew_session(self._id, self._ttl_s)

    def close(self) -> None:
        try:
            self._store.end_session(self._id)
        except StoreError as error:
            log.info("session %s could not be ended and expires by itself: %s", self._id, error.message)


def _lookup(connection: Connection, key: str) -> Entry | None:
    row = connection.execute("SELECT key, value, idx, session FROM entries WHERE key = ?", (key,)).fetchone()
    return Entry(*row) if row else None


def _lives(connection: Connection, session_id: str) -> bool:
    return connection.execute("SELECT 1 FROM sessions WHERE id = ?", (session_id,)).fetchone() is not None


def _counter(connection: Connection, name: str) -> int:
    return int(connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()[0])


def _write(connection: Connection, changes: Sequence[Change]) -> None:
    """Carry out changes as one step of the index."""
    if not changes:
        return
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'index'")
    index = _counter(connection, "index")
    for change in changes:
        if change.value is None:
            connection.execute("DELETE FROM entries WHERE key = ?", (change.key,))
        else:
            connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
                " SET value = excluded.value, idx = excluded.idx, session = excluded.session",
                (change.key, change.value, index, change.holder),
            )
        query = "INSERT INTO changes VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET idx = excluded.idx"
        connection.execute(query, (change.key, index))
    if index % 256 == 0:
        _forget(connection)


def _forget(connection: Connection) -> None:
    """Keep the log of changes short."""
    row = connection.execute("SELECT idx FROM changes ORDER BY idx DESC LIMIT 1 OFFSET ?", (LOG_LENGTH,)).fetchone()
    if row:
        connection.execute("DELETE FROM changes WHERE idx <= ?", row)
        connection.execute("UPDATE counters SET value = max(value, ?) WHERE name = 'forgotten'", row)


def _end_sessions(connection: Connection, session_ids: Sequence[str]) -> None:
    for session_id in session_ids:
        if connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,)).rowcount:
            held = connection.execute("SELECT key, value FROM entries WHERE session = ?", (session_id,)).fetchall()
            _write(connection, [Change(key, value) for key, value in held])


def _span(prefix: str) -> tuple[str, str]:
    """The half-open range of keys under a prefix: ``/`` is followed by ``0``."""
    return (prefix, prefix[:-1] + "0") if prefix else ("", "\U0010ffff")
