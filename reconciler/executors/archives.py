"""Unpacks tar and zip files that may be hostile into an empty folder; ``artifacts`` calls it.

Nothing may leave the folder, by name or by link; only files, folders and links are made; and number, size and time are
bounded by what really comes out, not by what the archive says of itself.
"""

import bz2
import gzip
import lzma
import os
import posixpath
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import msgspec

from reconciler.errors import ExecutorError
from reconciler.executors.folders import enter
from reconciler.executors.interface import never, unless_cancelled

_BLOCK_BYTES: Final = 256 * 1024
_LONGEST_HEADER: Final = 1024 * 1024
_LONGEST_LINK: Final = 4096
_OPENERS: Final[dict[str, Callable[[Path], Any]]] = {
    ".tar": partial(open, mode="rb"),
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tbz2": bz2.open,
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
}
SUFFIXES: Final = (*_OPENERS, ".zip")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an artifact may come to."""

    download_bytes: int = 2 * 1024**3
    unpacked_bytes: int = 8 * 1024**3
    files: int = 200_000
    time_s: float = 600.0

    def check_download(self, left_bytes: int, deadline: float) -> None:
        """Raise ExecutorError when more than allowed has come, or ``deadline`` (monotonic) is over."""
        if left_bytes < 0:
            raise ExecutorError(f"the artifact is bigger than {self.download_bytes} bytes", permanent=True)
        if time.monotonic() > deadline:
            raise ExecutorError(f"fetching the artifact took more than {self.time_s:g} s")


def suffix_of(name: str) -> str | None:
    """The suffix that says how to unpack a file of this name; None if it is none of ours."""
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def unpack(
    archive: Path, suffix: str, destination: Path, limits: Limits, is_cancelled: Callable[[], bool] = never
) -> None:
    """Unpack ``archive`` into ``destination``, an empty folder that nobody else writes to.

    Raises:
        ExecutorError: it is broken, too big, or would write elsewhere. What is in ``destination`` is to be thrown away.
        StartCancelled: ``is_cancelled`` said so.
        OSError: the disk would not have it.
    """
    unpacking = _Unpacking(destination, limits, is_cancelled)
    try:
        if suffix == ".zip":
            _unpack_zip(archive, unpacking)
        else:
            with _OPENERS[suffix](archive) as stream:
                _unpack_tar(stream, unpacking)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError) as error:
        raise ExecutorError(f"the archive is broken: {error}", permanent=True) from error
    except NotImplementedError as error:
        raise ExecutorError(f"the archive can't be unpacked: {error}", permanent=True) from error
    except OSError as error:
        if error.errno is not None:
            raise
        # bz2 says it so
        raise ExecutorError(f"the archive is broken: {error}", permanent=True) from error


class _Unpacking:
    """Makes the things in an archive one by one, and keeps count."""

    def __init__(self, root: Path, limits: Limits, is_cancelled: Callable[[], bool]) -> None:
        self._root = root
        self._limits = limits
        self._is_cancelled = is_cancelled
        self._bytes_left = limits.unpacked_bytes
        self._files_left = limits.files
        self._deadline = time.monotonic() + limits.time_s

    def folder(self, name: str) -> None:
        self._target(name).mkdir(exist_ok=True)

    def file(self, name: str, content: IO[bytes], mode: int) -> None:
        target = self._target(name)
        self._clear(target)
        # Owner and group bits are the archive's, but nobody else may write, and no set-user-id comes along.
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, (mode & 0o755) | 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123 - opened above, so that no link is followed
            while block := content.read(_BLOCK_BYTES):
                self.take(len(block))
                file.write(block)

    def link(self, name: str, points_to: str) -> None:
        target = self._target(name)
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(name), points_to))
        if posixpath.isabs(points_to) or inside == ".." or inside.startswith("../"):
            raise _unsafe(f"{name} is a link to {points_to}, which is outside")
        self._clear(target)
        target.symlink_to(points_to)

    def take(self, size: int) -> None:
        """Count bytes before they are written."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise ExecutorError(f"the archive unpacks to more than {self._limits.unpacked_bytes} bytes", permanent=True)
        self.check_time()

    def check_size(self, size: int) -> None:
        """Refuse early what an archive itself says is too much."""
        if size > self._bytes_left:
            self.take(size)

    def check_time(self) -> None:
        unless_cancelled(self._is_cancelled)
        if time.monotonic() > self._deadline:
            raise ExecutorError(f"unpacking the archive took more than {self._limits.time_s:g} s")

    def _target(self, name: str) -> Path:
        """Where ``name`` goes; its folders are made, and are real ones."""
        self._files_left -= 1
        if self._files_left < 0:
            raise ExecutorError(f"the archive holds more than {self._limits.files} files", permanent=True)
        self.check_time()
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            raise _unsafe(f"{name!r} is outside")
        folder = self._root
        for part in path.parts[:-1]:
            folder = folder / part
            folder.mkdir(exist_ok=True)
            if folder.is_symlink():
                raise _unsafe(f"{name} goes through a link")
        return folder / path.name if path.parts else folder

    def _clear(self, target: Path) -> None:
        if target == self._root:
            raise _unsafe("a file without a name")
        if target.is_symlink() or target.is_file():
            target.unlink()


class _ShortReads:
    """A stream whose single reads are bounded: headers are read whole, and may claim to be gigabytes long."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        if size > _LONGEST_HEADER:
            raise _unsafe(f"a header of {size} bytes")
        return self._stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _unpack_tar(stream: IO[bytes], unpacking: _Unpacking) -> None:
    bounded: Any = _ShortReads(stream)
    with tarfile.open(fileobj=bounded, mode="r:") as archive:
        for member in archive:
            # Going to the next member reads over this one, so its size counts even if it is not unpacked.
            unpacking.check_size(member.size)
            if member.isdir():
                unpacking.folder(member.name)
            elif member.issym():
                unpacking.link(member.name, member.linkname)
            elif member.isfile() or member.islnk():
                content = _content(archive, member)
                with content:
                    unpacking.file(member.name, content, member.mode)
            else:
                raise _unsafe(f"{member.name} is a device or pipe")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    try:
        content = archive.extractfile(member)
    except KeyError as error:
        raise tarfile.ReadError(f"{member.name} is a link to nothing in the archive") from error
    if content is None:
        raise tarfile.ReadError(f"{member.name} holds nothing")
    return content


def _unpack_zip(path: Path, unpacking: _Unpacking) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            mode = member.external_attr >> 16
            if member.is_dir():
                unpacking.folder(member.filename)
                continue
            if member.flag_bits & 0x1:
                raise ExecutorError("the archive is encrypted", permanent=True)
            with archive.open(member) as content:
                if stat.S_ISLNK(mode):
                    unpacking.link(member.filename, os.fsdecode(content.read(_LONGEST_LINK)))
                else:
                    unpacking.file(member.filename, content, mode or 0o644)


def merge(staged: Path, destination: int) -> None:
    """Move what was unpacked into a folder, each file whole; what else is there stays.

    Raises:
        ExecutorError: a link is there that may not be followed.
        OSError: the disk would not have it.
    """
    for entry in sorted(staged.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            target = enter(destination, entry.name)
            try:
                merge(entry, target)
                os.fchmod(target, stat.S_IMODE(entry.stat().st_mode))
            finally:
                os.close(target)
        else:
            os.replace(entry, entry.name, dst_dir_fd=destination)


def _unsafe(what: str) -> ExecutorError:
    return ExecutorError(f"the archive is not safe to unpack: {what}", permanent=True)
