"""A request to somebody else's server: it ends in time, however slowly the answer comes."""

import contextlib
import socketserver
import ssl
import threading
from collections.abc import Iterator

import pytest

from reconciler.runtime.http_post import Unanswered, post
from tests.support.receiver import ReceiverServer


class Trickle(socketserver.BaseRequestHandler):
    """Answers with headers that never end, a line now and then."""

    def handle(self) -> None:
        request: ssl.SSLSocket = self.request
        with contextlib.suppress(OSError):
            request.recv(65536)
            request.sendall(b"HTTP/1.1 200 OK\r\n")
            while not gone.wait(0.02):
                request.sendall(b"x")


gone = threading.Event()


@pytest.fixture
def port() -> Iterator[int]:
    gone.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Trickle) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        gone.set()
        server.shutdown()


def test_headers_that_come_byte_by_byte_keep_no_request_open_and_show_no_url(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Unanswered, match="no answer in time"):
        post(f"http://127.0.0.1:{port}/hush-hush", {}, b"{}", timeout_s=0.3)
    assert "hush" not in caplog.text


def test_an_answer_in_time_is_given_whole(receiver: ReceiverServer) -> None:
    answer = post(f"{receiver.url}/hook", {"Content-Type": "text/plain"}, b"hello", timeout_s=10)
    assert (answer.status, answer.text) == (200, "ok")
