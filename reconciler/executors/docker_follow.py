"""Reads along what a docker task writes, from one container to the next that takes its place. Called by ``docker``.

The engine ends its answer when a container ends, and sends nothing while nothing is written; a thread waits for it, so
that the reader gets a say now and then. The few pieces between the two are all that is kept in memory: when the reader
is slow the engine waits, which reads from a file of its own, and never the container.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from reconciler.errors import ExecutorError
from reconciler.executors.docker_engine import Engine

log = logging.getLogger(__name__)

_WAITING: Final = 16
"""Pieces of 16 KiB at most, or of one line."""
_PIECE_BYTES: Final = 64 * 1024
_LOOK_S: Final = 0.5

Find: TypeAlias = Callable[[], Mapping[str, Any] | None]


def follow(engine: Engine, find: Find, tail_lines: int) -> Iterator[bytes]:
    """See ``Executor.follow``. ``find`` inspects the task's container, None if there is none now."""
    container = find()
    last_id, read_until, tail = "", 0.0, tail_lines if container else "all"
    while True:
        if container is not None and (container["Id"] != last_id or container["State"]["Running"]):
            # the same one again: the engine was restarted, or somebody started it by hand
            since = read_until if container["Id"] == last_id else 0.0
            last_id = container["Id"]
            with contextlib.closing(_Reading(engine, container, tail, since)) as reading:
                for piece in reading:
                    read_until = time.time() if piece or not read_until else read_until
                    yield piece
            if reading.error is not None and not read_until:
                raise reading.error
            tail = "all"
        yield b""
        time.sleep(_LOOK_S)
        container = _find_again(find)


def _find_again(find: Find) -> Mapping[str, Any] | None:
    """An engine that does not answer now is waited for like a container that is not there."""
    try:
        return find()
    except ExecutorError as error:
        log.debug("%s", error.message)
        return None


class _Reading:
    """One answer of the engine, to its end. Iterate in one thread; an empty piece means that nothing has come."""

    def __init__(self, engine: Engine, container: Mapping[str, Any], tail: int | str, since: float) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._closed = threading.Event()
        self.error: ExecutorError | None = None
        self._cut: Callable[[], None] = lambda: None
        self._arguments = (engine, container, tail, since)
        self._thread = threading.Thread(target=self._read, name="docker-output", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                piece = self._pieces.get(timeout=_LOOK_S)
            except queue.Empty:
                yield b""
                continue
            while piece is not None and len(piece) < _PIECE_BYTES and not self._pieces.empty():
                more = self._pieces.get()
                if more is None:
                    yield piece
                piece = None if more is None else piece + more
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        """End the thread, whatever it waits for."""
        self._closed.set()
        self._cut()

    def _read(self) -> None:
        engine, container, tail, since = self._arguments
        try:
            with engine.output(container, tail, follow=True, since=since) as (pieces, self._cut):
                if self._closed.is_set():
                    return
                for piece in pieces:
                    if not self._put(piece):
                        return
        except ExecutorError as error:
            # the engine went away, or has no output to show (log driver none)
            self.error = error
        finally:
            self._put(None)

    def _put(self, piece: bytes | None) -> bool:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._pieces.put(piece, timeout=_LOOK_S)
                return True
        return False
