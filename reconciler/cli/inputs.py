"""The manifests that a command is given on its command line; for ``validate`` and ``apply``."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from reconciler.errors import UsageError
from reconciler.manifests.find import MAX_FILE_BYTES, SUFFIXES, find_manifests

STDIN_NAME: Final = "<stdin>"
_USUAL_BYTES: Final = 32 * 1024
"""Asking for the most at once would clear megabytes of memory for each small file."""


def read_files(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Name and content of everything that the paths stand for, each file once however often it is named.

    A folder stands for the manifests in it, ``-`` for standard input. A file may be a byte longer than allowed, for the
    reader to refuse.

    Raises:
        UsageError: a path can't be read, or a folder holds no manifest.
    """
    found: dict[str, tuple[str, bytes]] = {}
    stdin: list[tuple[str, bytes]] = []
    for path in dict.fromkeys(paths):
        if path == "-":
            stdin = [(STDIN_NAME, sys.stdin.buffer.read(MAX_FILE_BYTES + 1))]
            continue
        for name, real in _names(path):
            if real not in found:
                found[real] = (name, _content(name))
    return [*found.values(), *stdin]


def _names(path: str) -> Iterator[tuple[str, str]]:
    """The files that a path on the command line stands for, and where each really is."""
    given = Path(path)
    if not given.is_dir():
        yield path, os.path.realpath(path)  # unlike Path.resolve it leaves a loop of links to open()
        return
    try:
        inside = find_manifests(given)
    except OSError as error:
        _cannot_read(path, error)
    if not inside:
        raise UsageError(
            f"nothing to check in {path}: no file there ends in {', '.join(SUFFIXES)}",
            hint="name the folder that holds the manifests",
        )
    prefix = "" if given == Path() else f"{str(given).rstrip('/')}/"
    yield from ((prefix + name, real) for name, real in inside.items())


def _content(name: str) -> bytes:
    content = bytearray()
    try:
        file = os.open(name, os.O_RDONLY)  # a file object for each of thousands of files takes longer than the files
        try:
            while (part := os.read(file, _USUAL_BYTES)) and len(content) <= MAX_FILE_BYTES:
                content += part
        finally:
            os.close(file)
    except OSError as error:
        _cannot_read(name, error)
    return bytes(content[: MAX_FILE_BYTES + 1])  # one more than allowed is enough to see that it is too large


def _cannot_read(name: str, error: OSError) -> NoReturn:
    raise UsageError(
        f"{name} can't be read: {error.strerror or error}", hint="check the path and its rights"
    ) from error
