"""Tells at once when one of some processes ends, whoever started them: what the bash executor waits on.

Uses a descriptor per process (pidfd). Where there are none to be had (an old kernel, the limit on descriptors), it
looks at those processes several times a second instead.
"""

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterable
from typing import Final

from reconciler.executors.processes import Process, alive, open_pidfd

_LOOK_S: Final = 0.5


class Deaths:
    """A changing set of processes to watch. Thread-safe; one thread waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fds: dict[int, Process] = {}
        self._looked_at: set[Process] = set()
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._untold = False
        self._waiting = False
        self._closed = threading.Event()

    def replace(self, processes: Iterable[Process]) -> None:
        """Watch exactly these from now on."""
        wanted = set(processes)
        with self._lock:
            if self._closed.is_set():
                return
            for fd, process in list(self._fds.items()):
                if process not in wanted:
                    self._drop(fd)
            self._looked_at &= wanted
            watched = set(self._fds.values()) | self._looked_at
            for process in wanted - watched:
                self._add(process)

    def add(self, process: Process) -> None:
        """Watch this one too."""
        with self._lock:
            if not self._closed.is_set() and process not in self._fds.values():
                self._add(process)

    def wait(self, timeout_s: float) -> bool:
        """Block until one of them has ended (True), or the time is over (False). Each end is told once."""
        with self._lock:
            if self._closed.is_set():
                return False
            self._waiting = True
        try:
            return self._wait(time.monotonic() + timeout_s)
        finally:
            with self._lock:
                self._waiting = False
                if self._closed.is_set():
                    self._dispose()

    def _wait(self, deadline: float) -> bool:
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            events = self._epoll.poll(min(left_s, _LOOK_S) if self._looked_at else left_s)
            if self._ended({fd for fd, _ in events}):
                return True
            if self._closed.is_set() or time.monotonic() >= deadline:
                return False

    @property
    def closed(self) -> bool:
        """Whether nothing is watched any more; ``wait`` returns at once then."""
        return self._closed.is_set()

    def close(self) -> None:
        """Let go of all descriptors; ``wait`` returns."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            if self._waiting:
                os.eventfd_write(self._wake, 1)  # whoever waits disposes: closing what it waits on would not wake it
            else:
                self._dispose()

    def _dispose(self) -> None:
        for fd in list(self._fds):
            self._drop(fd)
        self._looked_at.clear()
        self._epoll.close()
        os.close(self._wake)

    def _ended(self, ready: set[int]) -> bool:
        with self._lock:
            if self._closed.is_set():
                return False
            ended, self._untold = self._untold, False
            for fd in ready & self._fds.keys():
                self._drop(fd)
                ended = True
            for process in [process for process in self._looked_at if not alive(process)]:
                self._looked_at.discard(process)
                ended = True
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            return ended

    def _add(self, process: Process) -> None:
        try:
            fd = open_pidfd(process)
        except ProcessLookupError:
            self._tell()
            return
        if fd is None:
            self._looked_at.add(process)
            os.eventfd_write(self._wake, 1)  # a wait that began without it must begin to look
        elif alive(process):
            self._fds[fd] = process
            self._epoll.register(fd, select.EPOLLIN)
        else:  # the descriptor may be that of a later one with the same id
            os.close(fd)
            self._tell()

    def _tell(self) -> None:
        self._untold = True
        os.eventfd_write(self._wake, 1)

    def _drop(self, fd: int) -> None:
        del self._fds[fd]
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)
        os.close(fd)
