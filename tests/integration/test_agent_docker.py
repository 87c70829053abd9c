"""The agent on a real Docker engine."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from reconciler.agent import identity
from reconciler.executors.bash import Bash
from reconciler.executors.docker import Docker
from reconciler.model.manifests import Check, DockerContainer, DockerExecutor, TaskDefinition
from reconciler.model.task import Health, Phase, Task
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support.agent import AgentWorld, free_port
from tests.support.docker import DockerEngine
from tests.support.wait import wait_until

pytestmark = pytest.mark.docker

CHECK = Check(http="http://127.0.0.1/health", add_provided_port=True, interval="200ms", timeout="2s")


class DockerWorld(AgentWorld):
    """A world whose agents run containers too."""

    def __init__(self, engine: DockerEngine, folder: Path) -> None:
        super().__init__(MemoryStore(MemorySpace()), folder)
        self.engine = engine

    def start(self) -> None:
        owner = identity.owner(self.settings, self.store_id)
        self.start_agent(executors={"docker": Docker(owner), "bash": Bash(owner, self.folder / "bash")})

    def definition(self, *names: str, checks: tuple[Check, ...] = (), version: int = 1) -> TaskDefinition:
        image = self.engine.image(str(version))
        containers = tuple(
            DockerContainer(
                name=name,
                executor=DockerExecutor(image=image, container_port=80 if not position else 0),
            )
            for position, name in enumerate(names or ("server",))
        )
        return TaskDefinition(
            name="web", version=version, containers=containers, provide_port=True, memory=64, checks=checks
        )

    def containers(self, task: Task) -> dict[str, dict[str, Any]]:
        """The containers of a task by their id, as the engine describes them."""
        found = {each["Id"]: each for each in self.engine.containers()}
        return {key: each for key, each in found.items() if task.id in each["Names"][0]}


@pytest.fixture
def world(docker_engine: DockerEngine, tmp_path: Path) -> Generator[DockerWorld]:
    before = {each["Id"] for each in docker_engine.containers()}  # of other tests, whose agents left theirs running
    with contextlib.closing(DockerWorld(docker_engine, tmp_path)) as made:
        yield made
    left = [each for each in docker_engine.containers() if each["Id"] not in before]
    assert left == [], "the agent leaves nothing behind"


def test_a_container_is_served_on_the_port_it_was_given(world: DockerWorld) -> None:
    world.start()
    task = world.issue(world.definition(checks=(CHECK,)), port=free_port())
    world.await_health(task, Health.PASSING)
    assert urllib3.request("GET", f"http://127.0.0.1:{task.port}/", timeout=5).data == b"1\n"
    world.take_back(task)
    world.await_gone(task)
    assert world.containers(task) == {}


def test_a_killed_container_is_started_again(world: DockerWorld) -> None:
    world.start()
    task = world.issue(world.definition(), port=free_port())
    world.await_health(task, Health.PASSING)
    (before,) = world.containers(task)
    world.engine.client.kill(before)

    def restarted() -> bool:
        status = world.published()[task.id]
        return status.attempt == 2 and status.healthy

    wait_until(restarted, what="a second attempt")
    assert world.published()[task.id].exit_code == 137
    (after,) = world.containers(task)
    assert after != before


def test_containers_of_one_task_go_down_and_come_up_together(world: DockerWorld) -> None:
    world.start()
    task = world.issue(world.definition("server", "beside"), port=free_port())
    world.await_health(task, Health.PASSING)
    before = set(world.containers(task))
    assert len(before) == 2
    beside = next(key for key, each in world.containers(task).items() if ".beside." in each["Names"][0])
    world.engine.client.kill(beside)
    wait_until(lambda: world.published()[task.id].attempt == 2, what="a second attempt")
    world.await_health(task, Health.PASSING)
    assert len(world.containers(task)) == 2
    assert not before & set(world.containers(task))


def test_the_next_agent_adopts_containers_and_restarts_none(world: DockerWorld) -> None:
    world.start()
    tasks = [world.issue(world.definition(), instance=each, port=free_port()) for each in (1, 2, 3)]
    for task in tasks:
        world.await_health(task, Health.PASSING)
    before = {key: each["Created"] for task in tasks for key, each in world.containers(task).items()}
    world.agents[0].stop()
    world.start()
    late = world.issue(world.definition(version=2), port=free_port())
    world.await_health(late, Health.PASSING)
    assert {key: each["Created"] for task in tasks for key, each in world.containers(task).items()} == before
    for task in tasks:
        assert world.await_health(task, Health.PASSING).attempt == 1


def test_an_image_that_does_not_exist_is_said_and_harms_nobody(world: DockerWorld) -> None:
    world.with_settings(restart={"delay_s": 0.05, "factor": 1.0})
    world.start()
    good = world.issue(world.definition(), port=free_port())
    image = "localhost:1/no/such:image"
    container = DockerContainer(name="server", executor=DockerExecutor(image=image))
    bad = world.issue(TaskDefinition(name="bad", version=1, containers=(container,)))
    world.await_health(good, Health.PASSING)

    def given_up() -> bool:
        status = world.published().get(bad.id)
        return status is not None and status.phase in (Phase.FAILED, Phase.REJECTED) and image in status.reason

    wait_until(given_up, timeout_s=60, what=f"{image} is given up")
    assert world.published()[good.id].healthy


def test_what_takes_more_memory_than_it_may_is_given_up_with_the_reason_and_harms_nobody(world: DockerWorld) -> None:
    world.with_settings(restart={"delay_s": 0.05, "factor": 1.0, "max_attempts": 2})
    world.start()
    good = world.issue(world.definition(), port=free_port())
    world.await_health(good, Health.PASSING)
    # its process 1 takes care of nobody: children that have ended stay as zombies until all of it ends
    script = "sh -c 'sleep 0.1 & exec sleep 0.3' & sleep 0.5; exec dd if=/dev/zero of=/dev/null bs=64M"
    executor = DockerExecutor(image=world.engine.image(), cmd=("sh", "-c", script), flags=("--memory-swap=16m",))
    containers = (DockerContainer(name="main", executor=executor),)
    greedy = world.issue(TaskDefinition(name="greedy", version=1, memory=16, containers=containers))
    status = world.await_phase(greedy, Phase.FAILED, timeout_s=60)
    assert "memory" in status.reason
    assert (world.published()[good.id].attempt, world.published()[good.id].healthy) == (1, True)


def test_a_port_that_somebodys_container_has_is_said_with_its_name_and_harms_nobody(
    world: DockerWorld, tmp_path: Path
) -> None:
    with contextlib.closing(DockerWorld(world.engine, tmp_path / "other")) as other:
        other.start()
        theirs = other.issue(other.definition(), port=free_port())
        other.await_health(theirs, Health.PASSING)
        world.start()
        ours = world.issue(world.definition(), port=theirs.port)
        status = world.await_phase(ours, Phase.REJECTED)
        (container,) = other.containers(theirs).values()
        assert f"port {theirs.port} is taken by container {container['Names'][0].removeprefix('/')}" in status.reason
        assert (other.published()[theirs.id].attempt, other.published()[theirs.id].healthy) == (1, True)


def test_rule_05_containers_of_another_store_are_left_alone(world: DockerWorld, tmp_path: Path) -> None:
    other = DockerWorld(world.engine, tmp_path / "other")
    with contextlib.closing(other):
        other.start()
        theirs = other.issue(other.definition(), port=free_port())
        other.await_health(theirs, Health.PASSING)
        before = set(other.containers(theirs))
        world.start()
        ours = world.issue(world.definition(version=2), instance=7, port=free_port())
        world.await_health(ours, Health.PASSING)
        world.take_back(ours)
        world.await_gone(ours)
        assert set(other.containers(theirs)) == before
        assert other.published()[theirs.id].attempt == 1
        assert any(other.store_id in stranger for stranger in world.agents[0]._pages.status()["strangers"])


def test_a_script_check_runs_inside_its_container_or_on_the_host(world: DockerWorld) -> None:
    world.start()
    inside = Check(script='test -x /serve && test "$VERSION" = 1', container="server", interval="200ms")
    beside = Check(script=f'test -d "{world.folder}" && test "$RECONCILER_HOST" = h1', interval="200ms")
    task = world.issue(world.definition(checks=(inside, beside)), port=free_port())
    world.await_health(task, Health.PASSING)


def test_many_containers_start_side_by_side(world: DockerWorld) -> None:
    world.start()
    tasks = [world.issue(world.definition(), instance=each, port=free_port()) for each in range(8)]
    most = 0

    def all_up() -> bool:
        nonlocal most
        phases = [status.phase for status in world.agents[0].status.tasks.values()]
        most = max(most, sum(phase is Phase.STARTING for phase in phases))
        return phases.count(Phase.RUNNING) == len(tasks)

    wait_until(all_up, timeout_s=60, what="all run", every_s=0.005)
    assert most >= min(2, os.cpu_count() or 1)
