"""A server that takes commit statuses as GitHub, GitLab and Gitea document them, and any other POST as a webhook.

It is strict: what their documentation does not know is answered with 4xx and noted in ``wrong``.
"""

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.wait import wait_until

SHA = r"[0-9a-f]{40}"
GITLAB_STATES = ("pending", "running", "success", "failed", "canceled", "skipped")


class Received(msgspec.Struct, frozen=True):
    """A request; ``said`` is its JSON, None if it is none."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    said: Any = None


Answer = tuple[int, Mapping[str, str], bytes]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of who does not wait for the answer."""


class ReceiverServer:
    """Keeps what it is sent. ``answers`` are given first, one after the other; ``hold`` lets a request hang."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.requests: list[Received] = []
        self.wrong: list[str] = []
        self.answers: list[Answer] = []
        self.free = threading.Event()
        self.free.set()
        self._gitlab: dict[tuple[str, str], str] = {}
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.free.set()
        self._server.shutdown()
        self._server.server_close()

    def statuses(self, revision: str = "") -> list[tuple[str, str]]:
        """State and description of the statuses that were taken; of one commit, or of all."""
        return [
            (each.said["state"], each.said["description"])
            for each in self.requests
            if "/statuses/" in each.path and revision in each.path
        ]

    def waits_for(self, count: int, timeout_s: float = 20.0) -> list[Received]:
        """The requests, once there are so many."""
        wait_until(lambda: len(self.requests) >= count, what=f"{count} requests", timeout_s=timeout_s)
        return self.requests

    def answer(self, request: Received) -> Answer:
        """What is answered; what is not as it should be is noted."""
        if self.answers:
            return self.answers.pop(0)
        checks: dict[str, Callable[[Received], str]] = {
            rf"/repos/[^/]+/[^/]+/statuses/{SHA}": self._github,
            rf"/api/v3/repos/[^/]+/[^/]+/statuses/{SHA}": self._github,
            rf"/api/v1/repos/[^/]+/[^/]+/statuses/{SHA}": self._gitea,
            rf"/api/v4/projects/[^/]+/statuses/{SHA}": self._gitlab_status,
        }
        check = next((check for pattern, check in checks.items() if re.fullmatch(pattern, request.path)), None)
        if check is None:
            return (200, {}, b"ok") if "/statuses" not in request.path else (404, {}, b'{"message": "Not Found"}')
        why = check(request)
        if why.startswith("Cannot transition"):
            return 400, {}, json.dumps({"message": why}).encode()
        if why:
            self.wrong.append(why)
            return 422, {}, json.dumps({"message": why}).encode()
        return 201, {"Content-Type": "application/json"}, b'{"id": 1}'

    def _github(self, request: Received) -> str:
        headers = request.headers
        if not re.fullmatch(r"Bearer \S+", headers.get("authorization", "")):
            return "no bearer token"
        if headers.get("accept") != "application/vnd.github+json" or "x-github-api-version" not in headers:
            return "no version of the API"
        return _said(request, {"state", "target_url", "description", "context"}, 140) or _one_of(
            request, "error", "failure", "pending", "success"
        )

    def _gitea(self, request: Received) -> str:
        if not re.fullmatch(r"token \S+", request.headers.get("authorization", "")):
            return "no token"
        return _said(request, {"state", "target_url", "description", "context"}, 255) or _one_of(
            request, "error", "failure", "pending", "success", "warning"
        )

    def _gitlab_status(self, request: Received) -> str:
        if not request.headers.get("private-token"):
            return "no token"
        wrong = _said(request, {"state", "ref", "name", "target_url", "description", "coverage", "pipeline_id"}, 255)
        wrong = wrong or _one_of(request, *GITLAB_STATES)
        if wrong:
            return wrong
        at = (request.path, request.said["name"])
        if self._gitlab.get(at) == request.said["state"]:
            return f"Cannot transition status via :enqueue from :{request.said['state']} (Reason(s): Status cannot …)"
        self._gitlab[at] = request.said["state"]
        return ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                is_json = headers.get("content-type", "") == "application/json"
                request = Received(self.path, headers, body, json.loads(body) if is_json else None)
                owner.free.wait(30)
                status, more, answer = owner.answer(request)
                owner.requests.append(request)
                self.send_response(status)
                for name, value in {**more, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        return Handler


def _said(request: Received, fields: set[str], most: int) -> str:
    """What is wrong with the fields of a status."""
    said, headers = request.said, request.headers
    if not headers.get("user-agent") or headers.get("content-type") != "application/json":
        return "no user agent, or no JSON"
    if (
        not isinstance(said, dict)
        or not said.keys() <= fields
        or not all(isinstance(each, str) for each in said.values())
    ):
        return f"unknown fields: {said}"
    if len(said.get("description", "")) > most:
        return f"description is too long (maximum is {most} characters)"
    if not said.get("context", said.get("name")) or "\n" in said.get("description", ""):
        return f"no name, or several lines: {said}"
    if not re.match(r"https?://", said.get("target_url", "https://")) or len(said.get("target_url", "")) > 255:
        return "target_url is no URL"
    return ""


def _one_of(request: Received, *states: str) -> str:
    return "" if request.said["state"] in states else f"state {request.said['state']} is none of {states}"


@pytest.fixture
def receiver() -> Iterator[ReceiverServer]:
    """Such a server; at the end nothing that it was sent may have been wrong."""
    server = ReceiverServer()
    yield server
    server.close()
    assert not server.wrong
