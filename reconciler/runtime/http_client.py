"""Asks another daemon's HTTP server for an answer that may never end. ``reconciler logs`` calls it."""

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import urllib3
import urllib3.connection
import urllib3.exceptions

from reconciler.errors import ReconcilerError

_CONNECT_S: Final = 5.0
_PIECE_BYTES: Final = 64 * 1024
# a machine that is gone says nothing: the kernel finds out
_SOCKET_OPTIONS: Final = [
    *urllib3.connection.HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class Unreachable(ReconcilerError):
    """Nobody answers there."""


class Cut(ReconcilerError):
    """Who answered has stopped, or the way there is broken."""


class Answered(ReconcilerError):
    """The answer is an error of this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Credentials(msgspec.Struct, frozen=True):
    """What we show, and whom we believe. Without ``ca``: those whom the system believes."""

    token: bytes | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def stream(url: str, query: Mapping[str, str], credentials: Credentials) -> Iterator[bytes]:
    """The body of ``GET url``, piece by piece as it comes.

    Raises:
        Unreachable: nobody answers, or not as they should.
        Answered: with an error.
        Cut: the answer ended without its end.
    """
    headers = {"Authorization": f"Bearer {credentials.token.decode()}"} if credentials.token else {}
    files = {"ca_certs": credentials.ca, "cert_file": credentials.certificate, "key_file": credentials.key}
    tls = {name: str(path) for name, path in files.items() if path is not None}
    with urllib3.PoolManager(socket_options=_SOCKET_OPTIONS, retries=False, **tls) as pool:  # type: ignore[arg-type]
        try:
            answer = pool.request(
                "GET",
                url,
                fields=dict(query),
                headers=headers,
                preload_content=False,
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=None),
                redirect=False,
            )
        except urllib3.exceptions.SSLError as error:
            raise Unreachable(f"{url}: {error}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(f"nobody answers at {url}: {error}") from error
        try:
            if answer.status != 200:
                raise Answered(answer.status, _said(answer.read(_PIECE_BYTES), answer.status))
            yield from answer.stream(_PIECE_BYTES, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise Cut(f"{url}: the answer was cut: {error}") from error
        finally:
            answer.close()


def _said(body: bytes, status: int) -> str:
    try:
        return str(msgspec.json.decode(body)["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {status}: {body[:200].decode(errors='replace')}"
