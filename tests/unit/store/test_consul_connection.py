"""What a request meets on its way, by servers that answer as they are told to, byte for byte."""

import contextlib
import gc
import socket
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeAlias

import pytest

from reconciler.errors import StoreTooLarge, StoreUnreachable
from reconciler.store.commits import AnswerLost
from reconciler.store.consul_transport import Address, Transport

OK = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 2\r\n\r\nok"
LARGE = b"x" * (20 << 20)

Behave: TypeAlias = Callable[["Server", socket.socket], None]
"""What a server does with a connection, which is closed afterwards."""


class Server:
    """Takes one connection after the other, and remembers what came."""

    def __init__(self, behave: Behave, host: str) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = threading.Semaphore(0)
        """Counts the connections that are over."""
        self._behave = behave
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.address = Address(host=host, port=self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def request(self, connection: socket.socket) -> bool:
        """Read one request to its end; False: there is none."""
        came = b""
        while b"\r\n\r\n" not in came or len(came.partition(b"\r\n\r\n")[2]) < _length(came):
            data = connection.recv(65536)
            if not data:
                return False
            came += data
        self.requests.append(came)
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                self._behave(self, connection)
            self.closed.release()


def _length(request: bytes) -> int:
    return int(request.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)


Serve: TypeAlias = Callable[..., tuple[Server, Transport]]


@pytest.fixture
def serve() -> Generator[Serve]:
    """Starts a server for one test, and a transport to it."""
    with contextlib.ExitStack() as stack:

        def start(behave: Behave, *, host: str = "127.0.0.1", token: str | None = None) -> tuple[Server, Transport]:
            server = Server(behave, host)
            stack.callback(server.close)
            transport = Transport(server.address, token)
            stack.callback(transport.close)
            return server, transport

        yield start


def answering(pieces: bytes | Iterable[bytes]) -> Behave:
    """Answers the first request of each connection, and closes."""

    def behave(server: Server, connection: socket.socket) -> None:
        server.request(connection)
        for piece in [pieces] if isinstance(pieces, bytes) else pieces:
            connection.sendall(piece)

    return behave


def keeping(server: Server, connection: socket.socket) -> None:
    """Answers every request."""
    while server.request(connection):
        connection.sendall(OK)


@pytest.mark.parametrize(
    ("pieces", "index", "body"),
    [
        (OK, 7, b"ok"),
        (tuple(OK[number : number + 1] for number in range(len(OK))), 7, b"ok"),
        (
            b"HTTP/1.1 200 OK\r\nx-consul-index: 8\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
            8,
            b"ok!",
        ),
        (b"HTTP/1.1 100 Continue\r\nX-Consul-Index: 9\r\n\r\n" + OK, 7, b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil it closes", 1, b"until it closes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(LARGE), LARGE), 1, LARGE),
    ],
    ids=["at once", "by bytes", "chunked", "continue first", "until closed", "empty", "large"],
)
def test_an_answer_is_read_however_it_comes(
    serve: Serve, pieces: bytes | tuple[bytes, ...], index: int, body: bytes
) -> None:
    _, transport = serve(answering(pieces))
    answer = transport.write("/v1/kv/a", (), b"1")
    assert (answer.status, answer.index) == (200, index)
    assert answer.body == body


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        OK[:-2],
        OK[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        OK + OK,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_whole_or_none_is_lost(serve: Serve, answer: bytes) -> None:
    server, transport = serve(answering(answer))
    with pytest.raises(AnswerLost, match="broke off"):
        transport.write("/v1/kv/a", (), b"1")
    assert len(server.requests) == 1
    with pytest.raises(AnswerLost, match="broke off"):
        transport.write("/v1/kv/a", (), b"2")
    assert server.connections == 2, "nothing more is said over a connection that failed"


def test_a_write_is_never_sent_twice_though_a_kept_connection_ends_without_an_answer(serve: Serve) -> None:
    def behave(server: Server, connection: socket.socket) -> None:
        server.request(connection)
        connection.sendall(OK)
        server.request(connection)

    server, transport = serve(behave)
    transport.write("/v1/kv/a", (), b"1")
    with pytest.raises(AnswerLost, match="closed without an answer"):
        transport.write("/v1/kv/a", (), b"2")
    assert server.closed.acquire(timeout=10)
    assert [request[-1:] for request in server.requests] == [b"1", b"2"]
    assert transport.read("/v1/kv/a").body == b"ok"


def test_a_write_is_not_lost_over_a_connection_that_was_closed_before(serve: Serve) -> None:
    server, transport = serve(answering(OK))
    for number in (b"1", b"2", b"3"):
        assert transport.write("/v1/kv/a", (), number).body == b"ok"
        assert server.closed.acquire(timeout=10)
    assert [request[-1:] for request in server.requests] == [b"1", b"2", b"3"]


def test_a_connection_is_kept_and_each_request_says_all_that_is_needed(serve: Serve) -> None:
    server, transport = serve(keeping, token="secret-1")
    transport.write("/v1/kv/a b/ä", [("cas", 3)], b"value")
    transport.write("/v1/session/destroy/x")
    transport.read("/v1/kv/a", [("wait", "5ms")], wait_s=0.005)
    assert server.connections == 1
    lines = [request.split(b"\r\n") for request in server.requests]
    assert [each[0] for each in lines] == [
        b"PUT /v1/kv/a%20b/%C3%A4?cas=3 HTTP/1.1",
        b"PUT /v1/session/destroy/x HTTP/1.1",
        b"GET /v1/kv/a?wait=5ms HTTP/1.1",
    ]
    for each in lines:
        assert f"Host: 127.0.0.1:{server.address.port}".encode() in each
        assert b"X-Consul-Token: secret-1" in each
    assert lines[0][-1] == b"value"
    assert b"Content-Length: 0" in lines[1]


def test_who_asks_to_close_is_not_asked_again(serve: Serve) -> None:
    def behave(server: Server, connection: socket.socket) -> None:
        server.request(connection)
        connection.sendall(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        server.request(connection)  # the end comes from the other side

    server, transport = serve(behave)
    transport.write("/v1/kv/a", (), b"1")
    transport.write("/v1/kv/a", (), b"2")
    assert len(server.requests) == server.connections == 2


def test_a_refusal_counts_though_it_comes_before_all_was_sent(serve: Serve) -> None:
    def behave(_: Server, connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large")

    _, transport = serve(behave)
    with pytest.raises(StoreTooLarge, match="too large"):
        transport.write("/v1/txn", (), LARGE)


def test_an_answer_may_take_longer_than_silence_may(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.store.consul_transport.READ_TIMEOUT_S", 1.0)
    ended = threading.Event()

    def trickle() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"
        for _ in range(8):
            ended.wait(0.2)
            yield b"x"

    _, transport = serve(answering(trickle()))
    assert transport.read("/v1/kv/a").body == b"x" * 8


def test_an_ipv6_address_is_reached(serve: Serve) -> None:
    try:
        server, transport = serve(keeping, host="::1")
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert transport.read("/v1/kv/a").body == b"ok"
    assert f"Host: [::1]:{server.address.port}\r\n".encode() in server.requests[0]


@pytest.mark.parametrize("host", ["a" * 64 + ".invalid", "a..invalid", "not a name", "grün.invalid"])
def test_a_name_that_can_be_none_is_told_as_such(host: str) -> None:
    transport = Transport(Address(host=host), None)
    with pytest.raises(StoreUnreachable, match="can't connect to Consul"):
        transport.write("/v1/kv/a")
    transport.close()


def test_connections_end_with_a_transport_that_nobody_closed(serve: Serve) -> None:
    server, _ = serve(keeping)
    left = Transport(server.address, None)
    left.read("/v1/kv/a")
    del left
    gc.collect()
    assert server.closed.acquire(timeout=10)


def test_a_closed_store_asks_nothing(serve: Serve) -> None:
    server, transport = serve(keeping)
    transport.read("/v1/kv/a")
    transport.close()
    assert server.closed.acquire(timeout=10), "kept connections are closed"
    with pytest.raises(StoreUnreachable, match="the store is closed"):
        transport.write("/v1/kv/a")
    assert len(server.requests) == 1
