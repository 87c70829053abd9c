"""The agent while its Docker engine is stopped and started: one of the test's own."""

import contextlib
from pathlib import Path

import pytest

from reconciler.agent import identity
from reconciler.executors.docker import Docker
from reconciler.model.manifests import DockerContainer, DockerExecutor, TaskDefinition
from reconciler.model.task import Health
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support.agent import AgentWorld
from tests.support.own_engine import OwnEngine
from tests.support.wait import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("own-engine")]


def test_tasks_come_back_with_the_engine_and_waiting_for_it_uses_up_no_attempt(
    own_engine: OwnEngine, tmp_path: Path
) -> None:
    own_engine.run("start")
    image = own_engine.import_image()

    def definition(name: str) -> TaskDefinition:
        command = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
        executor = DockerExecutor(image=image, cmd=command, flags=("--network=none",))
        return TaskDefinition(name=name, version=1, containers=(DockerContainer(name="main", executor=executor),))

    world = AgentWorld(MemoryStore(MemorySpace()), tmp_path)
    with contextlib.closing(world):
        world.with_settings(restart={"max_attempts": 4})  # it dies once
        owner = identity.owner(world.settings, world.store_id)
        world.start_agent(executors={"docker": Docker(owner, base_url=own_engine.url, secrets=tmp_path / "secrets")})
        before = world.issue(definition("before"))
        world.await_health(before, Health.PASSING)
        own_engine.run("stop")
        wait_until(lambda: any("docker: " in note for note in world.notes()), what="people are told")
        meanwhile = world.issue(definition("meanwhile"))
        own_engine.run("start")
        world.await_health(meanwhile, Health.PASSING, timeout_s=60)
        world.await_status(before, lambda status: status.healthy and status.attempt >= 2, "started again", 60)
        wait_until(lambda: not any("docker: " in note for note in world.notes()), what="all is well again")
