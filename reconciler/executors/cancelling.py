"""Lets who fetches something go at once when nobody wants it any more, whatever the other side does.

A registry or a server may be silent for minutes, and nothing can be told to a thread that waits for it. But the
connection can be broken under it, if it says which one it waits on.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Final

from reconciler.executors.interface import StartCancelled, unless_cancelled

_LOOK_S: Final = 0.1


class Cut:
    """Tells a job, which calls it, whether to end; for good once it does. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._connection: socket.socket | None = None

    def __call__(self) -> bool:
        return self._is_set

    def watch(self, connection: socket.socket) -> None:
        """Break this connection, on which the job waits from now on, when the job is to end. Raises OSError."""
        own = connection.dup()  # TLS takes the socket itself away
        with self._lock:
            self._forget()
            self._connection = own
            self._break()

    def set(self) -> None:
        """End the job: reads from its connection end, as if the other side had closed it."""
        with self._lock:
            self._is_set = True
            self._break()

    def close(self) -> None:
        """The job has ended."""
        with self._lock:
            self._forget()

    def _break(self) -> None:
        if self._is_set and self._connection is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._connection.shutdown(socket.SHUT_RDWR)

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def until_cancelled(job: Callable[[Cut], None], is_cancelled: Callable[[], bool]) -> None:
    """Carry out ``job``, or leave it behind once ``is_cancelled`` says so.

    What it is given tells it then to end as soon as it can look; what becomes of it, nobody hears.

    Raises:
        StartCancelled: it was left behind.
        Exception: what ``job`` raised.
    """
    unless_cancelled(is_cancelled)
    cut = Cut()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            job(cut)
        except BaseException as error:
            raised.append(error)
        finally:
            cut.close()

    thread = threading.Thread(target=run, name="fetching", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_S)
        if is_cancelled():
            cut.set()
            raise StartCancelled("the start was cancelled")
    for error in raised:
        raise error
