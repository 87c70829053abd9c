"""An engine that really is stopped and started again: one of the test's own, made by ``scripts/docker-engine``."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import docker
import msgspec
import psutil
import pytest

from reconciler.executors.docker import Docker
from reconciler.executors.interface import Observed, Owner, Ref, Spec
from reconciler.model.manifests import DockerContainer, DockerExecutor
from tests.support.docker import root_filesystem, unavailable
from tests.support.wait import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("own-engine")]

SCRIPT = Path(__file__).parents[3] / "scripts/docker-engine"
REF = Ref("c-web-1-0", 1, "main")


class OwnEngine:
    """An engine beside the one that everybody uses, in a network of its own: two would fight over one bridge."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix:///tmp/reconciler-test-{uuid.uuid4().hex[:8]}.sock"
        self.environment = {
            **os.environ,
            "DOCKER_HOST": self.url,
            "DOCKER_CACHE": str(folder),
        }

    def run(self, verb: str) -> str:
        command = ["unshare", "--net", str(SCRIPT), verb]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def pid(self) -> int:
        return int((self.folder / "dockerd.pid").read_text())

    def import_image(self) -> str:
        client = docker.APIClient(self.url, version="auto", timeout=60)
        client.import_image_from_data(root_filesystem(), "web", "1")
        client.close()
        return "web:1"


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[OwnEngine]:
    if os.geteuid() != 0 or which("dockerd") is None:
        unavailable("only root can start an engine, and only where dockerd is installed")
    engine = OwnEngine(tmp_path / "docker")
    try:
        yield engine
    finally:
        engine.run("stop")
        Path(engine.url.removeprefix("unix://")).unlink(missing_ok=True)


def test_an_engine_is_started_once_and_stopped_without_remains(own_engine: OwnEngine) -> None:
    assert "no engine of ours runs" in own_engine.run("stop")
    assert "starting dockerd" in own_engine.run("start")
    pid = own_engine.pid
    assert "an engine answers" in own_engine.run("start")
    assert own_engine.pid == pid
    own_engine.run("stop")
    # where process 1 is slow to reap, what has ended stays listed for a while
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert str(own_engine.folder) not in Path("/proc/mounts").read_text()


def test_an_engine_that_answers_already_is_not_ours_to_stop(own_engine: OwnEngine, tmp_path: Path) -> None:
    own_engine.run("start")
    pid = own_engine.pid
    other = OwnEngine(tmp_path / "other")
    other.environment["DOCKER_HOST"] = own_engine.url
    assert "an engine answers" in other.run("start")
    assert "no engine of ours runs" in other.run("stop")
    assert Path(f"/proc/{pid}").exists()


def test_tasks_are_found_again_after_the_engine_was_restarted(own_engine: OwnEngine) -> None:
    own_engine.run("start")
    executor = Docker(Owner(uuid.uuid4().hex, "machine"), base_url=own_engine.url)
    command = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    fields = DockerExecutor(image=own_engine.import_image(), cmd=command, flags=("--network=none",))
    spec = Spec(
        ref=REF,
        container=DockerContainer(name="main", executor=fields),
        digest="d",
        attempt=1,
        environment={},
        address="127.0.0.1",
    )

    def seen() -> Observed:
        (observed,) = executor.observe()
        return observed

    try:
        executor.start(spec)
        assert seen().running
        wait_until(lambda: not executor.wait(0.5), what="no more news")

        own_engine.run("stop")
        assert "no Docker engine answers" in (executor.unavailable() or "")
        own_engine.run("start")
        assert executor.unavailable() is None
        assert wait_until(lambda: executor.wait(5), what="news of what happened meanwhile")
        # a stopped engine stops what it runs
        ended = seen()
        assert not ended.running
        assert ended.reason
        executor.start(msgspec.structs.replace(spec, attempt=2))
        assert (seen().running, seen().attempt) == (True, 2)
        executor.stop(REF, None, 10)
        executor.remove(REF)
        assert executor.observe() == []
    finally:
        executor.close()
