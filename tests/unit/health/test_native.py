"""Native health: real HTTP and TCP servers, checked as users declare it."""

import contextlib
import http.server
import socket
import threading
from collections.abc import Generator

import pytest

from reconciler.health.interface import Reading, Registration
from reconciler.health.native import NativeHealth
from reconciler.health.probes import MOST_THREADS
from reconciler.model.manifests import Check
from reconciler.model.task import Health
from reconciler.runtime.clock import SystemClock
from tests.support.registrations import by_id, registration
from tests.support.wait import wait_until


class Server:
    """A small HTTP server whose answer the test chooses; keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.hang: threading.Event | None = None
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                outer.asked.append((self.command, self.path, dict(self.headers)))
                if outer.hang is not None:
                    outer.hang.wait(30)
                self.send_response(outer.status)
                self.send_header("Content-Length", "5")
                self.end_headers()
                self.wfile.write(b"hello")

            do_GET = do_PUT = answer  # noqa: N815 - named by the standard library

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle()

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Generator[Server, None, None]:
    started = Server()
    yield started
    if started.hang is not None:
        started.hang.set()
    started.close()


def no_script(registration: Registration, position: int, timeout_s: float) -> Reading:
    raise AssertionError("there is no script here")


@pytest.fixture
def native() -> Generator[NativeHealth, None, None]:
    provider = NativeHealth(no_script, SystemClock())
    yield provider
    provider.close()


def await_health(provider: NativeHealth, task_id: str, health: Health) -> Reading:
    def reached() -> Reading | None:
        provider.wait(0.05)
        reading = provider.readings()[task_id]
        return reading if reading.health is health else None

    return wait_until(reached, what=f"{task_id} {health}, {provider.readings()}")  # type: ignore[return-value]


def test_a_task_without_checks_is_passing_at_once(native: NativeHealth) -> None:
    one = registration()
    native.synchronise(by_id(one))
    assert native.wait(5.0)
    assert native.readings() == {one.task.id: Reading(Health.PASSING)}


def test_an_http_check_follows_what_the_server_says(native: NativeHealth, server: Server) -> None:
    check = Check(http="http://127.0.0.1/health", add_provided_port=True, interval="50ms")
    one = registration(check, port=server.port)
    native.synchronise(by_id(one))
    assert native.readings()[one.task.id].health is Health.UNKNOWN
    reading = await_health(native, one.task.id, Health.PASSING)
    assert reading.output == f"HTTP GET http://127.0.0.1:{server.port}/health: 200 OK hello"
    server.status = 500
    await_health(native, one.task.id, Health.CRITICAL)
    server.status = 429
    await_health(native, one.task.id, Health.WARNING)


def test_method_and_headers_are_those_of_the_manifest(native: NativeHealth, server: Server) -> None:
    check = Check(
        http=f"http://127.0.0.1:{server.port}/x?y=z",
        method="PUT",
        header={"Host": ("example.org",), "X-Many": ("a", "b"), "User-Agent": ("mine",)},
        interval="1h",
    )
    one = registration(check)
    native.synchronise(by_id(one))
    await_health(native, one.task.id, Health.PASSING)
    method, path, headers = server.asked[0]
    assert (method, path, headers["Host"], headers["User-Agent"]) == ("PUT", "/x?y=z", "example.org", "mine")
    assert headers["X-Many"] in ("a, b", "a", "b")


def test_a_redirect_is_not_followed(native: NativeHealth, server: Server) -> None:
    server.status = 302
    one = registration(Check(http=f"http://127.0.0.1:{server.port}/", interval="1h"))
    native.synchronise(by_id(one))
    assert " 302 " in await_health(native, one.task.id, Health.CRITICAL).output


def test_a_server_that_does_not_answer_in_time_is_critical(native: NativeHealth, server: Server) -> None:
    server.hang = threading.Event()
    one = registration(Check(http=f"http://127.0.0.1:{server.port}/", interval="1h", timeout="100ms"))
    native.synchronise(by_id(one))
    assert "timed out" in await_health(native, one.task.id, Health.CRITICAL).output


def test_a_tcp_check_follows_whether_somebody_listens(native: NativeHealth) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    one = registration(Check(tcp="127.0.0.1", add_provided_port=True, interval="50ms"), port=port)
    native.synchronise(by_id(one))
    await_health(native, one.task.id, Health.PASSING)
    listener.close()
    assert "refused" in await_health(native, one.task.id, Health.CRITICAL).output


def test_a_script_check_is_run_by_the_agent() -> None:
    asked: list[tuple[str, int, float]] = []

    def run(registration: Registration, position: int, timeout_s: float) -> Reading:
        asked.append((registration.task.id, position, timeout_s))
        return Reading(Health.WARNING, "disk nearly full")

    provider = NativeHealth(run, SystemClock())
    one = registration(Check(ttl="1h"), Check(script="df", timeout="3s", interval="1h"))
    provider.synchronise(by_id(one))
    wait_until(lambda: asked, what="the script ran")
    assert asked == [(one.task.id, 1, 3.0)]
    assert provider.report("c-web-1-1:0", Health.PASSING, "")
    assert await_health(provider, one.task.id, Health.WARNING).output == "disk nearly full"
    provider.close()


def test_a_ttl_check_is_what_the_task_reports_until_it_falls_silent(native: NativeHealth) -> None:
    one = registration(Check(ttl="300ms"))
    native.synchronise(by_id(one))
    assert native.readings()[one.task.id].health is Health.UNKNOWN
    assert native.report("c-web-1-1:0", Health.PASSING, "fine")
    assert native.readings()[one.task.id] == Reading(Health.PASSING, "fine")
    assert native.wait(5.0), "the report is news"
    assert native.wait(5.0), "so is its absence"
    reading = native.readings()[one.task.id]
    assert (reading.health, reading.output) == (
        Health.CRITICAL,
        "TTL expired: the task has not reported in time",
    )
    assert native.report("c-web-1-1:0", Health.WARNING, "slow")
    assert native.readings()[one.task.id].health is Health.WARNING


@pytest.mark.parametrize("check_id", ["c-web-1-1:1", "c-web-1-2:0", "nonsense"])
def test_only_ttl_checks_that_are_here_can_be_reported(native: NativeHealth, check_id: str) -> None:
    native.synchronise(by_id(registration(Check(ttl="1h"), Check(tcp="127.0.0.1:1", interval="1h"))))
    assert not native.report(check_id, Health.PASSING, "")


def test_another_attempt_starts_with_unknown_health(native: NativeHealth) -> None:
    one = registration(Check(ttl="1h"))
    native.synchronise(by_id(one))
    native.report("c-web-1-1:0", Health.PASSING, "")
    native.synchronise(by_id(one))
    assert native.readings()[one.task.id].health is Health.PASSING
    native.synchronise(by_id(registration(Check(ttl="1h"), attempt=2)))
    assert native.readings()[one.task.id].health is Health.UNKNOWN


def test_tasks_that_are_kept_go_on_as_they_are(native: NativeHealth) -> None:
    one, two = registration(Check(ttl="1h")), registration(Check(ttl="1h"), instance=2)
    native.synchronise(by_id(one, two))
    native.report("c-web-1-1:0", Health.PASSING, "")
    native.synchronise(by_id(two), keep=[one.task.id])
    assert native.readings()[one.task.id].health is Health.PASSING
    native.synchronise(by_id(two))
    assert set(native.readings()) == {two.task.id}
    native.withdraw(two.task.id)
    assert native.readings() == {}


def test_a_check_of_a_task_that_left_is_not_run_any_more(native: NativeHealth, server: Server) -> None:
    one = registration(Check(http=f"http://127.0.0.1:{server.port}/one", interval="20ms"))
    two = registration(Check(http=f"http://127.0.0.1:{server.port}/two", interval="20ms"), instance=2)
    native.synchronise(by_id(one, two))
    wait_until(lambda: {path for _, path, _ in server.asked} == {"/one", "/two"}, what="both are checked")
    native.withdraw(one.task.id)
    native.readings()
    server.asked.clear()
    wait_until(lambda: sum(path == "/two" for _, path, _ in server.asked) >= 5, what="the other one goes on")
    assert sum(path == "/one" for _, path, _ in server.asked) <= 1, "one that was under way may have come later"


def test_hundreds_of_tasks_share_a_few_threads(native: NativeHealth, server: Server) -> None:
    check = Check(http="http://127.0.0.1", add_provided_port=True, interval="5s")
    native.synchronise(by_id(*(registration(check, port=server.port, instance=each) for each in range(500))))
    mine = _threads()
    wait_until(
        lambda: native.wait(0.1) and all(each.health is Health.PASSING for each in native.readings().values()),
        what="all of them are passing",
    )
    assert max(mine, _threads()) <= MOST_THREADS + 1


def test_services_that_hang_do_not_keep_others_from_being_checked(native: NativeHealth, server: Server) -> None:
    server.hang = threading.Event()
    stuck = Check(http="http://127.0.0.1", add_provided_port=True, interval="50ms", timeout="20s")
    hung = [registration(stuck, port=server.port, instance=each) for each in range(10, 20)]
    listener = socket.create_server(("127.0.0.1", 0))
    fine = registration(Check(tcp=f"127.0.0.1:{listener.getsockname()[1]}", interval="50ms"))
    native.synchronise(by_id(fine, *hung))
    wait_until(lambda: len(server.asked) == 10, what="all hung ones were asked once")
    await_health(native, fine.task.id, Health.PASSING)
    listener.close()
    await_health(native, fine.task.id, Health.CRITICAL)
    assert len(server.asked) == 10, "a check that still runs is not run a second time"


def _threads() -> int:
    return sum(thread.name.startswith("check") for thread in threading.enumerate())


def test_nothing_new_is_no_news(native: NativeHealth) -> None:
    native.synchronise(by_id(registration()))
    assert native.wait(5.0)
    assert not native.wait(0.02)
