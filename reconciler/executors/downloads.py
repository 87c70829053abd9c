"""One download over http or https: asked for only if it changed, bounded, and gone on with where it was cut.

``artifacts`` calls it, for one folder never twice at once on this machine. In that folder are ``data``, the whole file,
with what the server said of it, and ``part``, what has come so far of the next one. URLs may hold a password, so
messages show them without user and query.
"""

import contextlib
import os
import socket
import time
import urllib.request
from pathlib import Path
from typing import IO, Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
import urllib3
import urllib3.connection

from reconciler.errors import ExecutorError
from reconciler.executors.archives import Limits
from reconciler.executors.cancelling import Cut
from reconciler.executors.interface import unless_cancelled

_BLOCK_BYTES: Final = 256 * 1024
_MOST_RESUMES: Final = 20
"""How often one download is gone on with at once; each time something must have come."""
_AGAIN: Final = (408, 425, 429)
"""Client errors that may be over the next time."""


class Kept(msgspec.Struct, frozen=True):
    """What the server said of a file: how to ask whether it is still the same."""

    etag: str = ""
    last_modified: str = ""

    @property
    def strong(self) -> str:
        """With what a part may be gone on with: a weak tag says only that two files mean the same."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class Download:
    """Brings ``folder`` up to date with ``url``: ``run``, then ``keep`` or ``forget``. Methods raise OSError."""

    def __init__(self, url: str, folder: Path, limits: Limits, cut: Cut) -> None:
        self._url = url
        self._limits = limits
        self._cut = cut
        self._data, self._data_note = folder / "data", folder / "kept.json"
        self.part, self._part_note = folder / "part", folder / "part.json"

    def run(self) -> bool:
        """Fetch it into ``part``; False: what is kept is what the server has.

        Raises:
            ExecutorError: it can't be had. What has come of it is gone on with the next time.
            StartCancelled: likewise, when it was cut.
        """
        deadline = time.monotonic() + self._limits.time_s
        with _pool(self._url, self._cut) as pool:
            for left in reversed(range(_MOST_RESUMES)):
                before = self._came()
                try:
                    return self._ask(pool, deadline)
                except _CutError as error:
                    if not left or self._came() <= before or not _read_note(self._part_note).strong:
                        raise error.told from error
                except ExecutorError as error:
                    if error.permanent:
                        self.forget()
                    raise
        raise AssertionError("the last round returns or raises")

    def keep(self) -> None:
        """Let ``part``, which is whole, be the file."""
        note = _read_note(self._part_note)
        # Without its note a download is fetched anew: so never an old note beside new data.
        self._data_note.unlink(missing_ok=True)
        with self.part.open("rb") as part:
            os.fsync(part)  # else a power cut may leave the name without the content
        self.part.replace(self._data)
        self._data_note.write_bytes(msgspec.json.encode(note))
        self._part_note.unlink(missing_ok=True)

    def forget(self) -> None:
        """Drop what has come; the next ``run`` begins anew."""
        self._part_note.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    def _came(self) -> int:
        try:
            return self.part.stat().st_size
        except FileNotFoundError:
            return 0

    def _ask(self, pool: urllib3.PoolManager, deadline: float) -> bool:
        unless_cancelled(self._cut)
        came, note = self._came(), _read_note(self._part_note)
        resumes = came > 0 and bool(note.strong)
        headers = self._conditions()
        if resumes:
            # another file than before comes whole, in an answer of 200
            headers |= {"Range": f"bytes={came}-", "If-Range": note.strong}
        with contextlib.closing(_get(pool, self._url, headers)) as response:
            if response.status == 304:
                return False
            if resumes and response.status in (206, 416) and not _goes_on(response, came, note):
                self.forget()
                return self._ask(pool, deadline)
            _check_status(self._url, response.status, resumes=resumes)
            if response.status != 206:
                self.forget()
                came = 0
                said = Kept(response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))
                self._part_note.write_bytes(msgspec.json.encode(said))
            with self.part.open("ab") as file:
                self._copy(response, file, self._limits.download_bytes - came, deadline)
        return True

    def _conditions(self) -> dict[str, str]:
        kept = _read_note(self._data_note) if self._data.exists() else Kept()
        if kept.etag:
            return {"If-None-Match": kept.etag}
        return {"If-Modified-Since": kept.last_modified} if kept.last_modified else {}

    def _copy(self, response: urllib3.BaseHTTPResponse, file: IO[bytes], left: int, deadline: float) -> None:
        try:
            for block in response.stream(_BLOCK_BYTES, decode_content=False):
                unless_cancelled(self._cut)
                left -= len(block)
                self._limits.check_download(left, deadline)
                file.write(block)
            unless_cancelled(self._cut)  # a connection that was broken looks like the end of what has no length
        except urllib3.exceptions.HTTPError as error:
            raise _CutError(ExecutorError(f"cannot fetch {shown(self._url)}: {error}")) from error


class _CutError(Exception):
    """An answer that broke off; ``told`` is what to say if it can't be gone on with."""

    def __init__(self, told: ExecutorError) -> None:
        super().__init__(told.message)
        self.told = told


