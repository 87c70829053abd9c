"""The output of a bash task: a file that the task appends to, kept from growing for ever, and read from its end.

Nobody stands between the task and its file, so that an agent may die and nothing blocks. Every write appends, so the
file can be cut while it is written to; what is written in the instant between copy and cut is lost.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 10 * 1024 * 1024
_TAIL_BYTES: Final = 4 * 1024 * 1024
_BLOCK_BYTES: Final = 64 * 1024


def older(log: Path) -> Path:
    """Where the part before the last cut is."""
    return log.with_name(f"{log.name}.1")


def cut_if_long(log: Path, most_bytes: int = MOST_BYTES) -> None:
    """When ``log`` is longer than ``most_bytes``, move the last of it aside and begin anew. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size <= most_bytes:
            return
        aside = log.with_name(f"{log.name}.new")
        with log.open("r+b") as source, aside.open("wb") as target:
            end = source.seek(0, os.SEEK_END)
            source.seek(max(0, end - most_bytes))
            for _ in range(3):  # what is written meanwhile comes along, but a flood does not hold us here
                left = end - source.tell()
                while left > 0 and (block := source.read(min(left, _BLOCK_BYTES))):
                    target.write(block)
                    left -= len(block)
                end = os.fstat(source.fileno()).st_size
            source.truncate(0)
        aside.replace(older(log))


def tail(log: Path, lines: int) -> bytes:
    """The last ``lines`` lines of ``log``, of the part before the last cut too if need be. Raises OSError."""
    if lines <= 0:
        return b""
    now = _end_of(log, lines)
    missing = lines - now.count(b"\n") - (not now.endswith(b"\n") and now != b"")
    return (_end_of(older(log), missing) if missing > 0 else b"") + now


def _end_of(log: Path, lines: int) -> bytes:
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return b""
    with file:
        start = file.seek(0, os.SEEK_END)
        end = b""
        while start > 0 and len(end) < _TAIL_BYTES and end.count(b"\n") <= lines:
            size = min(_BLOCK_BYTES, start)
            start -= size
            file.seek(start)
            end = file.read(size) + end
    return b"".join(end.splitlines(keepends=True)[-lines:])
