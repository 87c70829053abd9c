"""What dies is brought back; what did not die is left alone."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import bash_tasks
from tests.support.consul import StartConsul
from tests.support.docker import DockerEngine
from tests.support.manifests import bash_definition, docker_definition, manifest, service, write
from tests.support.program import Program
from tests.support.wait import wait_until

pytestmark = [pytest.mark.consul, pytest.mark.slow]


def apply(program: Program, definition: dict[str, Any], desired: int = 2) -> None:
    content = manifest(cluster="c", services=[service("web", desired=desired)], definitions=[definition])
    program.ok("apply", "-f", str(write(program.folder / "web.json", content)))


def test_a_killed_process_is_started_again(program: Program, start_consul: StartConsul) -> None:
    program.use(start_consul().url)
    program.start("combined", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "bash")
    apply(program, bash_definition("web"))
    rows = program.healthy("web", 2)
    victim = rows[0]["id"]
    before = bash_tasks(program)
    for pid in before[victim]:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: (now := bash_tasks(program).get(victim)) and not now & before[victim], what="the task again")
    wait_until(
        lambda: [row for row in program.tasks() if row["id"] == victim and row["attempt"] == 2],
        timeout_s=30,
        what="the second attempt to be published",
        every_s=0.2,
    )
    after = program.healthy("web", 2)
    assert {row["id"] for row in after} == {row["id"] for row in rows}
    assert bash_tasks(program)[rows[1]["id"]] == before[rows[1]["id"]]


@pytest.mark.docker
def test_a_killed_container_is_started_again(
    program: Program, start_consul: StartConsul, docker_engine: DockerEngine
) -> None:
    program.use(start_consul().url)
    program.start("combined", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "docker")
    apply(program, docker_definition("web", docker_engine.image(), container_port=80), desired=1)
    rows = program.healthy("web", 1)
    first = docker_engine.containers()[0]["Id"]
    docker_engine.client.kill(first)
    wait_until(lambda: [each["Id"] for each in docker_engine.containers() if each["Id"] != first], timeout_s=60)
    after = program.healthy("web", 1)
    assert after[0]["id"] == rows[0]["id"]


def test_a_killed_agent_leaves_its_processes_to_the_next_one(program: Program, start_consul: StartConsul) -> None:
    program.use(start_consul().url)
    program.start("scheduler", "--http", "127.0.0.1:0")
    agent = program.start("agent", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "bash")
    apply(program, bash_definition("web"))
    rows = program.healthy("web", 2)
    before = bash_tasks(program)
    agent.kill()
    assert bash_tasks(program) == before

    program.start("agent", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "bash")
    after = program.healthy("web", 2)
    assert {(row["id"], row["attempt"], row["port"]) for row in after} == {
        (row["id"], row["attempt"], row["port"]) for row in rows
    }
    assert bash_tasks(program) == before


def test_an_agent_that_starts_while_the_store_is_away_keeps_alive_what_ran(
    program: Program, start_consul: StartConsul
) -> None:
    consul = start_consul(is_dev=False)
    program.use(consul.url)
    program.start("scheduler", "--http", "127.0.0.1:0")
    arguments = ("agent", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "bash")
    agent = program.start(*arguments)
    apply(program, bash_definition("web"))
    rows = program.healthy("web", 2)
    before = bash_tasks(program)
    victim, other = (row["id"] for row in rows)
    agent.kill()
    consul.stop()
    for pid in before[victim]:
        os.kill(pid, signal.SIGKILL)

    second = program.start(*arguments)
    wait_until(lambda: (now := bash_tasks(program).get(victim)) and not now & before[victim], what="the task again")
    assert min(bash_tasks(program)[other]) == min(before[other])
    assert "what ran here is kept alive" in second.output()

    shims = {task_id: min(pids) for task_id, pids in bash_tasks(program).items()}
    consul.launch()
    consul.wait_leader()
    wait_until(
        lambda: (
            {row["id"]: row["attempt"] for row in program.tasks() if row["health"] == "passing"}
            == {victim: 2, other: 1}
        ),
        timeout_s=60,
        what="the second attempt to be published",
        every_s=0.5,
    )
    assert {task_id: min(pids) for task_id, pids in bash_tasks(program).items()} == shims


@pytest.mark.docker
def test_a_killed_agent_leaves_its_containers_to_the_next_one(
    program: Program, start_consul: StartConsul, docker_engine: DockerEngine
) -> None:
    program.use(start_consul().url)
    program.start("scheduler", "--http", "127.0.0.1:0")
    agent = program.start("agent", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "docker")
    apply(program, docker_definition("web", docker_engine.image(), container_port=80))
    program.healthy("web", 2)
    before = {each["Id"] for each in docker_engine.containers()}
    agent.kill()
    second = program.start("agent", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "docker")
    wait_until(lambda: "listening on" in second.output())
    program.healthy("web", 2)
    assert {each["Id"] for each in docker_engine.containers()} == before
    # and a polite end leaves them as well
    assert second.stop() == 0
    assert {each["Id"] for each in docker_engine.containers() if each["State"] == "running"} == before


def test_another_scheduler_takes_over_when_one_is_killed(program: Program, start_consul: StartConsul) -> None:
    consul = start_consul()
    program.use(consul.url)
    schedulers = [program.start("scheduler", "--http", "127.0.0.1:0") for _ in range(2)]
    program.start("agent", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "bash")
    apply(program, bash_definition("web"), desired=1)
    program.healthy("web", 1)
    holder = next(each for each in schedulers if f":{each.pid}" in _holder(program))
    holder.kill()
    apply(program, bash_definition("web"), desired=3)
    program.healthy("web", 3)
    assert f":{holder.pid}" not in _holder(program)


def test_a_scheduler_that_is_stopped_gives_its_locks_up(program: Program, start_consul: StartConsul) -> None:
    consul = start_consul()
    program.use(consul.url)
    scheduler = program.start("scheduler", "--http", "127.0.0.1:0")
    apply(program, bash_definition("web"), desired=0)
    wait_until(lambda: f":{scheduler.pid}" in _holder(program), every_s=0.2)
    assert scheduler.stop() == 0
    lock = consul.call("GET", "kv/schedulers/c")[0]
    assert "Session" not in lock
    sessions = consul.call("GET", "session/list")
    assert not [each for each in sessions if "scheduler" in each["Name"]]


def _holder(program: Program) -> str:
    import json

    return str(json.loads(program.run("status", "--format", "json").stdout)["schedulers"].get("c") or "")


def test_two_agents_of_one_name_the_second_says_who_holds_it(
    program: Program, start_consul: StartConsul, tmp_path: Path
) -> None:
    program.use(start_consul().url)
    first = program.start("agent", "--host", "one", "--address", "127.0.0.1", "--http", "127.0.0.1:0")
    wait_until(lambda: "one" in program.run("hosts").stdout, every_s=0.2)
    done = program.run("agent", "--host", "one", "--address", "127.0.0.1", "--http", "127.0.0.1:0")
    assert done.returncode != 0
    assert "one" in done.stderr
    assert str(first.pid) in done.stderr
