"""The HTTP server that every daemon carries."""

import json
import socket
from collections.abc import Iterator, Sequence
from urllib.error import HTTPError
from urllib.request import Request as Call
from urllib.request import urlopen

import pytest

from reconciler.errors import UsageError
from reconciler.runtime.http import MAX_BODY_BYTES, HttpServer, Request, Response, Route, daemon_routes, json_response
from reconciler.runtime.runner import Loop
from tests.support.wait import wait_until


class OneLoop:
    """A daemon of one loop that fails when told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.loops: Sequence[Loop] = [Loop("one", self._step)]

    def _step(self) -> float:
        if self.error:
            raise self.error
        return 0.01

    def start(self) -> None:
        self.loops[0].start()

    def stop(self) -> None:
        self.loops[0].stop()


@pytest.fixture
def daemon() -> Iterator[OneLoop]:
    daemon = OneLoop()
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def server(daemon: OneLoop) -> Iterator[HttpServer]:
    def broken(_: Request) -> Response:
        raise ValueError("secret detail")

    def echo(request: Request) -> Response:
        return json_response({"args": request.args, "query": request.query, "body": request.body.decode()})

    def stream(_: Request) -> Response:
        return Response(iter([b"one\n", b"two\n"]), content_type="text/plain")

    routes = [
        *daemon_routes([daemon]),
        Route("PUT", "/v1/things/([^/]+)", echo),
        Route("GET", "/broken", broken),
        Route("GET", "/stream", stream),
    ]
    server = HttpServer("127.0.0.1", 0, routes)
    server.start()
    yield server
    server.stop()


def call(server: HttpServer, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urlopen(Call(f"http://127.0.0.1:{server.port}{path}", method=method, data=body), timeout=5) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def test_healthz_says_which_loop_fails_and_why(server: HttpServer, daemon: OneLoop) -> None:
    wait_until(lambda: call(server, "/healthz")[0] == 200)
    daemon.error = UsageError("cannot go on")
    status, body = wait_until(lambda: (answer := call(server, "/healthz"))[0] == 503 and answer)  # type: ignore[misc]
    assert status == 503
    assert json.loads(body)["loops"]["one"]["error"] == "cannot go on"


def test_metrics_count_the_passes(server: HttpServer) -> None:
    wait_until(lambda: b'reconciler_passes_total{loop="one",result="done"}' in call(server, "/metrics")[1])


def test_a_route_gets_its_arguments_unquoted(server: HttpServer) -> None:
    status, body = call(server, "/v1/things/a%20b?x=1", "PUT", b"hello")
    assert status == 200
    assert json.loads(body) == {"args": ["a b"], "query": {"x": "1"}, "body": "hello"}


def test_what_is_not_there_is_said(server: HttpServer) -> None:
    assert call(server, "/nothing")[0] == 404
    assert call(server, "/v1/things/x")[0] == 405


def test_a_broken_page_tells_no_detail_and_the_server_goes_on(server: HttpServer) -> None:
    status, body = call(server, "/broken")
    assert status == 500
    assert b"secret" not in body
    assert call(server, "/stream") == (200, b"one\ntwo\n")


def test_a_large_body_is_refused(server: HttpServer) -> None:
    try:
        status, _ = call(server, "/v1/things/x", "PUT", b"x" * (MAX_BODY_BYTES + 1))
    except OSError:
        return  # refused while the client was still sending
    assert status == 413


@pytest.mark.parametrize("header", ["Content-Length: -1", "Content-Length: many", "Transfer-Encoding: chunked"])
def test_a_body_without_a_length_is_not_waited_for(server: HttpServer, header: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(f"PUT /v1/things/x HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        assert client.recv(100).split()[1] == b"400"


def test_a_taken_port_is_an_error_with_a_way_out(server: HttpServer) -> None:
    with pytest.raises(UsageError, match="--http"):
        HttpServer("127.0.0.1", server.port, [])
