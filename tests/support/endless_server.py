"""A web server whose answers never end, for what has to be broken off."""

import contextlib
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"


class EndlessServer(socketserver.ThreadingTCPServer):
    """Answers every request slowly and for ever."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked = threading.Event()
        """Set once somebody is being answered."""
        self.open = 0
        """How many are being answered now."""
        self.content = b""
        """What is answered instead, whole, once it is set."""
        self.silent_after: bytes | None = None
        """All that is answered, if it is set: nothing comes then until the other side goes."""
        self.lock = threading.Lock()

    @property
    def hostport(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def add(self, count: int) -> None:
        with self.lock:
            self.open += count


class _Answer(socketserver.BaseRequestHandler):
    server: EndlessServer

    def handle(self) -> None:
        if not self.request.recv(65536).startswith(b"GET "):  # an engine asks over TLS first
            return
        self.server.add(1)
        try:
            with contextlib.suppress(OSError):
                if self.server.content:
                    whole = self.server.content
                    self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(whole), whole))
                    return
                if self.server.silent_after is not None:
                    self.request.sendall(self.server.silent_after)
                    self.server.asked.set()
                    self.request.recv(1)
                    return
                self.request.sendall(_HEAD)
                self.server.asked.set()
                while True:
                    self.request.sendall(b" " * 1000)
                    time.sleep(0.01)
        finally:
            self.server.add(-1)


@pytest.fixture
def endless_server() -> Iterator[EndlessServer]:
    """A web server whose answers never end."""
    with EndlessServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
