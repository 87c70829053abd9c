"""Fetches the ``artifact`` of a bash container (http, https, file) and puts it where the container wants it.

Downloads are kept by URL and asked for anew only if the server says that they changed; when the server can't be
reached, what is kept serves. What has a given SHA-256 is kept by that too, and never asked for again. ``downloads``
does the asking. All agents of a machine share the downloads.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final
from urllib.parse import unquote, urlsplit

from reconciler.errors import ExecutorError
from reconciler.executors.archives import Limits, merge, suffix_of, unpack
from reconciler.executors.cancelling import Cut, until_cancelled
from reconciler.executors.downloads import Download, shown, split_url
from reconciler.executors.folders import enter, open_folder
from reconciler.executors.interface import Keep, StartCancelled, Swept, never, unless_cancelled
from reconciler.executors.leftovers import delete, is_unchanged, kept_in, note_use, unneeded

log = logging.getLogger(__name__)

_BLOCK_BYTES: Final = 256 * 1024
_STAGING: Final = ".reconciler-artifact-"


class Artifacts:
    """The downloads in ``folder``, which other agents may share. Thread-safe.

    ``sha256`` (in hex) is what it must have; empty: any.
    """

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self._folder = folder
        self._limits = limits or Limits()

    def fetch(self, url: str, sha256: str = "", is_cancelled: Callable[[], bool] = never) -> None:
        """Make sure that what ``url`` names now is here.

        Raises:
            ExecutorError: it can't be had, and no earlier download of it is kept; or it is another one than wanted.
            StartCancelled: ``is_cancelled`` said so; what has come is gone on with the next time.
        """
        parts = split_url(url)
        if parts.scheme == "file":
            _local(url, sha256, is_cancelled)
            return
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ExecutorError(f"cannot fetch {shown(url)}: not an http, https or file URL", permanent=True)
        until_cancelled(partial(self._fetch, url, sha256), is_cancelled)

    def _fetch(self, url: str, sha256: str, cut: Cut) -> None:
        folder = self._kept(url, sha256)
        try:
            with _held(folder):
                unless_cancelled(cut)
                note_use(folder)
                if not sha256 or not _is_whole(url, folder / "data", sha256, cut):
                    self._bring(url, sha256, folder, cut)
        except OSError as error:
            raise ExecutorError(f"cannot keep {shown(url)}: {error.strerror or error}") from error

    def _bring(self, url: str, sha256: str, folder: Path, cut: Cut) -> None:
        try:
            self._download(url, sha256, folder, cut)
        except StartCancelled:
            raise
        except ExecutorError as error:
            if error.permanent or not (folder / "data").exists():
                raise
            log.warning("%s; going on with the download that is kept", error.message)

    def place(self, url: str, destination: Path, sha256: str = "", is_cancelled: Callable[[], bool] = never) -> None:
        """Put it into ``destination``: an archive unpacked, anything else as an executable file of its name.

        Raises:
            ExecutorError: it can't be had, is another one than wanted, or is no archive to be unpacked here.
            StartCancelled: ``is_cancelled`` said so.
        """
        if split_url(url).scheme == "file":
            source = _local(url, sha256, is_cancelled)
        else:
            source = self._kept(url, sha256) / "data"
            if sha256 or not source.exists():
                # what is here is looked at again: a disk may have lost a part of it
                self.fetch(url, sha256, is_cancelled)
            note_use(source.parent)
        try:
            with contextlib.ExitStack() as opened:
                into = open_folder(destination)
                opened.callback(os.close, into)
                self._sweep(_path(into))
                name = Path(tempfile.mkdtemp(prefix=_STAGING, dir=_path(into))).name
                opened.callback(shutil.rmtree, _path(into) / name, ignore_errors=True)
                staged = enter(into, name)
                opened.callback(os.close, staged)
                _check_own(staged)
                with self._unchanging(url, source, sha256, is_cancelled) as content:
                    self._stage(url, content, _path(staged), is_cancelled)
                merge(_path(staged), into)
        except OSError as error:
            raise ExecutorError(f"cannot put {shown(url)} into {destination}: {error.strerror or error}") from error
        except StartCancelled:
            raise
        except ExecutorError as error:
            raise ExecutorError(f"{shown(url)}: {error.message}", permanent=error.permanent) from error

    def sweep(self, keep: Keep, wanted: Iterable[tuple[str, str]], now: float) -> Swept:
        """Delete downloads that nobody uses; ``wanted`` (URL, SHA-256) are needed by somebody. Raises OSError."""
        folders = {self._kept(url, sha256) for url, sha256 in wanted}
        for folder in folders:
            note_use(folder)  # for other agents of this machine, which share the folder
        count = size = 0
        for each in unneeded(kept_in(self._folder), folders, now, keep):
            with contextlib.suppress(BlockingIOError, FileNotFoundError), _held(each.path, wait=False):
                if is_unchanged(each):
                    delete(each.path)
                    count, size = count + 1, size + each.size
        return Swept(count, size)

    @contextlib.contextmanager
    def _unchanging(self, url: str, source: Path, sha256: str, is_cancelled: Callable[[], bool]) -> Iterator[Path]:
        """What others may write to between the look at it and its use is copied first, and looked at then."""
        if not sha256 or split_url(url).scheme != "file":
            yield source
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._folder) as own:
            with source.open("rb") as content:
                self._copy(content, own, is_cancelled)
            own.flush()
            copy = _path(own.fileno())
            _check_sha256(url, copy, sha256, is_cancelled)
            yield copy

    def _stage(self, url: str, source: Path, staged: Path, is_cancelled: Callable[[], bool]) -> None:
        name = unquote(PurePosixPath(urlsplit(url).path).name)
        suffix = suffix_of(name)
        if suffix is not None:
            unpack(source, suffix, staged, self._limits, is_cancelled)
            return
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise ExecutorError("the URL names no file", permanent=True)
        with source.open("rb") as content, (staged / name).open("wb") as file:
            self._copy(content, file, is_cancelled)
        (staged / name).chmod(0o755)

    def _download(self, url: str, sha256: str, folder: Path, cut: Cut) -> None:
        download = Download(url, folder, self._limits, cut)
        if not download.run():
            return
        try:
            _check_sha256(url, download.part, sha256, cut)
        except StartCancelled:
            raise  # it may be right; the next one looks
        except ExecutorError:
            download.forget()  # whatever is wrong with it, the next one begins anew
            raise
        download.keep()

    def _copy(self, content: IO[bytes], file: IO[bytes], is_cancelled: Callable[[], bool]) -> None:
        left, deadline = self._limits.download_bytes, time.monotonic() + self._limits.time_s
        while block := content.read(_BLOCK_BYTES):
            unless_cancelled(is_cancelled)
            left -= len(block)
            self._limits.check_download(left, deadline)
            file.write(block)

    def _sweep(self, destination: Path) -> None:
        """Delete what a process that was killed in the middle left there."""
        for left in destination.glob(f"{_STAGING}*"):
            with contextlib.suppress(FileNotFoundError):  # its own process may be about to
                if time.time() - left.stat().st_mtime > self._limits.time_s:
                    shutil.rmtree(left, ignore_errors=True)

    def _kept(self, url: str, sha256: str) -> Path:
        """The folder of a download. One URL may have served several contents, each wanted by some version of a task."""
        name = f"{url}\n{sha256.lower()}" if sha256 else url
        return self._folder / hashlib.sha256(name.encode()).hexdigest()


@contextlib.contextmanager
def _held(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep a download to oneself, among the threads and agents of this machine; its folder is made.

    Raises:
        BlockingIOError: somebody else holds it, and we don't ``wait``.
        OSError: the disk would not have it.
    """
    while True:
        if wait:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists() and os.path.samestat(os.fstat(fd), folder.stat()):
                yield
                return
        finally:
            os.close(fd)
        # it was swept away while we waited


