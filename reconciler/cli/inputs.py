"""The manifests that a command is given on its command line; for ``validate`` and ``apply``."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from reconciler.errors import UsageError
from reconciler.manifests.file_text import MAX_FILE_BYTES
from reconciler.manifests.find import SUFFIXES, find_manifests

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
    folders: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        if path == "-":
            stdin = [(STDIN_NAME, sys.stdin.buffer.read(MAX_FILE_BYTES + 1))]
            continue
        for name in _names(path):
            real = _real(name, folders)
            if real not in found:
                found[real] = (name, _content(name))
    return [*found.values(), *stdin]


def _real(name: str, folders: dict[str, str]) -> str:
    """Where a file really is; ``folders`` are those that were asked about. There may be thousands of files in one."""
    if os.path.islink(name):  # noqa: PTH114 - a Path for each of thousands of names takes longer than asking
        return os.path.realpath(name)  # unlike Path.resolve it leaves a loop of links to open()
    folder, base = os.path.split(name)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return f"{folders[folder]}/{base}"


def _names(path: str) -> Iterator[str]:
    """The files that a path on the command line stands for."""
    given = Path(path)
    if not given.is_dir():
        yield path
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
    prefix = str(given)
    yield from (f"{prefix.rstrip('/')}/{name}" if prefix != "." else name for name in inside)


def _content(name: str) -> bytes:
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - as above
            content = file.read(_USUAL_BYTES)
            if len(content) == _USUAL_BYTES:  # one more than allowed is enough to see that it is too large
                content += file.read(MAX_FILE_BYTES + 1 - _USUAL_BYTES)
            return content
    except OSError as error:
        _cannot_read(name, error)


def _cannot_read(name: str, error: OSError) -> NoReturn:
    raise UsageError(
        f"{name} can't be read: {error.strerror or error}", hint="check the path and its rights"
    ) from error
