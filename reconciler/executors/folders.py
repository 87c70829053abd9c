"""Opens folders that tasks may write to, never led elsewhere by a link that a task may have made.

``artifacts`` puts files there, often as root. All goes by descriptors: a name may be another thing at the next look.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from reconciler.errors import ExecutorError

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS: Final = 40


@contextlib.contextmanager
def disk_errors(what: str, path: Path) -> Iterator[None]:
    """Tell people what the disk refused: an OSError within becomes an ExecutorError, that one can't ``what`` there."""
    try:
        yield
    except OSError as error:
        raise ExecutorError(f"cannot {what} {error.filename or path}: {error.strerror or error}") from error


def make_passable(*own: Path) -> None:
    """Make folders of the agent's own, each in the one before it, and what is missing above the first.

    Users of tasks may pass through all that is made and all that is the agent's, whatever the umask is; other folders
    stay as they are. Raises OSError.
    """
    missing = [above for above in own[0].parents if not above.exists()]
    own[-1].mkdir(parents=True, exist_ok=True)
    for folder in (*missing, *own):
        folder.chmod(0o711)


def open_folder(path: Path) -> int:
    """A descriptor of the folder at an absolute ``path``; what of it is missing is made.

    Raises:
        ExecutorError: it leads over a link that somebody else may have made; permanent.
        OSError: it can't be opened or made.
    """
    return _walk(os.open("/", _FLAGS), path.parts)


def enter(folder: int, name: str) -> int:
    """A descriptor of the folder ``name`` in ``folder``, as ``open_folder`` does it."""
    return _walk(os.dup(folder), (name,))


def _walk(folder: int, parts: Sequence[str]) -> int:
    left = list(reversed(parts))
    links = 0
    try:
        while left:
            name = left.pop()
            if _is_link(folder, name):
                links += 1
                _check_link(folder, name, links)
                left.extend(reversed(PurePosixPath(os.readlink(name, dir_fd=folder)).parts))
                continue
            following = _open(folder, name)
            os.close(folder)
            folder = following
    except BaseException:
        os.close(folder)
        raise
    return folder


def _open(folder: int, name: str) -> int:
    try:
        return os.open(name, _FLAGS, dir_fd=folder)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # somebody else has made it just now
            os.mkdir(name, dir_fd=folder)
        return os.open(name, _FLAGS, dir_fd=folder)


def _is_link(folder: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _check_link(folder: int, name: str, links: int) -> None:
    if links > _MOST_LINKS or not _is_trusted(folder, name):
        raise ExecutorError(
            f"{name} is a link that somebody else may have made; nothing is put where it leads", permanent=True
        )


def _is_trusted(folder: int, name: str) -> bool:
    """Whether nobody but root can have made or moved a link. Who is not root has no rights to be tricked out of."""
    if os.geteuid() != 0:
        return True
    above, link = os.fstat(folder), os.stat(name, dir_fd=folder, follow_symlinks=False)
    others_write = bool(above.st_mode & 0o022) and not above.st_mode & stat.S_ISVTX
    return above.st_uid == 0 and link.st_uid == 0 and not others_write
