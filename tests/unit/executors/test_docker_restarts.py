"""An engine that really is stopped and started again: one of the test's own, made by ``scripts/docker-engine``."""

import uuid
from pathlib import Path

import msgspec
import psutil
import pytest

from reconciler.executors.docker import Docker
from reconciler.executors.interface import Observed, Owner, Ref, Spec
from reconciler.model.manifests import DockerContainer, DockerExecutor
from tests.support.own_engine import OwnEngine
from tests.support.wait import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("own-engine")]

REF = Ref("c-web-1-0", 1, "main")


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
