"""HTTP to a Consul agent: keep-alive, timeouts, the token in a header, and every failure told apart.

What went wrong decides what a caller may conclude, so each failure is one of: certainly not carried out
(``StoreUnreachable``), no leader (``StoreNoLeader``: Consul says itself that nothing happened), denied, too large, or
*answer lost* (``AnswerLost``: a write may have happened or may still happen). Used by ``store.consul_client`` only.
"""

import contextlib
import logging
import random
import socket
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import msgspec
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from reconciler import __version__
from reconciler.errors import StoreDenied, StoreError, StoreNoLeader, StoreTooLarge, StoreUnreachable
from reconciler.store.commits import AnswerLost

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 12.0
"""Longer than the 7 s for which an agent waits for a leader before it says that there is none."""

ATTEMPTS = 3
RETRY_WITHIN_S = 5.0
POOL_SIZE = 64
NO_LEADER = ("No cluster leader", "No known Consul servers")
DENIED = ("Permission denied", "ACL not found", "ACL support disabled")

Query: TypeAlias = Sequence[tuple[str, Any]]


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where the agent listens and how to trust it. Paths are files in PEM format."""

    host: str = "127.0.0.1"
    port: int = 8500
    is_tls: bool = False
    verify: bool = True
    ca_file: str | None = None
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    server_name: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"


class Answer(msgspec.Struct, frozen=True):
    """An answer that is not an error: 2xx, 404, or a transaction's 409."""

    status: int
    index: int
    body: bytes


