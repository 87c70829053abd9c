"""Ports for tasks that tests start: each pytest process has a block of its own, also beside other test runs."""

import fcntl
import functools
import os
import tempfile
from pathlib import Path

FIRST, SIZE, BLOCKS = 20000, 200, 50


@functools.cache
def port_block() -> tuple[int, int]:
    """First and last port of this process's block; it is ours until the process ends."""
    folder = Path(tempfile.gettempdir()) / "reconciler-test-ports"
    folder.mkdir(exist_ok=True)
    for number in range(BLOCKS):
        handle = os.open(folder / f"{number}.lock", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            continue
        return FIRST + number * SIZE, FIRST + (number + 1) * SIZE - 1
    raise AssertionError(f"all {BLOCKS} blocks of ports are taken by test runs; see {folder}")
