"""Fetches the ``artifact`` of a bash container (http, https, file) and puts it where the container wants it.

Downloads are kept by URL and asked for anew only if the server says that they changed; when the server can't be
reached, what is kept serves. URLs may hold a password, so messages show them without user and query.
"""

import contextlib
import hashlib
import logging
import shutil
import tempfile
import threading
import time
import urllib.request
from pathlib import Path, PurePosixPath
from typing import IO, Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
import urllib3

from reconciler.errors import ExecutorError
from reconciler.executors.archives import Limits, merge, suffix_of, unpack

log = logging.getLogger(__name__)

_BLOCK_BYTES: Final = 256 * 1024
_STAGING: Final = ".reconciler-artifact-"
_AGAIN: Final = (408, 425, 429)
"""Client errors that may be over the next time."""


class Kept(msgspec.Struct, frozen=True):
    """What the server said of the download that is kept."""

    etag: str = ""
    last_modified: str = ""


class Artifacts:
    """The downloads of one agent, in ``folder``. Thread-safe."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self._folder = folder
        self._limits = limits or Limits()
        self._locks_lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def fetch(self, url: str) -> None:
        """Make sure that what ``url`` names now is here.

        Raises:
            ExecutorError: it can't be had, and no earlier download of it is kept.
        """
        parts = _split(url)
        if parts.scheme == "file":
            _local(url)
            return
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ExecutorError(f"cannot fetch {shown(url)}: not an http, https or file URL", permanent=True)
        with self._lock(url):
            try:
                self._download(url)
            except ExecutorError as error:
                if error.permanent or not self._data(url).exists():
                    raise
                log.warning("%s; going on with the download that is kept", error.message)

    def place(self, url: str, destination: Path) -> None:
        """Put it into ``destination``: an archive unpacked, anything else as an executable file of its name.

        Raises:
            ExecutorError: it can't be had, or is no archive to be unpacked here.
        """
        local = _split(url).scheme == "file"
        if not local and not self._data(url).exists():
            self.fetch(url)
        source = _local(url) if local else self._data(url)
        try:
            destination.mkdir(parents=True, exist_ok=True)
            self._sweep(destination)
            staged = Path(tempfile.mkdtemp(prefix=_STAGING, dir=destination))
            try:
                self._stage(url, source, staged)
                merge(staged, destination)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
        except OSError as error:
            raise ExecutorError(f"cannot put {shown(url)} into {destination}: {error.strerror or error}") from error
        except ExecutorError as error:
            raise ExecutorError(f"{shown(url)}: {error.message}", permanent=error.permanent) from error

    def _stage(self, url: str, source: Path, staged: Path) -> None:
        name = unquote(PurePosixPath(urlsplit(url).path).name)
        suffix = suffix_of(name)
        if suffix is not None:
            unpack(source, suffix, staged, self._limits)
            return
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise ExecutorError("the URL names no file", permanent=True)
        with source.open("rb") as content, (staged / name).open("wb") as file:
            self._copy(content, file, time.monotonic() + self._limits.time_s)
        (staged / name).chmod(0o755)

    def _download(self, url: str) -> None:
        folder, data = self._data(url).parent, self._data(url)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            kept = _read_kept(folder) if data.exists() else Kept()
            part = folder / "part"
            with _pool(url) as pool, contextlib.closing(_get(pool, url, kept)) as response:
                if response.status == 304:
                    return
                _check_status(url, response.status)
                with part.open("wb") as file:
                    self._copy_response(url, response, file)
            # Without its note a download is fetched anew: so never an old note beside new data.
            (folder / "kept.json").unlink(missing_ok=True)
            part.replace(data)
            note = Kept(response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))
            (folder / "kept.json").write_bytes(msgspec.json.encode(note))
        except OSError as error:
            raise ExecutorError(f"cannot keep {shown(url)}: {error.strerror or error}") from error

    def _copy_response(self, url: str, response: urllib3.BaseHTTPResponse, file: IO[bytes]) -> None:
        deadline = time.monotonic() + self._limits.time_s
        left = self._limits.download_bytes
        try:
            for block in response.stream(_BLOCK_BYTES, decode_content=False):
                left -= len(block)
                self._check(left, deadline)
                file.write(block)
        except urllib3.exceptions.HTTPError as error:
            raise ExecutorError(f"cannot fetch {shown(url)}: {error}") from error

    def _copy(self, content: IO[bytes], file: IO[bytes], deadline: float) -> None:
        left = self._limits.download_bytes
        while block := content.read(_BLOCK_BYTES):
            left -= len(block)
            self._check(left, deadline)
            file.write(block)

    def _check(self, left: int, deadline: float) -> None:
        if left < 0:
            raise ExecutorError(f"the artifact is bigger than {self._limits.download_bytes} bytes", permanent=True)
        if time.monotonic() > deadline:
            raise ExecutorError(f"fetching the artifact took more than {self._limits.time_s:g} s")

    def _sweep(self, destination: Path) -> None:
        """Delete what a process that was killed in the middle left there."""
        for left in destination.glob(f"{_STAGING}*"):
            with contextlib.suppress(FileNotFoundError):  # its own process may be about to
                if time.time() - left.stat().st_mtime > self._limits.time_s:
                    shutil.rmtree(left, ignore_errors=True)

    def _data(self, url: str) -> Path:
        return self._folder / hashlib.sha256(url.encode()).hexdigest() / "data"

    def _lock(self, url: str) -> threading.Lock:
        with self._locks_lock:
            return self._locks.setdefault(url, threading.Lock())


def shown(url: str) -> str:
    """``url`` as messages may show it: no password, no query."""
    parts = urlsplit(url)
    host = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # only looked at when asked for
    except ValueError as error:
        raise ExecutorError(f"an artifact's URL is not one: {error}", permanent=True) from error
    return parts


def _local(url: str) -> Path:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute():
        raise ExecutorError(f"cannot fetch {shown(url)}: write file:///absolute/path", permanent=True)
    if not path.is_file():
        raise ExecutorError(f"cannot fetch {shown(url)}: there is no such file on this host", permanent=True)
    return path


def _get(pool: urllib3.PoolManager, url: str, kept: Kept) -> urllib3.BaseHTTPResponse:
    parts = urlsplit(url)
    headers = {"Accept-Encoding": "identity", "User-Agent": "reconciler"}
    if parts.username is not None:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers.update(urllib3.util.make_headers(basic_auth=account))
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if kept.etag:
        headers["If-None-Match"] = kept.etag
    elif kept.last_modified:
        headers["If-Modified-Since"] = kept.last_modified
    try:
        retries = urllib3.Retry(total=None, connect=2, read=2, redirect=5, backoff_factor=0.2)
        return pool.request("GET", url, headers=headers, preload_content=False, retries=retries)
    except urllib3.exceptions.HTTPError as error:
        reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
        raise ExecutorError(f"cannot fetch {shown(url)}: {reason}") from error


def _pool(url: str) -> urllib3.PoolManager:
    timeout = urllib3.Timeout(connect=10.0, read=60.0)
    parts = urlsplit(url)
    proxy = None if urllib.request.proxy_bypass(parts.hostname or "") else urllib.request.getproxies().get(parts.scheme)
    return urllib3.ProxyManager(proxy, timeout=timeout) if proxy else urllib3.PoolManager(timeout=timeout)


def _check_status(url: str, status: int) -> None:
    if status == 200:
        return
    what = {401: "it asks for a password", 403: "it is forbidden", 404: "there is no such thing"}.get(status, "")
    raise ExecutorError(
        f"cannot fetch {shown(url)}: the server answered {status}{f' ({what})' if what else ''}",
        permanent=400 <= status < 500 and status not in _AGAIN,
    )


def _read_kept(folder: Path) -> Kept:
    try:
        return msgspec.json.decode((folder / "kept.json").read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError):
        return Kept()
