"""The one HTTP server: health, metrics and whatever a daemon adds as routes. Loopback unless told otherwise."""

import contextlib
import logging
import re
import select
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from reconciler.errors import UsageError
from reconciler.runtime import http_access
from reconciler.runtime.http_access import Access, Guard
from reconciler.runtime.runner import Daemon

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20
_LENGTH_DIGITS = len(str(MAX_BODY_BYTES))
_HANDSHAKE_S = 10.0
_TLS_RECORD = b"\x16"
_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}


class Request(msgspec.Struct, frozen=True):
    """A request as a handler sees it. ``args`` are the groups of the route's pattern, unquoted."""

    method: str
    path: str
    args: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Response(msgspec.Struct, frozen=True):
    """An answer; a body that is an iterator is streamed until it ends or the client goes away, and then closed.

    An empty piece sends nothing: it is where somebody who went away is noticed.
    """

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    content_type: str = "application/json"


Handler: TypeAlias = Callable[[Request], Response]


class Route(msgspec.Struct, frozen=True):
    """``pattern`` is a regular expression for the whole path."""

    method: str
    pattern: str
    handler: Handler
    guard: Guard = Guard.TOKEN


class StreamCut(Exception):
    """A streamed body raises it to end an answer in a way that the client can tell from its end."""


class Site(msgspec.Struct, frozen=True):
    """What a daemon shows besides health and metrics. ``unready`` says why it is not ready; ``announce`` is told the
    URL before the daemon starts.
    """

    routes: Sequence[Route] = ()
    unready: Callable[[], Sequence[str]] = tuple
    announce: Callable[[str], None] = lambda _: None


def json_response(value: Any, status: int = 200) -> Response:
    """``value`` as JSON."""
    return Response(msgspec.json.encode(value) + b"\n", status)


