"""The output of a bash task: a file that the task appends to, kept from growing for ever, and read from its end.

Nobody stands between the task and its file, so that an agent may die and nothing blocks. Every write appends, so the
file can be cut while it is written to; what is written in the instant between copy and cut is lost.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

from reconciler.executors.interface import MOST_LOG_BYTES

MOST_BYTES: Final = 10 * 1024 * 1024
_BLOCK_BYTES: Final = 64 * 1024
_LOOK_S: Final = 0.2
_MOST_ASIDE: Final = 2


def older(log: Path) -> Path:
    """Where the part before the last cut is."""
    return log.with_name(f"{log.name}.1")


def cut_if_long(log: Path, most_bytes: int = MOST_BYTES) -> int | None:
    """When ``log`` is longer than ``most_bytes``, move the last of it aside and begin anew. Raises OSError.

    Returns from where on it was moved aside, if it was.
    """
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size <= most_bytes:
            return None
        aside = log.with_name(f"{log.name}.new")
        with log.open("r+b") as source, aside.open("wb") as target:
            end = source.seek(0, os.SEEK_END)
            start = source.seek(max(0, end - most_bytes))
            for _ in range(3):  # what is written meanwhile comes along, but a flood does not hold us here
                left = end - source.tell()
                while left > 0 and (block := source.read(min(left, _BLOCK_BYTES))):
                    target.write(block)
                    left -= len(block)
                end = os.fstat(source.fileno()).st_size
            source.truncate(0)
        aside.replace(older(log))
        return start
    return None


def tail(log: Path, lines: int, end: int | None = None) -> bytes:
    """The last ``lines`` lines of ``log``, up to ``end`` of it, of the part before the last cut too if need be.

    Raises OSError.
    """
    if lines <= 0:
        return b""
    now = _end_of(log, lines, end)
    missing = lines - now.count(b"\n") - (not now.endswith(b"\n") and now != b"")
    return (_end_of(older(log), missing) if missing > 0 else b"") + now


def end_line(log: Path) -> int:
    """End the last line of ``log`` if it is open, so that what comes begins a line; returns where. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), log.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        return end if file.read(1) in (b"", b"\n") else end + file.write(b"\n")
    return 0


def written_since(log: Path, start: int, lines: int) -> bytes:
    """The last ``lines`` lines of what was written behind ``start``, a whole line each. Raises OSError."""
    with log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        was_cut = end < start  # meanwhile: all of it is newer, and begins within a line
        begin = max(0 if was_cut else start, end - MOST_LOG_BYTES)
        file.seek(max(0, begin - 1))
        text = file.read(end - max(0, begin - 1))
        if begin or was_cut:
            text = text.partition(b"\n")[2]
    return b"".join(text.splitlines(keepends=True)[-lines:])


def _end_of(log: Path, lines: int, before: int | None = None) -> bytes:
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return b""
    with file:
        start = file.seek(0, os.SEEK_END) if before is None else before
        end = b""
        while start > 0 and len(end) < MOST_LOG_BYTES and end.count(b"\n") <= lines:
            size = min(_BLOCK_BYTES, start)
            start -= size
            file.seek(start)
            end = file.read(size) + end
    return b"".join(end.splitlines(keepends=True)[-lines:])


class Logs:
    """The logs of one executor: cut when they get long, and read along by many, who miss nothing by a cut."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._readers: list[_Reader] = []

    def cut_if_long(self, log: Path) -> None:
        """Keep a log from growing for ever. Raises OSError."""
        with self._lock:
            start = cut_if_long(log, self._most_bytes)
            for reader in self._readers:
                if start is not None and reader.log == log:
                    reader.note_cut(start)

    def follow(self, log: Path, lines: int) -> Iterator[bytes]:
        """The last lines, then what is written, for ever; an empty piece when there is nothing new. Raises OSError."""
        reader = _Reader(log)
        try:
            with self._lock:
                begin = reader.begin(lines)
                self._readers.append(reader)
            for start in range(0, len(begin), _BLOCK_BYTES):
                yield begin[start : start + _BLOCK_BYTES]
            del begin
            while True:
                with self._lock:
                    piece = reader.read()
                yield piece
                if not piece:
                    time.sleep(_LOOK_S)
        finally:
            with self._lock:
                if reader in self._readers:
                    self._readers.remove(reader)
            reader.close()


class _Reader:
    """A place in a log. What was put aside after it is read before the log itself; only the last two such parts are."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._file: FileIO | None = None
        self._aside: deque[FileIO] = deque()

    def begin(self, lines: int) -> bytes:
        """The last lines; the place is behind them."""
        self._open()
        if self._file is None:
            return b""
        return tail(self.log, lines, self._file.seek(0, os.SEEK_END))

    def read(self) -> bytes:
        """What comes next, if it is there."""
        while self._aside:
            if piece := self._aside[0].read(_BLOCK_BYTES):
                return piece
            self._aside.popleft().close()
        if self._file is None:
            self._open()
        piece = self._file.read(_BLOCK_BYTES) if self._file is not None else b""
        if not piece and self._file is not None and self._is_another(self._file):
            self._file.close()
            self._file = None
        return piece or b""

    def note_cut(self, start: int) -> None:
        """The log begins anew; what was behind ``start`` of it is in the part before."""
        if self._file is None:
            return
        aside = FileIO(older(self.log))
        aside.seek(max(0, self._file.tell() - start))
        self._aside.append(aside)
        if len(self._aside) > _MOST_ASIDE:
            self._aside.popleft().close()
        self._file.seek(0)

    def close(self) -> None:
        for file in (*self._aside, *([self._file] if self._file is not None else [])):
            file.close()

    def _open(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._file = FileIO(self.log)

    def _is_another(self, file: FileIO) -> bool:
        """Whether the task's folder was made anew."""
        try:
            return self.log.stat().st_ino != os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            return False
