"""A TCP proxy that misbehaves on command: what lies between a process and its Consul on a bad day."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Generator
from typing import Literal, TypeAlias

import pytest

Mode: TypeAlias = Literal["pass", "reset", "lose_answer", "cut_answer", "swallow"]
"""``reset``: every connection, also open ones. ``lose_answer``: requests pass, then the connection is reset instead of
an answer. ``cut_answer``: the answer breaks off after some bytes. ``swallow``: nothing passes in either direction."""

Trap: TypeAlias = Literal["reset", "lose_answer", "hold"]
"""What one request meets. ``reset``: it never arrives. ``lose_answer``: it arrives, and the connection is reset instead
of an answer. ``hold``: it arrives when ``release`` is called, however late that is."""

CUT_AFTER_BYTES = 20


class TcpProxy:
    """Listens on a free port of 127.0.0.1 and passes on to ``target``."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._mode: Mode = "pass"
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, name="proxy", daemon=True)]
        self._threads[0].start()
        self._trap: tuple[bytes, Trap] | None = None
        self._losing: set[socket.socket] = set()
        self._left: int | None = None
        self._released = threading.Event()
        self.trapped = threading.Event()
        """Set once a request is in the trap."""
        self.connections = 0
        self.sent = bytearray()
        """All that clients sent so far."""
        self.answered = bytearray()
        """All that the server answered so far."""

    @property
    def hostport(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def set(self, mode: Mode) -> None:
        """From now on."""
        self._mode = mode
        if mode == "reset":
            self._reset_all()

    def cut_answers_after(self, count: int | None) -> None:
        """Answers break off once so many more bytes have passed, on all connections together; None: they do not."""
        self._left = count

    def trap(self, pattern: bytes, trap: Trap) -> None:
        """Set a trap for the next piece of a request that holds ``pattern``; what comes after it passes."""
        self._trap = (pattern, trap)

    def release(self) -> None:
        """Let what is held in the trap arrive."""
        self._released.set()

    def close(self) -> None:
        self._closed.set()
        self._released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset_all()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._mode == "reset":
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target, 5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            for source, sink, is_answer in ((client, server, False), (server, client, True)):
                pump = threading.Thread(target=self._pump, args=(source, sink, is_answer), name="proxy", daemon=True)
                self._threads.append(pump)
                pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_answer:
                    self.answered += data
                else:
                    self.sent += data
                    if self._spring(data, sink) == "reset":
                        break
                while self._mode == "swallow" and not self._closed.wait(0.02):
                    pass
                if source in self._losing:
                    break
                if is_answer and self._mode in ("lose_answer", "cut_answer"):
                    if self._mode == "cut_answer":
                        sink.sendall(data[:CUT_AFTER_BYTES])
                    break
                if is_answer and self._left is not None:
                    data = data[: self._left]
                    self._left -= len(data)
                    sink.sendall(data)
                    if not self._left:
                        break
                    continue
                sink.sendall(data)
        for each in (source, sink):
            self._drop(each)

    def _spring(self, data: bytes, server: socket.socket) -> Trap | None:
        """What a piece of a request meets; returns once it may go on."""
        with self._lock:
            if self._trap is None or self._trap[0] not in data:
                return None
            (_, trap), self._trap = self._trap, None
            if trap == "lose_answer":
                self._losing.add(server)
        self.trapped.set()
        if trap == "hold":
            self._released.wait()
        return trap

    def _drop(self, each: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(each)
        _reset(each)

    def _reset_all(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _reset(each)


def _reset(each: socket.socket) -> None:
    """Close with RST, and wake whoever is blocked on it."""
    with contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.shutdown(socket.SHUT_RD)
    with contextlib.suppress(OSError):
        each.close()


@pytest.fixture
def tcp_proxy() -> Generator[Callable[[str, int], TcpProxy]]:
    """Makes proxies for one test: ``tcp_proxy(host, port)``."""
    proxies: list[TcpProxy] = []

    def make(host: str, port: int) -> TcpProxy:
        proxies.append(TcpProxy(host, port))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()