def daemon_routes(daemons: Sequence[Daemon], site: Site = Site()) -> list[Route]:  # noqa: B008 - immutable
    """``/healthz`` (503 with the reasons while a loop's last pass failed), ``/readyz`` (503 until every loop has passed
    once and the daemon itself is content), ``/metrics``; and the site's own.
    """

    def healthz(_: Request) -> Response:
        loops = [loop for daemon in daemons for loop in daemon.loops]
        report = {loop.name: {"ok": loop.last_error is None, "error": loop.last_error, "age_s": loop.age_s()}
                  for loop in loops}  # fmt: skip
        ok = all(loop.last_error is None for loop in loops)
        return json_response({"ok": ok, "loops": report}, 200 if ok else 503)

    def readyz(_: Request) -> Response:
        loops = [loop for daemon in daemons for loop in daemon.loops]
        reasons = [f"{loop.name}: {loop.last_error or 'no pass yet'}" for loop in loops if loop.age_s() is None]
        reasons += site.unready()
        return json_response({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    def metrics(_: Request) -> Response:
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    pages = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
    return [*(Route("GET", path, page, Guard.OPEN) for path, page in pages.items()), *site.routes]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], routes: Sequence[Route], access: Access) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.routes = [(re.compile(route.pattern), route) for route in routes]
        self.access = access
        self._tls = access.tls.context() if access.tls is not None else None
        super().__init__(address, _RequestHandler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the request's own thread, so that a slow handshake holds up nobody else."""
        request.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            request.setsockopt(socket.IPPROTO_TCP, option, value)
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(_HANDSHAKE_S)
        is_local = http_access.is_local(client_address[0], request.getsockname()[0])
        if is_local and request.recv(1, socket.MSG_PEEK) != _TLS_RECORD:
            # a task on this machine reports, and knows no certificate
            super().finish_request(request, client_address)
            return
        with self._tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the standard library's
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        log.log(level, "a connection from %s failed: %r", client_address[0], error)


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def _answer(self) -> None:
        split = urlsplit(self.path)
        methods = set()
        for pattern, route in self.server.routes:
            match = pattern.fullmatch(split.path)
            if match is None:
                continue
            methods.add(route.method)
            if route.method == self.command:
                if not self._is_allowed(route.guard):
                    self._refuse(401, "this needs the token: Authorization: Bearer …")
                    return
                length = self.headers.get("Content-Length") or "0"
                if self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdigit()):
                    self._refuse(400, "say with Content-Length how long the body is")
                    return
                if len(length) > _LENGTH_DIGITS or int(length) > MAX_BODY_BYTES:
                    self._refuse(413, f"a body may hold {MAX_BODY_BYTES} bytes")
                    return
                body = self.rfile.read(int(length))
                args = tuple(unquote(group) for group in match.groups())
                query = dict(parse_qsl(split.query))
                request = Request(self.command, split.path, args, query, dict(self.headers), body)
                self._send(self._call(route.handler, request))
                return
        if methods:
            self._refuse(405, f"use {', '.join(sorted(methods))}")
        else:
            self._refuse(404, "no such page")

    def _is_allowed(self, guard: Guard) -> bool:
        return self.server.access.allows(
            guard,
            dict(self.headers),
            is_local=http_access.is_local(self.client_address[0], self.connection.getsockname()[0]),
            has_certificate=isinstance(self.connection, ssl.SSLSocket) and bool(self.connection.getpeercert()),
        )

    def _refuse(self, status: int, why: str) -> None:
        """Without reading the request's body, so the connection is of no more use."""
        self.close_connection = True
        self._send(json_response({"error": why}, status))

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - named by the standard library

    def _call(self, handler: Handler, request: Request) -> Response:
        try:
            return handler(request)
        except Exception:  # a broken page must not take the daemon with it
            log.exception("%s %s failed", request.method, request.path)
            return json_response({"error": "this failed here; the log says why"}, 500)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        if response.status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if isinstance(response.body, bytes):
            self.send_header("Content-Length", str(len(response.body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(response.body)
            return
        with contextlib.closing(response.body):  # type: ignore[type-var]  # generators, all of them
            self._stream(response.body)

    def _stream(self, pieces: Iterator[bytes]) -> None:
        """In chunks, the last of which says that this is the end; who speaks HTTP/1.0 cannot know."""
        self.close_connection = True
        is_chunked = self.request_version != "HTTP/1.0"
        self.send_header("Connection", "close")
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for piece in pieces:
                if not piece:
                    if self._is_gone():
                        return
                    continue
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        except StreamCut as cut:
            log.debug("%s: %s", self.path, cut)
        except OSError:
            raise
        except Exception:  # the answer has begun: all that can be done is to let it end without its end
            log.exception("%s failed", self.path)
        else:
            self.wfile.write(b"0\r\n\r\n" if is_chunked else b"")

    def _is_gone(self) -> bool:
        """Whether the client has closed its side. With TLS anything that it sends now can only be that."""
        if not select.select([self.connection], [], [], 0)[0]:
            return False
        return isinstance(self.connection, ssl.SSLSocket) or not self.connection.recv(1, socket.MSG_PEEK)

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            log.debug("a client went away")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the standard library
        log.debug(format, *args)


class HttpServer:
    """Serves ``routes`` from threads of its own."""

    def __init__(self, host: str, port: int, routes: Sequence[Route], access: Access = Access()) -> None:  # noqa: B008 - immutable
        """Bind at once (``port`` 0: any free one).

        Raises:
            UsageError: the address is taken or not this machine's, or what is guarded would be open to others.
        """
        access.check_bind(host, port, {route.guard for route in routes})
        self._host = host
        self._scheme = "http" if access.tls is None else "https"
        self._servers: list[_Server] = []
        self._bind(host, port, routes, access)
        if not http_access.is_loopback(host) and not http_access.is_anywhere(host):
            # tasks report to loopback, whatever others call this machine
            local = [route for route in routes if route.guard is Guard.LOCAL]
            if local:
                self._bind("127.0.0.1", self.port, local, Access(access.token))
        self._threads = [
            threading.Thread(target=server.serve_forever, name="http", daemon=True) for server in self._servers
        ]

    def _bind(self, host: str, port: int, routes: Sequence[Route], access: Access) -> None:
        try:
            self._servers.append(_Server((host, port), routes, access))
        except OSError as error:
            for server in self._servers:
                server.server_close()
            raise UsageError(
                f"cannot listen on {host}:{port}: {error.strerror or error}", hint="give another one with --http"
            ) from error

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._servers[0].server_address[1])

    @property
    def url(self) -> str:
        """Where it is served."""
        return f"{self._scheme}://{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop serving; answers under way are cut."""
        for server, thread in zip(self._servers, self._threads, strict=True):
            if thread.is_alive():
                server.shutdown()
            server.server_close()
