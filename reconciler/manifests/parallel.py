"""Parses many files on all cores. Called by ``disk_cache`` when there is enough to do that a second process pays.

Plain forks and pipes: the children inherit the content, and send back the compact form that is kept on disk anyway.
Whatever a child does not deliver, the parent parses itself.
"""

import os
import threading
from collections.abc import Sequence
from typing import Final

import msgspec

from reconciler.manifests.checks import Checks
from reconciler.manifests.parsed import FileKind, parse, to_bytes

WORTH_BYTES: Final = 128 * 1024
"""Less than this is parsed faster than a process is made."""
MOST_PROCESSES: Final = 8


def parse_all(files: Sequence[tuple[FileKind, bytes]], checks: Checks) -> list[bytes]:
    """The compact form of each file, in the order given."""
    shares = _shares(files)
    children = [(_fork(files, share, checks), share) for share in shares[1:]]
    found = {position: to_bytes(parse(files[position][1], files[position][0], checks)) for position in shares[0]}
    for (pid, pipe), share in children:
        found |= dict(zip(share, _received(pid, pipe, len(share)), strict=False))
    return [
        found[position] if position in found else to_bytes(parse(content, kind, checks))
        for position, (kind, content) in enumerate(files)
    ]


def _shares(files: Sequence[tuple[FileKind, bytes]]) -> list[list[int]]:
    """The positions of the files that each process parses, of about the same size together."""
    total = sum(len(content) for _, content in files)
    count = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, MOST_PROCESSES)
    # a thread may hold a lock while the process is copied, and the copy would wait for it for ever
    if total < WORTH_BYTES or threading.active_count() > 1 or not hasattr(os, "fork"):
        count = 1
    shares: list[list[int]] = [[] for _ in range(max(1, min(count, total // (WORTH_BYTES // 2))))]
    taken = 0
    for position, (_, content) in enumerate(files):
        shares[min(taken * len(shares) // max(1, total), len(shares) - 1)].append(position)
        taken += len(content)
    return shares


def _fork(files: Sequence[tuple[FileKind, bytes]], share: Sequence[int], checks: Checks) -> tuple[int, int]:
    """A child that parses its share: its process id and the pipe to read from."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        compact = [to_bytes(parse(files[position][1], files[position][0], checks)) for position in share]
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(msgspec.msgpack.encode(compact))
        status = 0
    finally:
        os._exit(status)  # nothing of the parent's may be ended twice


def _received(pid: int, reading: int, count: int) -> list[bytes]:
    """What a child sent; nothing unless all of it came."""
    with os.fdopen(reading, "rb") as pipe:
        sent = pipe.read()
    os.waitpid(pid, 0)
    try:
        compact = msgspec.msgpack.decode(sent, type=list[bytes])
    except msgspec.MsgspecError:
        return []
    return compact if len(compact) == count else []
