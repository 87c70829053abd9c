"""HTTP to a Consul agent: keep-alive, timeouts, the token in a header, and every failure told apart.

What went wrong decides what a caller may conclude, so each failure is one of: certainly not carried out
(``StoreUnreachable``), no leader (``StoreNoLeader``: Consul says itself that nothing happened), denied, too large, or
*answer lost* (``AnswerLost``: a write may have happened or may still happen). Used by ``store.consul_client`` only.
"""

import logging
import random
import ssl
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import msgspec

from reconciler import __version__
from reconciler.errors import StoreDenied, StoreError, StoreNoLeader, StoreTooLarge, StoreUnreachable
from reconciler.store.commits import AnswerLost
from reconciler.store.consul_connection import Connection, connect

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 12.0
"""For so long nothing may come. An agent waits 7 s for a leader before it says that there is none."""

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
        self._headers = f"User-Agent: reconciler/{__version__}\r\n" + (f"X-Consul-Token: {token}\r\n" if token else "")
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._closed = False
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        weakref.finalize(self, _close_all, self._open)  # for a store that is left without being closed

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
            for connection in self._open:
                connection.shut()
            while self._idle:
                self._forget(self._idle.pop())

    def _send(self, method: str, path: str, query: Query, body: bytes | None, wait_s: float | None) -> Answer:
        if "//" in path:
            raise ValueError(f"{path}: Consul would redirect an empty segment to another key")
        target = quote(path, safe="/:") + (f"?{urlencode(query)}" if query else "")
        silence_s = READ_TIMEOUT_S + (wait_s + wait_s / 16 if wait_s else 0.0)
        connection = self._take()
        try:
            reply = connection.exchange(method, target, body, silence_s)
        except OSError as error:
            if self._closed:
                raise _closed(self.address) from error
            raise _no_answer(error, self.address, silence_s, is_new=not connection.has_answered) from error
        finally:
            self._give_back(connection)
        _check_status(reply.status, reply.body, path)
        return Answer(reply.status, _index(reply.headers.get(b"x-consul-index")), reply.body)

    def _take(self) -> Connection:
        """A connection for one call: the one that was used last, or a new one."""
        return self._kept() or self._new()

    def _kept(self) -> Connection | None:
        with self._lock:
            if self._closed:
                raise _closed(self.address)
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_stale():
                    return connection
                self._forget(connection)
        return None

    def _new(self) -> Connection:
        connection = self._connect()
        with self._lock:
            if self._closed:
                connection.close()
                raise _closed(self.address)
            self._open.add(connection)
        return connection

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if self._closed or len(self._idle) >= POOL_SIZE or not connection.is_kept:
                self._forget(connection)
            else:
                self._idle.append(connection)

    def _forget(self, connection: Connection) -> None:
        """Close it, under the lock: nobody may shut a socket whose number belongs to another one by then."""
        self._open.discard(connection)
        connection.close()

    def _connect(self) -> Connection:
        address = self.address
        name = (address.server_name or address.host).rstrip(".")
        try:
            with self._lock:
                if address.is_tls and self._tls is None:
                    self._tls = _tls(address)
            host = str(address).partition("//")[2]
            if not host.isascii():
                host = host.encode("idna").decode()
            connected = connect(address.host, address.port, self._tls, name, CONNECT_TIMEOUT_S)
        except ssl.SSLError as error:
            raise _untrusted(error, address) from error
        except (OSError, UnicodeError) as error:
            raise StoreUnreachable(
                f"can't connect to Consul at {address}: {_reason(error)}",
                hint="Is the Consul agent running there? Try: consul members. "
                "Another address: --store consul://HOST:PORT, or CONSUL_HTTP_ADDR.",
            ) from error
        return Connection(connected, f"Host: {host}\r\n{self._headers}")


def _close_all(connections: set[Connection]) -> None:
    for connection in connections:
        connection.close()


def _closed(address: Address) -> StoreUnreachable:
    return StoreUnreachable(f"{address}: the store is closed")


def _tls(address: Address) -> ssl.SSLContext:
    """Whom we trust, by default the system's authorities, and who we are.

    Raises:
        ssl.SSLError: what a file holds is of no use.
        OSError: a file can't be read.
    """
    context = ssl.create_default_context(cafile=address.ca_file, capath=address.ca_path)
    context.set_alpn_protocols(["http/1.1"])
    if not address.verify:
        log.warning("%s: its certificate is not verified (CONSUL_HTTP_SSL_VERIFY)", address)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if address.client_cert:
        context.load_cert_chain(address.client_cert, address.client_key, _no_password)
    return context


def _no_password() -> str:
    """Instead of OpenSSL, which would ask at the terminal."""
    raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the client's key is encrypted; give one that is not")


def _untrusted(error: OSError, address: Address) -> StoreUnreachable:
    return StoreUnreachable(
        f"{address}: no trusted TLS connection: {error}",
        hint="Check CONSUL_CACERT, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY, CONSUL_TLS_SERVER_NAME; or write "
        "consul:// if that port speaks plain HTTP.",
    )


def _no_answer(error: OSError, address: Address, silence_s: float, *, is_new: bool) -> StoreError:
    """What a call without an answer means."""
    if isinstance(error, TimeoutError):
        return AnswerLost(f"{address} did not answer within {silence_s:.0f} s")
    if is_new and isinstance(error, ssl.SSLError):
        return _untrusted(error, address)  # with TLS 1.3 a server refuses our certificate when we have sent already
    return AnswerLost(f"{address} broke off: {_reason(error)}")


def _reason(error: Exception) -> str:
    """The system's own words, without the library's around them."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


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


def _index(header: bytes | None) -> int:
    """A usable index, whatever the header says."""
    return max(1, int(header)) if header and header.isdigit() else 1