def shown(url: str) -> str:
    """``url`` as messages may show it: no password, no query."""
    parts = urlsplit(url)
    host = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path


def split_url(url: str) -> SplitResult:
    """The parts of an artifact's URL. Raises ExecutorError when it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # only looked at when asked for
    except ValueError as error:
        raise ExecutorError(f"an artifact's URL is not one: {error}", permanent=True) from error
    return parts


def _get(pool: urllib3.PoolManager, url: str, conditions: dict[str, str]) -> urllib3.BaseHTTPResponse:
    parts = urlsplit(url)
    headers = {"Accept-Encoding": "identity", "User-Agent": "reconciler", **conditions}
    if parts.username is not None:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers.update(urllib3.util.make_headers(basic_auth=account))
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        retries = urllib3.Retry(total=None, connect=2, read=2, redirect=5, backoff_factor=0.2)
        return pool.request("GET", url, headers=headers, preload_content=False, retries=retries)
    except urllib3.exceptions.HTTPError as error:
        reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
        raise ExecutorError(f"cannot fetch {shown(url)}: {reason}") from error


def _pool(url: str, cut: Cut) -> urllib3.PoolManager:
    timeout = urllib3.Timeout(connect=10.0, read=60.0)
    parts = urlsplit(url)
    proxy = None if urllib.request.proxy_bypass(parts.hostname or "") else urllib.request.getproxies().get(parts.scheme)
    pool = urllib3.ProxyManager(proxy, timeout=timeout) if proxy else urllib3.PoolManager(timeout=timeout)
    pool.pool_classes_by_scheme = _pools_that_watch(cut)
    return pool


def _pools_that_watch(cut: Cut) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Pools whose connections are broken when the download is cut, in the middle of anything but the connecting."""

    class Plain(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _watched(super()._new_conn(), cut)

    class Secure(urllib3.connection.HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _watched(super()._new_conn(), cut)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _watched(connection: socket.socket, cut: Cut) -> socket.socket:
    cut.watch(connection)
    return connection


def _goes_on(response: urllib3.BaseHTTPResponse, came: int, note: Kept) -> bool:
    """Whether an answer is what comes after ``came`` bytes of the same file; not all servers heed If-Range."""
    said = Kept(
        response.headers.get("ETag", note.etag),
        response.headers.get("Last-Modified", note.last_modified),
    )
    return (
        said == note
        and response.status == 206
        and response.headers.get("Content-Range", "").startswith(f"bytes {came}-")
    )


def _check_status(url: str, status: int, *, resumes: bool) -> None:
    if status == 200 or (status == 206 and resumes):
        return
    what = {401: "it asks for a password", 403: "it is forbidden", 404: "there is no such thing"}.get(status, "")
    raise ExecutorError(
        f"cannot fetch {shown(url)}: the server answered {status}{f' ({what})' if what else ''}",
        permanent=400 <= status < 500 and status not in _AGAIN,
    )


def _read_note(path: Path) -> Kept:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError):
        return Kept()
