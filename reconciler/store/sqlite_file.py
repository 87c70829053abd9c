"""The SQLite file behind ``sqlite:///``: connections, transactions and the schema. Used by ``store.sqlite`` only.

Several processes open the same file (WAL: readers never wait for the writer). A writer takes ``BEGIN IMMEDIATE``, so
that what it reads is what it changes. If the file is removed or replaced under us, we go on with the new one: it looks
like a store that was wiped, instead of two processes that quietly write into different files.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from reconciler.errors import StoreError, StoreUnreachable
from reconciler.store.commits import AnswerLost

Connection: TypeAlias = sqlite3.Connection

SCHEMA_VERSION = 1
BUSY_S = 10.0
"""How long to wait for another process's write."""

SCHEMA = """
CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, idx INTEGER NOT NULL, session TEXT) STRICT;
CREATE TABLE changes (key TEXT PRIMARY KEY, idx INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX changes_by_index ON changes (idx);
CREATE INDEX entries_by_session ON entries (session) WHERE session IS NOT NULL;
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, ttl_s REAL NOT NULL, boot TEXT NOT NULL, expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('index', 1), ('forgotten', 0);
"""


class SqliteFile:
    """A pool of connections to one database file, safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            StoreError: it can't be opened, is no database of ours, or of a newer program.
        """
        self.path = path
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._identity: tuple[int, int] | None = None
        with self.read():
            pass

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to run queries on; each statement sees the last commit."""
        connection = self._take()
        is_sound = False
        try:
            with self._errors():
                yield connection
                is_sound = not connection.in_transaction
        finally:
            self._give_back(connection, is_sound=is_sound)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection on which all queries see one and the same state."""
        with self.read() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that nobody else can write beside; committed at the end.

        An exception inside closes the connection, which rolls back. With ``durable=False`` a power cut may take it
        back (sessions end with the power anyway).
        """
        with self.read() as connection:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            self._commit(connection)

    def is_current(self) -> bool:
        """Whether the file is still the one that connections were last opened on."""
        return self._identity == _identity(self.path)

    def close(self) -> None:
        """Close what is idle now and each other connection when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                raise
            raise AnswerLost(f"{self.path}: {error}") from error

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise StoreUnreachable(f"{self.path}: the store is closed")
            if self._identity != _identity(self.path):
                idle, self._idle = self._idle, []
                for connection in idle:
                    connection.close()
            if self._idle:
                return self._idle.pop()
        with self._errors():
            connection = self._open()
        with self._lock:
            self._identity = _identity(self.path)
        return connection

    def _give_back(self, connection: sqlite3.Connection, *, is_sound: bool) -> None:
        with self._lock:
            if is_sound and not self._closed and self._identity == _identity(self.path):
                self._idle.append(connection)
                return
        connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _create(self.path)
        except OSError as error:
            raise StoreUnreachable(
                f"can't open the store {self.path}: {error.strerror}",
                hint="Name a file that this user may write: sqlite:///absolute/path or sqlite:relative/path.",
            ) from error
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _use_wal(connection)
            _prepare(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Everything that SQLite raises outside of COMMIT means: certainly not written."""
        try:
            yield
        except sqlite3.Error as error:
            hint = None
            if error.sqlite_errorname == "SQLITE_NOTADB":
                hint = "The file is something else; name another one."
            elif error.sqlite_errorname.startswith("SQLITE_BUSY"):
                hint = "Another process holds it; if it hangs, stop it."
            raise StoreUnreachable(f"{self.path}: {error}", hint=hint) from error


def _create(path: Path) -> None:
    """Make an empty file for this user alone (values may hold secrets), if there is none.

    A file that is there is not even opened: closing it would drop the locks that SQLite has on it.
    """
    if not path.exists():
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _use_wal(connection: Connection) -> None:
    """The one step for which SQLite itself does not wait when several processes create the file at once."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname not in ("SQLITE_BUSY", "SQLITE_LOCKED") or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection)
    if version == 0 and not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        for statement in filter(str.strip, SCHEMA.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")
    if version not in (0, SCHEMA_VERSION) or _version(connection) == 0:
        raise StoreError(
            f"{path} is a database of {'another program' if version == 0 else 'another version of this program'}",
            hint="Name another file, or remove this one to start empty.",
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
