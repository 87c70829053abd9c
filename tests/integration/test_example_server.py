"""The servers of ``examples/hello-world-bash``, run as the bash executor runs them: one script, SIGTERM to stop."""

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.manifests.load import load
from reconciler.model.manifests import BashContainer, TaskDefinition
from tests.support.ports import port_block
from tests.support.wait import wait_until

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "examples" / "hello-world-bash"


def definitions() -> dict[str, TaskDefinition]:
    loaded = load([(path.name, path.read_bytes()) for path in FOLDER.glob("*.yml")])
    assert loaded.problems == ()
    return {one.object.name: one.object for one in loaded.objects if isinstance(one.object, TaskDefinition)}


class Server:
    """A task of the example."""

    def __init__(self, definition: TaskDefinition, port: int) -> None:
        (container,) = definition.containers
        assert isinstance(container, BashContainer)
        environ = {
            "PATH": os.environ["PATH"],
            "PORT": str(port),
            "RECONCILER_ADDRESS": "127.0.0.1",
            "RECONCILER_HOST": "web-1",
            "RECONCILER_INSTANCE": "3",
            "RECONCILER_SERVICE": definition.name,
            "RECONCILER_VERSION": "7",
            **dict(entry.split("=", 1) for entry in container.executor.env),
        }
        script = "\n".join(container.executor.start)
        self.port = port
        self.process = subprocess.Popen(
            ["bash", "-e", "-c", script], env=environ, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.get("/health") == (200, "well\n")
        except OSError:
            return False


@pytest.fixture(params=sorted(definitions()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    started = Server(definitions()[request.param], port_block()[1])
    try:
        wait_until(started.answers, what="the server answers its health check")
        yield started
    finally:
        if started.process.poll() is None:
            os.killpg(started.process.pid, signal.SIGKILL)
        started.process.wait(10)


def test_it_says_who_it_is_to_programs_and_to_people(server: Server) -> None:
    status, body = server.get("/")
    assert status == 200
    said = json.loads(body)
    assert said.pop("greeting")
    assert said.pop("service") in {"hello", "time"}
    assert said == {"version": "7", "instance": "3", "host": "web-1"}
    status, page = server.get("/", Accept="text/html,*/*")
    assert status == 200
    assert "version <b>7</b>, instance <b>3</b>, on web-1" in page
    assert server.get("/nothing")[0] == 404


def test_it_finishes_what_it_began_when_it_is_told_to_stop(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(b"GET / HTTP/1.0\r\n")
        server.get("/health")  # so the first connection, older, is being served by now
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not server.answers(), what="no new connection is taken")
        assert server.process.poll() is None
        client.sendall(b"\r\n")
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert received.startswith(b"HTTP/1.0 200 OK\r\n")
    assert received.endswith(b"}\n")
    assert server.process.wait(10) == 0
