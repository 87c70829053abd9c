"""The agent's HTTP with real tasks: its pages, its metrics, and logs that are followed, by hand and by the program."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from prometheus_client import REGISTRY

from reconciler.model.manifests import Check
from reconciler.model.task import Health, Phase, Task
from reconciler.runtime.http import HttpServer, daemon_routes
from reconciler.runtime.http_access import Access
from reconciler.store.connect import open_store
from tests.support.agent import SLEEP, AgentWorld, bash_definition
from tests.support.program import Program
from tests.support.wait import wait_until

TOKEN = b"a-token-for-tests"


class Site:
    """An agent on a SQLite store, and the server that shows it."""

    def __init__(self, world: AgentWorld) -> None:
        self.world = world
        self.agent = world.agent()
        self.server = HttpServer("127.0.0.1", 0, daemon_routes([self.agent], self.agent.site), Access(TOKEN))
        self.agent.site.announce(self.server.url)
        self.server.start()

    def get(self, path: str, *, token: bytes = TOKEN) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {token.decode()}"}
        return urllib3.request("GET", self.server.url + path, headers=headers, timeout=20, retries=False)

    def lines(self, path: str) -> Iterator[bytes]:
        """A streamed answer as it comes; ends when it ends as it should."""
        headers = {"Authorization": f"Bearer {TOKEN.decode()}"}
        with urllib3.PoolManager(retries=False) as pool:
            url = self.server.url + path
            answer = pool.request("GET", url, headers=headers, preload_content=False, timeout=60)
            assert answer.status == 200, answer.read()
            assert answer.headers["Transfer-Encoding"] == "chunked"
            rest = b""
            for piece in answer.stream():
                *whole, rest = (rest + piece).split(b"\n")
                yield from whole


@pytest.fixture
def site(tmp_path: Path, program: Program) -> Iterator[Site]:
    url = f"sqlite://{tmp_path}/state.db"
    program.use(url)
    world = AgentWorld(open_store(url, environ={}), tmp_path)
    world.with_settings(restart={"first_delay_s": 0.0, "delay_s": 0.0, "max_attempts": 3})
    site = Site(world)
    try:
        yield site
    finally:
        world.close()
        site.server.stop()


def told_to_end(folder: Path, words: str) -> str:
    """Says something in each attempt, ends with 3 for each ``die`` that it finds, and says when it is stopped."""
    waits = f'until rm "{folder}/die" 2>/dev/null; do sleep 0.1; done'
    return f'trap "echo bye; exit" TERM; echo "{words}"; {waits}; echo dying >&2; exit 3'


def test_logs_are_followed_through_a_restart_until_the_task_is_gone(
    site: Site, program: Program, tmp_path: Path
) -> None:
    ready = site.get("/readyz")
    assert (ready.status, "no pass yet" in ready.json()["reasons"][0]) == (503, True)
    site.agent.start()
    wait_until(lambda: site.get("/readyz").status == 200, what="the agent is ready")
    task = site.world.issue(bash_definition(told_to_end(tmp_path, "attempt $RECONCILER_ATTEMPT")))
    site.world.await_health(task, Health.PASSING)
    program.environ["RECONCILER_HTTP_TOKEN"] = TOKEN.decode()
    following = program.start("logs", "web-1-1", "-f")
    stopped = program.start("logs", task.id, "--follow", name="stopped")
    for each in (following, stopped):
        wait_until(lambda each=each: each.output() == "attempt 1\n", timeout_s=60, what="its output")  # type: ignore[misc]
    stopped.signal(signal.SIGINT)
    assert stopped.process.wait(30) == 0

    over_http = site.lines(f"/v1/tasks/{task.id}/logs?follow=1&tail=1")
    assert next(over_http) == b"attempt 1"
    (tmp_path / "die").touch()
    assert [next(over_http), next(over_http)] == [b"dying", b"attempt 2"]
    page = wait_until(lambda: (found := site.get(f"/v1/tasks/{task.id}").json())["attempt"] == 2 and found, what="it")
    assert (page["host"], page["service"], page["containers"][0]["name"]) == ("h1", "web", "main")
    assert [each["id"] for each in site.get("/v1/tasks").json()["tasks"]] == [task.id]

    assert program.ok("logs", task.id, "--tail", "2") == "dying\nattempt 2\n"
    refused = program.run("logs", task.id, "--container", "beside")
    assert (refused.returncode, "it has main" in refused.stderr) == (2, True)
    program.environ["RECONCILER_HTTP_TOKEN"] = "another"
    refused = program.run("logs", task.id)
    assert (refused.returncode, "--http-token-file" in refused.stderr) == (2, True)

    site.world.take_back(task)
    assert list(over_http)[-1] == b"bye", "it ends with the last that was written, and as it should"
    assert following.process.wait(30) == 0
    assert following.output().startswith("attempt 1\ndying\nattempt 2\n")
    assert following.output().endswith("bye\n")
    assert site.get(f"/v1/tasks/{task.id}/logs").status == 404


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def counted() -> tuple[float, float, float]:
    """Starts, restarts, and tasks that failed for good."""
    return (
        value("reconciler_agent_task_starts_total"),
        value("reconciler_agent_task_restarts_total"),
        value("reconciler_agent_tasks_given_up_total", phase="failed"),
    )


def test_metrics_count_a_task_that_starts_restarts_and_fails(site: Site, program: Program, tmp_path: Path) -> None:
    program.environ["RECONCILER_HTTP_TOKEN"] = TOKEN.decode()
    before = counted()
    site.agent.start()
    task = site.world.issue(bash_definition(told_to_end(tmp_path, "here")))

    def gained() -> tuple[float, ...]:
        return tuple(now - then for now, then in zip(counted(), before, strict=True))

    site.world.await_health(task, Health.PASSING)
    assert gained() == (1, 0, 0)
    assert value("reconciler_agent_tasks", phase="running") == 1
    (tmp_path / "die").touch()
    site.world.await_status(task, lambda status: status.attempt == 2 and status.healthy, "up again")
    assert gained() == (2, 1, 0)
    for attempt in (2, 3):
        site.world.await_status(task, lambda status, n=attempt: status.attempt == n and status.healthy, "up")  # type: ignore[misc]
        (tmp_path / "die").touch()
    site.world.await_phase(task, Phase.FAILED)
    assert gained() == (3, 2, 1)
    text = site.get("/metrics", token=b"").data.decode()
    assert 'reconciler_agent_tasks{phase="failed"} 1.0\n' in text
    assert 'reconciler_agent_tasks{phase="running"} 0.0\n' in text
    assert 'reconciler_agent_executor_available{executor="bash"} 1.0\n' in text
    assert site.get(f"/v1/tasks/{task.id}/logs?tail=1").data == b"dying\n", "what failed can still be read"
    site.world.take_back(task)
    wait_until(lambda: task.id not in site.world.published(), what="it is gone")
    assert site.get(f"/v1/tasks/{task.id}").json()["phase"] == "stopped"
    assert program.ok("logs", task.id, "--host", "h1", "--tail", "1") == "dying\n", "and when it has been replaced"


def test_with_a_token_tasks_of_this_machine_still_report_their_checks(site: Site) -> None:
    site.agent.start()
    report = f"curl -s -X PUT {site.server.url}/v1/checks/$RECONCILER_CHECK_ALIVE/pass; {SLEEP}"
    task: Task = site.world.issue(bash_definition(report, checks=(Check(ttl="1h", name="alive"),)))
    site.world.await_health(task, Health.PASSING)
    assert site.get("/v1/status", token=b"").status == 401
    assert json.loads(site.get("/v1/status").data)["tasks"][task.id]["health"] == "passing"
