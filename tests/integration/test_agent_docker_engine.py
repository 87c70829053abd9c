"""The agent while its Docker engine is in trouble: stopped and started, its disk full. One of the test's own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.agent import identity
from reconciler.executors.docker import Docker
from reconciler.model.manifests import DockerContainer, DockerExecutor, TaskDefinition
from reconciler.model.task import Health
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support import disks
from tests.support.agent import AgentWorld
from tests.support.own_engine import OwnEngine
from tests.support.wait import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("own-engine")]


def definition(name: str, image: str) -> TaskDefinition:
    command = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    executor = DockerExecutor(image=image, cmd=command, flags=("--network=none",))
    return TaskDefinition(name=name, version=1, containers=(DockerContainer(name="main", executor=executor),))


@contextlib.contextmanager
def agent_of(engine: OwnEngine, folder: Path, max_attempts: int) -> Iterator[AgentWorld]:
    with contextlib.closing(AgentWorld(MemoryStore(MemorySpace()), folder)) as world:
        world.with_settings(restart={"delay_s": 0.2, "factor": 1.0, "max_attempts": max_attempts})
        owner = identity.owner(world.settings, world.store_id)
        world.start_agent(executors={"docker": Docker(owner, base_url=engine.url, secrets=folder / "secrets")})
        yield world


def test_tasks_come_back_with_the_engine_and_waiting_for_it_uses_up_no_attempt(
    own_engine: OwnEngine, tmp_path: Path
) -> None:
    own_engine.run("start")
    image = own_engine.import_image()
    with agent_of(own_engine, tmp_path, max_attempts=1000) as world:
        before = world.issue(definition("before", image))
        world.await_health(before, Health.PASSING)
        own_engine.run("stop")
        wait_until(lambda: any("docker: " in note for note in world.notes()), what="people are told")
        so_far = world.published()[before.id].attempt  # an engine that is going down refuses some starts
        meanwhile = world.issue(definition("meanwhile", image))
        own_engine.run("start")
        world.await_health(meanwhile, Health.PASSING, timeout_s=60)
        again = world.await_status(before, lambda status: status.healthy and status.attempt >= 2, "started again", 60)
        assert again.attempt <= so_far + 2
        wait_until(lambda: not any("docker: " in note for note in world.notes()), what="all is well again")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The disk on which an engine keeps everything: 64 MiB."""
    with disks.small_disk(tmp_path / "docker", 64) as folder:
        yield folder


def test_an_engine_whose_disk_is_full_keeps_what_runs_and_says_why_nothing_else_starts(
    small_disk: Path, own_engine: OwnEngine, tmp_path: Path
) -> None:
    own_engine.run("start")
    image = own_engine.import_image()
    with agent_of(own_engine, tmp_path, max_attempts=1000) as world:
        before = world.issue(definition("before", image))
        world.await_health(before, Health.PASSING)
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * (64 << 20))
        late = world.issue(definition("late", image))
        world.await_status(late, lambda status: "no space left on this host" in status.reason, "the reason")
        status = world.published()[before.id]
        assert (status.healthy, status.attempt) == (True, 1)
        filler.unlink()
        world.await_health(late, Health.PASSING)
