"""``reconciler dev DIR``: save a file, and the tasks follow."""

import signal
from typing import Any

import pytest

from tests.e2e.conftest import bash_tasks
from tests.support.consul import ConsulAgent, StartConsul
from tests.support.manifests import bash_definition, manifest, service, write
from tests.support.program import Program
from tests.support.wait import wait_until


def hello(version: int = 1, desired: int = 2, **fields: Any) -> dict[str, Any]:
    return manifest(
        cluster="local",
        services=[service("hello", version, desired)],
        definitions=[bash_definition("hello", version, **fields)],
    )


@pytest.mark.parametrize("docker", ["as it is", "unix:///nowhere/docker.sock"])
def test_saving_a_file_changes_what_runs_and_ctrl_c_stops_it(program: Program, docker: str) -> None:
    if docker.startswith("unix:"):
        program.environ["DOCKER_HOST"] = docker
    folder = program.folder / "manifests"
    folder.mkdir()
    write(folder / "hello.json", hello())
    daemon = program.start("dev", "manifests", "--http", "127.0.0.1:0")
    program.use(f"sqlite://{program.folder}/.reconciler/dev.db")
    wait_until((program.folder / ".reconciler/dev.db").exists)
    program.healthy("hello", 2)

    write(folder / "hello.json", hello(desired=3))
    program.healthy("hello", 3)

    # a definition may change under one version here: the tasks are rolled all the same
    before = {row["id"] for row in program.tasks()}
    write(folder / "hello.json", hello(desired=3, tags=["changed"]))
    wait_until(lambda: not before & {row["id"] for row in program.tasks()}, timeout_s=60, every_s=0.2)
    program.healthy("hello", 3)

    daemon.signal(signal.SIGINT)
    assert daemon.process.wait(60) == 0
    assert not bash_tasks(program)


def test_a_broken_manifest_changes_nothing_and_is_said(program: Program) -> None:
    folder = program.folder / "manifests"
    folder.mkdir()
    write(folder / "hello.json", hello(desired=1))
    daemon = program.start("dev", "manifests", "--http", "127.0.0.1:0")
    program.use(f"sqlite://{program.folder}/.reconciler/dev.db")
    wait_until((program.folder / ".reconciler/dev.db").exists)
    program.healthy("hello", 1)
    (folder / "hello.json").write_text('{"services": [{"name": "hello", "task_verison": 1}]}')
    wait_until(lambda: "is not applied: hello.json:1:" in daemon.output(), what="the problem in the log")
    status = program.run("status")
    assert status.returncode == 1
    assert "task_verison" in status.stdout
    program.healthy("hello", 1)


def test_kept_tasks_are_adopted_by_the_next_dev(program: Program) -> None:
    folder = program.folder / "manifests"
    folder.mkdir()
    write(folder / "hello.json", hello())
    first = program.start("dev", "manifests", "--keep", "--http", "127.0.0.1:0")
    program.use(f"sqlite://{program.folder}/.reconciler/dev.db")
    wait_until((program.folder / ".reconciler/dev.db").exists)
    program.healthy("hello", 2)
    pids = bash_tasks(program)
    assert first.stop() == 0
    assert bash_tasks(program) == pids

    second = program.start("dev", "manifests", "--http", "127.0.0.1:0")
    wait_until(lambda: "scheduled by" in second.output())
    program.healthy("hello", 2)
    assert bash_tasks(program) == pids
    assert second.stop(60) == 0
    assert not bash_tasks(program)


@pytest.mark.consul
def test_the_same_command_works_on_a_real_consul(program: Program, start_consul: StartConsul) -> None:
    consul: ConsulAgent = start_consul()
    folder = program.folder / "manifests"
    folder.mkdir()
    write(folder / "hello.json", hello())
    daemon = program.start("dev", "manifests", "--store", consul.url, "--http", "127.0.0.1:0")
    program.use(consul.url)
    program.healthy("hello", 2)
    assert len(consul.call("GET", "health/service/local-hello?passing")) == 2
    assert daemon.stop(60) == 0
    assert consul.call("GET", "health/service/local-hello") == []
