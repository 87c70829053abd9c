"""Parses many files on all cores. Called by ``disk_cache`` when there is enough to do that a second process pays.

Plain forks and pipes: the children inherit the content, take one part after the other until none is left, so that a
core that is busy with other work holds nobody up, and send back the compact form that is kept on disk anyway. Whatever
a child does not deliver, the parent parses itself.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from reconciler.manifests.checks import Checks
from reconciler.manifests.parsed import FileKind, Parsed, from_bytes, parse, to_bytes

WORTH_BYTES: Final = 64 * 1024
"""For so much it pays to make a process."""
MOST_PROCESSES: Final = 8
PARTS_EACH: Final = 16
"""So many parts there are for each process: fewer, and one waits for another; more, and they are too small."""


def parse_all(files: Sequence[tuple[FileKind, bytes]], checks: Checks) -> list[Parsed]:
    """What each file comes to, in the order given."""
    count = _processes(files)
    parts = _parts(files, count)
    waiting = _queue(len(parts))
    children = [child for child in (_fork(files, parts, waiting, checks) for _ in range(count - 1)) if child]
    found = {position: parse(files[position][1], files[position][0], checks) for position in _taken(parts, waiting)}
    os.close(waiting)
    for pid, pipe in children:
        found |= _received(pid, pipe)
    return [
        found[position] if position in found else parse(content, kind, checks)
        for position, (kind, content) in enumerate(files)
    ]


def _processes(files: Sequence[tuple[FileKind, bytes]]) -> int:
    # a thread may hold a lock while the process is copied, and the copy would wait for it for ever
    if threading.active_count() > 1 or not hasattr(os, "fork") or not hasattr(os, "sched_getaffinity"):
        return 1
    worth = sum(len(content) for _, content in files) // WORTH_BYTES
    return max(1, min(len(os.sched_getaffinity(0)), MOST_PROCESSES, worth))


def _parts(files: Sequence[tuple[FileKind, bytes]], count: int) -> list[list[int]]:
    """The positions of all files in parts of about the same size; at most 128."""
    share = sum(len(content) for _, content in files) / (count * PARTS_EACH)
    parts: list[list[int]] = [[] for _ in range(count * PARTS_EACH)]
    taken = 0
    for position, (_, content) in enumerate(files):
        parts[min(int(taken / share) if share else 0, len(parts) - 1)].append(position)
        taken += len(content)
    return parts


def _queue(length: int) -> int:
    """A pipe to read from: each byte is the number of a part, and who reads it takes that part."""
    reading, writing = os.pipe()
    os.write(writing, bytes(range(length)))
    os.close(writing)
    return reading


def _taken(parts: Sequence[Sequence[int]], waiting: int) -> Iterator[int]:
    """The positions of one part after the other, until none is left."""
    while number := os.read(waiting, 1):
        yield from parts[number[0]]


def _fork(
    files: Sequence[tuple[FileKind, bytes]], parts: Sequence[Sequence[int]], waiting: int, checks: Checks
) -> tuple[int, int] | None:
    """A child that parses parts: its process id and the pipe to read from; None: there can be no more processes."""
    reading, writing = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        return None
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        done = {each: to_bytes(parse(files[each][1], files[each][0], checks)) for each in _taken(parts, waiting)}
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(msgspec.msgpack.encode(done))
        status = 0
    finally:
        os._exit(status)  # nothing of the parent's may be ended twice


def _received(pid: int, reading: int) -> dict[int, Parsed]:
    """What a child sent, by position; nothing unless all of it came."""
    with os.fdopen(reading, "rb") as pipe:
        sent = pipe.read()
    os.waitpid(pid, 0)
    with contextlib.suppress(msgspec.MsgspecError):
        return {
            each: from_bytes(compact) for each, compact in msgspec.msgpack.decode(sent, type=dict[int, bytes]).items()
        }
    return {}
