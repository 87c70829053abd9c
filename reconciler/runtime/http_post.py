"""Sends one request to somebody else's HTTP server, once, and says what came back. ``notify`` calls it.

Never follows a redirect: what is secret in the headers, or is the body, is for the one address that was given.
"""

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import urllib3
import urllib3.exceptions
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from reconciler import __version__
from reconciler.errors import ReconcilerError

# it warns of strange headers with the whole URL, which may be a secret
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

USER_AGENT: Final = f"reconciler/{__version__}"
_CONNECT_S: Final = 5.0
_LATE: Final = "no answer in time"
_AGAIN_S: Final = 0.5
"""How often it is looked, when time is over, for a connection that came late."""
_MOST_BYTES: Final = 4096
"""So much of an answer is kept, for people to read."""


class Unanswered(ReconcilerError):
    """Nobody answered, or not as they should. Says no more of the address than its host."""


class Answer(msgspec.Struct, frozen=True):
    """What came back. ``headers`` by their lower-case names; ``text`` is the beginning of the body."""

    status: int
    headers: Mapping[str, str]
    text: str


def post(url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float, ca_file: str = "") -> Answer:
    """The answer to ``POST url``, within ``timeout_s`` once there is a connection.

    The server is verified, by ``ca_file`` or by what the system believes.

    Raises:
        Unanswered: there is none; the request may have been carried out all the same.
    """
    # an absent option is not the same as None: that would believe nobody
    trust = {"ca_certs": ca_file} if ca_file else {}
    timeout = urllib3.Timeout(connect=min(_CONNECT_S, timeout_s), read=timeout_s)
    sent = urllib3.HTTPHeaderDict({"User-Agent": USER_AGENT})
    for name, value in headers.items():
        sent[name] = value
    deadline = _Deadline(timeout_s)
    try:
        with (
            urllib3.PoolManager(retries=False, cert_reqs="CERT_REQUIRED", **trust) as pools,  # type: ignore[arg-type]
            deadline,
        ):
            deadline.watch(pools.connection_from_url(url))
            answer = pools.request(
                "POST",
                url,
                body=body,
                headers=sent,
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            try:
                if deadline.has_passed:  # headers that were cut off look as if they were whole
                    raise Unanswered(_LATE)
                text = _beginning(answer)
                found = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status, found, text.decode(errors="replace"))
            finally:
                answer.close()
    except (urllib3.exceptions.LocationValueError, urllib3.exceptions.LocationParseError):
        raise Unanswered("what was given is not a URL") from None  # the error shows all of it
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unanswered(_LATE if deadline.has_passed else _why(error)) from error
    except ValueError:
        raise Unanswered("a header or the URL holds what can't be sent, such as a line break") from None


class _Deadline:
    """Ends a whole exchange, however slowly it comes: a socket's own timeout begins anew with each byte."""

    def __init__(self, timeout_s: float) -> None:
        self.has_passed = False
        self._timeout_s = timeout_s
        self._over = threading.Event()
        self._connections: list[HTTPConnection] = []

    def __enter__(self) -> None:
        threading.Thread(target=self._wait, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def watch(self, pool: HTTPConnectionPool) -> None:
        """Cut the connections that this pool will make."""
        make: Callable[..., HTTPConnection] = pool.ConnectionCls  # type: ignore[assignment]

        def remembered(**options: Any) -> HTTPConnection:
            self._connections.append(connection := make(**options))
            return connection

        pool.ConnectionCls = remembered  # type: ignore[assignment]

    def _wait(self) -> None:
        wait_s = self._timeout_s
        while not self._over.wait(wait_s):
            self.has_passed = True
            wait_s = _AGAIN_S
            for connection in list(self._connections):
                if connection.sock is not None:
                    with contextlib.suppress(OSError):
                        # a TLS socket's own method would also take from the reader what it reads with
                        socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _beginning(answer: urllib3.BaseHTTPResponse) -> bytes:
    """Of the body; the status stands already, so what is late or broken here does not matter."""
    text = b""
    try:
        while len(text) < _MOST_BYTES:
            piece = answer.read1(_MOST_BYTES - len(text), decode_content=False)
            if not piece:
                break
            text += piece
    except (urllib3.exceptions.HTTPError, OSError):
        pass
    return text


def _why(error: Exception) -> str:
    match error:
        case urllib3.exceptions.SSLError():
            return f"TLS: {error}"
        case urllib3.exceptions.NameResolutionError():
            return "no address is known for its name"
        case urllib3.exceptions.NewConnectionError():
            return f"nobody answers: {error.__cause__ or 'no connection'}"
        case urllib3.exceptions.ConnectTimeoutError() | urllib3.exceptions.ReadTimeoutError():
            return _LATE
    return f"the connection broke: {error}"
