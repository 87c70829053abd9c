"""The one HTTP server: health, metrics and whatever a daemon adds as routes. Loopback unless told otherwise."""

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from reconciler.errors import UsageError
from reconciler.runtime.runner import Daemon

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20


class Request(msgspec.Struct, frozen=True):
    """A request as a handler sees it. ``args`` are the groups of the route's pattern, unquoted."""

    method: str
    path: str
    args: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Response(msgspec.Struct, frozen=True):
    """An answer; a body that is an iterator is streamed until it ends or the client goes away."""

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    content_type: str = "application/json"


Handler: TypeAlias = Callable[[Request], Response]


class Route(msgspec.Struct, frozen=True):
    """``pattern`` is a regular expression for the whole path."""

    method: str
    pattern: str
    handler: Handler


def json_response(value: Any, status: int = 200) -> Response:
    """``value`` as JSON."""
    return Response(msgspec.json.encode(value) + b"\n", status)


def daemon_routes(daemons: Sequence[Daemon]) -> list[Route]:
    """``/healthz`` (503 with the reasons while a loop's last pass failed) and ``/metrics``."""

    def healthz(_: Request) -> Response:
        loops = [loop for daemon in daemons for loop in daemon.loops]
        report = {loop.name: {"ok": loop.last_error is None, "error": loop.last_error, "age_s": loop.age_s()}
                  for loop in loops}  # fmt: skip
        ok = all(loop.last_error is None for loop in loops)
        return json_response({"ok": ok, "loops": report}, 200 if ok else 503)

    def metrics(_: Request) -> Response:
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    return [Route("GET", "/healthz", healthz), Route("GET", "/metrics", metrics)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    routes: Sequence[tuple[str, re.Pattern[str], Handler]] = ()


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(json_response({"error": f"a body may hold {MAX_BODY_BYTES} bytes"}, 413))
            return
        body = self.rfile.read(length)
        split = urlsplit(self.path)
        methods = set()
        for method, pattern, handler in self.server.routes:
            match = pattern.fullmatch(split.path)
            if match is None:
                continue
            methods.add(method)
            if method == self.command:
                args = tuple(unquote(group) for group in match.groups())
                query = dict(parse_qsl(split.query))
                self._send(self._call(handler, Request(method, split.path, args, query, dict(self.headers), body)))
                return
        if methods:
            self._send(json_response({"error": f"use {', '.join(sorted(methods))}"}, 405))
        else:
            self._send(json_response({"error": "no such page"}, 404))

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
        if isinstance(response.body, bytes):
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)
            return
        self.close_connection = True
        self.end_headers()
        for piece in response.body:
            self.wfile.write(piece)
            self.wfile.flush()

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            log.debug("a client went away")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the standard library
        log.debug(format, *args)


class HttpServer:
    """Serves ``routes`` from threads of its own."""

    def __init__(self, host: str, port: int, routes: Sequence[Route]) -> None:
        """Bind at once (``port`` 0: any free one).

        Raises:
            UsageError: the address is taken or not this machine's.
        """
        try:
            self._server = _Server((host, port), _RequestHandler)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host}:{port}: {error.strerror or error}", hint="give another one with --http"
            ) from error
        self._server.routes = [(route.method, re.compile(route.pattern), route.handler) for route in routes]
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; answers under way are cut."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