class Transport:
    """A pool of connections to one agent, safe to use from several threads."""

    def __init__(self, address: Address, token: str | None) -> None:
        self.address = address
        self._headers = {"User-Agent": f"reconciler/{__version__}"}
        if token:
            self._headers["X-Consul-Token"] = token
        self._open: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._pool = self._new_pool()

    def read(
        self, path: str, query: Query = (), *, wait_s: float | None = None, question: bytes | None = None
    ) -> Answer:
        """GET, or PUT of a ``question`` that changes nothing (a transaction of reads).

        Failures that may pass are tried again some times, but for blocking reads (``wait_s``).
        """
        method = "GET" if question is None else "PUT"
        began = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._send(method, path, query, question, wait_s)
            except AnswerLost as error:
                failure: StoreError = StoreUnreachable(error.message, hint=error.hint)
            except StoreUnreachable as error:
                failure = error
            if wait_s is not None or attempt == ATTEMPTS or self._closed or time.monotonic() - began > RETRY_WITHIN_S:
                raise failure
            time.sleep(0.1 * attempt * (0.5 + self._rng.random()))

    def write(self, path: str, query: Query = (), body: bytes = b"", *, method: str = "PUT") -> Answer:
        """PUT, once. Raises AnswerLost when nobody can say whether it was carried out."""
        return self._send(method, path, query, body, None)

    def close(self) -> None:
        """Close all connections; calls that wait for an answer raise StoreUnreachable."""
        with self._lock:
            self._closed = True
            connections = list(self._open)
        for connection in connections:
            if isinstance(connection.sock, socket.socket):
                # past the TLS layer, whose state belongs to the thread that is reading
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
        self._pool.close()

    def _send(self, method: str, path: str, query: Query, body: bytes | None, wait_s: float | None) -> Answer:
        if "//" in path:
            raise ValueError(f"{path}: Consul would redirect an empty segment to another key")
        if self._closed:
            raise StoreUnreachable(f"{self.address}: the store is closed")
        url = quote(path, safe="/:") + (f"?{urlencode(query)}" if query else "")
        read_s = READ_TIMEOUT_S + (wait_s + wait_s / 16 if wait_s else 0.0)
        try:
            response = self._pool.urlopen(
                method, url, body, self._headers, retries=False, redirect=False,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=read_s),
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            if self._closed:
                raise StoreUnreachable(f"{self.address}: the store is closed") from error
            raise _failure(error, self.address, read_s) from error
        _check_status(response.status, response.data, path)
        return Answer(response.status, _index(response.headers.get("X-Consul-Index")), response.data)

    def _new_pool(self) -> urllib3.HTTPConnectionPool:
        admit = self._admit

        class Connection(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                admit(self)

        class TlsConnection(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                admit(self)

        address = self.address
        if not address.is_tls:
            pool = urllib3.HTTPConnectionPool(address.host, address.port, maxsize=POOL_SIZE)
            pool.ConnectionCls = Connection
            return pool
        options: dict[str, Any] = {"server_hostname": address.server_name} if address.server_name else {}
        if not address.verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            log.warning("%s: its certificate is not verified (CONSUL_HTTP_SSL_VERIFY)", address)
            options["assert_hostname"] = False
        tls_pool = urllib3.HTTPSConnectionPool(
            address.host,
            address.port,
            maxsize=POOL_SIZE,
            cert_reqs="CERT_REQUIRED" if address.verify else "CERT_NONE",
            ca_certs=address.ca_file,
            ca_cert_dir=address.ca_path,
            cert_file=address.client_cert,
            key_file=address.client_key,
            **options,
        )
        tls_pool.ConnectionCls = TlsConnection
        return tls_pool

    def _admit(self, connection: HTTPConnection) -> None:
        """Remember a new connection, so that ``close`` can end it in the middle of a call."""
        with self._lock:
            if self._closed:
                connection.close()
                raise StoreUnreachable(f"{self.address}: the store is closed")
            self._open.add(connection)


def _failure(error: urllib3.exceptions.HTTPError, address: Address, read_s: float) -> StoreError:
    """What a call without an answer means."""
    cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
    if isinstance(cause, urllib3.exceptions.SSLError):
        return StoreUnreachable(
            f"{address}: no trusted TLS connection: {cause}",
            hint="Check CONSUL_CACERT, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY, CONSUL_TLS_SERVER_NAME; or write "
            "consul:// if that port speaks plain HTTP.",
        )
    if isinstance(cause, urllib3.exceptions.ConnectTimeoutError | urllib3.exceptions.NewConnectionError):
        return StoreUnreachable(
            f"can't connect to Consul at {address}: {_reason(cause)}",
            hint="Is the Consul agent running there? Try: consul members. "
            "Another address: --store consul://HOST:PORT, or CONSUL_HTTP_ADDR.",
        )
    if isinstance(cause, urllib3.exceptions.ReadTimeoutError):
        return AnswerLost(f"{address} did not answer within {read_s:.0f} s")
    return AnswerLost(f"{address} broke off: {_reason(cause)}")


def _reason(error: Exception) -> str:
    """The system's own words, without the library's around them."""
    inner = error.__cause__ or next((each for each in reversed(error.args) if isinstance(each, Exception)), None)
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner or error)


def _check_status(status: int, body: bytes, path: str) -> None:
    """Raise what an answer that is an error means."""
    if status < 300 or status in (404, 409):
        return
    text = body.decode(errors="replace").strip()[:500]
    if any(words in text for words in DENIED) or status in (401, 403):
        raise StoreDenied(
            f"Consul denies {path}: {text or status}",
            hint="Give a token with rights (CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE); "
            "examples/deploy/consul-acl has a policy for each role.",
        )
    if any(words in text for words in NO_LEADER):
        raise StoreNoLeader(f"Consul has no leader now ({text})")
    if status == 413:
        raise StoreTooLarge(f"Consul finds {path} too large: {text}")
    if status == 429:
        raise StoreUnreachable(f"Consul turns calls away for now: {text}")
    if status >= 500:
        raise AnswerLost(f"Consul answered {status} to {path}: {text}")
    hint = "Write consul+https:// in the store's URL." if "HTTPS server" in text else None
    raise StoreError(
        f"Consul refused {path}: {status} {text}", hint=hint or ("Is that a Consul?" if status < 400 else None)
    )


def _index(header: str | None) -> int:
    """A usable index, whatever the header says."""
    return max(1, int(header)) if header and header.isdigit() else 1
