"""What people do to containers behind the agent's back, on a real Docker engine."""

import contextlib
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from reconciler.model.task import Health
from tests.integration.test_agent_docker import DockerWorld
from tests.support.agent import free_port
from tests.support.docker import DockerEngine
from tests.support.wait import wait_until

pytestmark = pytest.mark.docker


@pytest.fixture
def world(docker_engine: DockerEngine, tmp_path: Path) -> Generator[DockerWorld]:
    with contextlib.closing(DockerWorld(docker_engine, tmp_path)) as made:
        yield made


@pytest.mark.parametrize("how", ["stop", "remove", "restart"])
def test_what_is_ended_by_hand_comes_up_again(world: DockerWorld, how: str) -> None:
    world.start()
    task = world.issue(world.definition(), port=free_port())
    world.await_health(task, Health.PASSING)
    (container,) = world.containers(task)
    match how:
        case "stop":
            world.engine.client.stop(container, timeout=1)
        case "remove":
            world.engine.client.remove_container(container, force=True)
        case "restart":
            world.engine.client.restart(container, timeout=1)

    def is_up_again() -> bool:
        status = world.published()[task.id]
        states = [each["State"] for each in world.containers(task).values()]
        return status.healthy and status.attempt >= (1 if how == "restart" else 2) and states == ["running"]

    wait_until(is_up_again, what="it runs again")
    # the engine starts it as well: one attempt may meet that, and find its own port taken
    assert world.published()[task.id].attempt <= (3 if how == "restart" else 2)


def test_what_somebody_updates_restarts_nothing_and_stays_the_agents_alone(world: DockerWorld) -> None:
    world.start()
    task = world.issue(world.definition(), port=free_port())
    world.await_health(task, Health.PASSING)
    (container,) = world.containers(task)
    client = world.engine.client
    client.update_container(container, cpu_shares=64, restart_policy={"Name": "always"})
    other = world.issue(world.definition(version=2), port=free_port())
    world.await_health(other, Health.PASSING)
    assert (list(world.containers(task)), world.published()[task.id].attempt) == ([container], 1)

    # by itself, not by the engine: now that would start it again, and so would the agent
    pid = client.inspect_container(container)["State"]["Pid"]
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:
        pytest.skip("only root can kill what is in a container")

    def one_runs() -> bool:
        found = [client.inspect_container(each)["State"] for each in world.containers(task)]
        return [each["Running"] and each["Pid"] != pid for each in found] == [True]

    wait_until(one_runs, what="one runs again")
    world.await_health(task, Health.PASSING)
    world.take_back(task)
    world.await_gone(task)
    assert world.containers(task) == {}


def test_a_container_that_was_renamed_is_still_the_agents_to_stop(world: DockerWorld) -> None:
    world.start()
    task = world.issue(world.definition(), port=free_port())
    world.await_health(task, Health.PASSING)
    (container,) = world.containers(task)
    world.engine.client.rename(container, f"renamed-{task.issue}-{world.store_id[:8]}")
    world.take_back(task)
    world.await_gone(task)
    assert container not in {each["Id"] for each in world.engine.containers()}