def _path(fd: int) -> Path:
    """A name for what is open, which stays its own whatever is renamed."""
    return Path(f"/proc/self/fd/{fd}")


def _check_own(folder: int) -> None:
    """What was just made may have been replaced by who owns the folder above it."""
    if os.fstat(folder).st_uid != os.geteuid():
        raise ExecutorError("somebody else renames files there at the same time")


def _is_whole(url: str, path: Path, sha256: str, is_cancelled: Callable[[], bool]) -> bool:
    """Whether what is kept is what is wanted; if it is not, it is dropped."""
    try:
        _check_sha256(url, path, sha256, is_cancelled)
    except FileNotFoundError:
        return False
    except StartCancelled:
        raise
    except ExecutorError as error:
        log.warning("%s; it is fetched anew", error.message)
        path.unlink(missing_ok=True)
        return False
    return True


def _local(url: str, sha256: str, is_cancelled: Callable[[], bool]) -> Path:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute():
        raise ExecutorError(f"cannot fetch {shown(url)}: write file:///absolute/path", permanent=True)
    if not path.is_file():
        raise ExecutorError(f"cannot fetch {shown(url)}: there is no such file on this host", permanent=True)
    try:
        _check_sha256(url, path, sha256, is_cancelled)
    except OSError as error:
        raise ExecutorError(f"cannot read {shown(url)}: {error.strerror or error}") from error
    return path


def _check_sha256(url: str, path: Path, sha256: str, is_cancelled: Callable[[], bool]) -> None:
    """Raises ExecutorError when a file is another one than wanted; not permanent, since the next fetch may be whole."""
    if not sha256:
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            unless_cancelled(is_cancelled)
            digest.update(block)
    found = digest.hexdigest()
    if found != sha256.lower():
        raise ExecutorError(
            f"{shown(url)} is not what the task definition says: its SHA-256 is {found}, not {sha256.lower()}",
            hint="somebody changed the file, or sha256 is that of another one",
        )
