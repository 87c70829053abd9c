"""The agent fetches what it is asked to prepare, with the real bash executor and a real server, and starts nothing."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model import codec, keys
from reconciler.model.manifests import BashContainer, BashExecutor, TaskDefinition
from reconciler.model.preparation import Preparation, Prepared
from reconciler.model.task import HostState, HostStatus, Phase
from tests.support.agent import SLEEP, AgentWorld
from tests.support.endless_server import EndlessServer
from tests.support.wait import wait_until

NAME = "c/web"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves one file, ``server.sh``; the URL under which it does."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "server.sh").write_text("exec sleep 1000\n")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def ask(world: AgentWorld, version: int, artifact: str) -> str:
    """As a scheduler does; returns the digest."""
    executor = BashExecutor(start=(SLEEP,), artifact=artifact)
    definition = TaskDefinition(
        name="web", version=version, containers=(BashContainer(name="main", executor=executor),)
    )
    world.put(keys.config(definition), codec.encode(definition))
    digest = codec.digest(definition)
    wanted = Preparation(
        cluster="c", service="web", host=world.host, task_name="web", task_version=version, digest=digest
    )
    world.put(keys.preparation_by_host(world.host, "c", "web"), codec.encode(wanted))
    return digest


def said(world: AgentWorld) -> Prepared | None:
    entry = world.store.get(keys.status(world.host))
    return codec.decode(entry.value, HostStatus).prepared.get(NAME) if entry else None


def test_an_artifact_is_fetched_ahead_or_the_reason_said(
    agent_world: AgentWorld, server: str, endless_server: EndlessServer
) -> None:
    running = TaskDefinition(
        name="old", version=1, containers=(BashContainer(name="main", executor=BashExecutor(start=(SLEEP,))),)
    )
    agent_world.start_agent()
    task = agent_world.issue(running)
    agent_world.await_phase(task, Phase.RUNNING)
    entry = agent_world.store.get(keys.host_state(agent_world.host))
    assert entry is not None
    assert codec.decode(entry.value, HostState).prepares

    digest = ask(agent_world, 2, f"{server}/nothing.sh")
    failed = wait_until(lambda: (now := said(agent_world)) and now.failed and now, what="the reason")
    assert failed.digest == digest
    assert not failed.ready
    assert "the server answered 404" in failed.reason

    digest = ask(agent_world, 3, f"{server}/server.sh")
    wait_until(lambda: said(agent_world) == Prepared(digest=digest, ready=True), what="it to be here")
    assert list(agent_world.published()) == [task.id], "nothing was started or stopped for it"

    ask(agent_world, 4, f"http://{endless_server.hostport}/server.sh")
    wait_until(endless_server.asked.is_set, what="the download has begun")
    agent_world.delete(keys.preparation_by_host(agent_world.host, "c", "web"))
    wait_until(lambda: said(agent_world) is None, what="it to be forgotten")
    wait_until(lambda: endless_server.open == 0, what="what nobody asks for any more is broken off")
