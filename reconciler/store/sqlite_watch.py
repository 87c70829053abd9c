"""How ``wait`` on SQLite learns of other processes' commits: one thread looks for all blocked calls of this process.

``PRAGMA data_version`` costs some microseconds and moves when another connection committed; commits of this process
say so themselves (``look``). The thread lives only while somebody waits.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from reconciler.errors import StoreError
from reconciler.store.sqlite_file import SqliteFile

log = logging.getLogger(__name__)

EVERY_S = 0.02
IDLE_S = 1.0
RETRY_S = 0.5


class SqliteWatch:
    """Wakes blocked calls when the file may have changed."""

    def __init__(self, file: SqliteFile, end_expired: Callable[[], float | None]) -> None:
        """``end_expired`` ends sessions whose time is over and says in how many seconds the next one may be."""
        self._file = file
        self._end_expired = end_expired
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._turn = 0
        self._waiting = 0
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Something was committed: wake everybody."""
        with self._changed:
            self._turn += 1
            self._changed.notify_all()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Take part: while somebody does, the thread runs."""
        with self._changed:
            self._waiting += 1
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="store-watch", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._waiting -= 1

    @property
    def turn(self) -> int:
        """Grows with every possible change; read before looking at the data, so that nothing in between is missed."""
        with self._changed:
            return self._turn

    def sleep(self, seen: int, timeout_s: float) -> bool:
        """Block until ``turn`` is past ``seen`` or the time is over; False when the store was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._turn != seen or self._closed.is_set(), timeout_s)
            return not self._closed.is_set()

    def close(self) -> None:
        """Wake everybody for good."""
        self._closed.set()
        self.look()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)

    def _run(self) -> None:
        while True:
            try:
                self._follow()
            except StoreError as error:
                log.debug("%s", error)
                self._closed.wait(RETRY_S)
                self.look()
            with self._changed:
                if not self._waiting or self._closed.is_set():
                    self._thread = None
                    return

    def _follow(self) -> None:
        """Look at one connection's ``data_version`` until nobody waits any more or the file is another one."""
        version, idle_since, look_at = -1, time.monotonic(), 0.0
        with self._file.read() as connection:
            while not self._closed.wait(EVERY_S):
                now = time.monotonic()
                if self._waiting:
                    idle_since = now
                elif now - idle_since > IDLE_S:
                    return
                if not self._file.is_current():
                    return
                latest = connection.execute("PRAGMA data_version").fetchone()[0]
                if latest != version:
                    version, look_at = latest, now
                    self.look()
                if now >= look_at:
                    left_s = self._end_expired()
                    look_at = now + (IDLE_S if left_s is None else min(left_s, IDLE_S))
