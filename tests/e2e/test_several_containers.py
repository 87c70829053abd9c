"""A task of several containers on a real engine, from its first container to its last."""

from typing import Any

import pytest

from tests.support.consul import StartConsul
from tests.support.docker import DockerEngine
from tests.support.manifests import docker_definition, manifest, service, write
from tests.support.program import Program
from tests.support.wait import wait_until

pytestmark = [pytest.mark.consul, pytest.mark.docker, pytest.mark.slow]

NAMES = ["server", "second", "third"]
# what a killed agent was about to remove is kept for people to read, which would count here
AGENT = ("agent", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "docker", "--keep-ended", "0s")


def running(engine: DockerEngine) -> dict[str, dict[str, Any]]:
    """The containers that run, by their names in the definition, in the order in which they were started."""
    found = [engine.client.inspect_container(each["Id"]) for each in engine.containers() if each["State"] == "running"]
    found.sort(key=lambda each: each["State"]["StartedAt"])
    named = {each["Config"]["Labels"]["reconciler.container"]: each for each in found}
    assert len(named) == len(found), "each of them once"
    return named


def test_containers_of_one_task_come_and_go_together_whatever_happens_to_the_agent(
    program: Program, start_consul: StartConsul, docker_engine: DockerEngine
) -> None:
    gate = program.folder / "gate"
    definition = docker_definition("web", docker_engine.image(), container_port=80)
    server = definition["containers"][0]
    others = [
        {"name": name, "type": "docker", "executor": {"image": server["executor"]["image"]}} for name in NAMES[1:]
    ]
    others[0]["setup"] = [f'while [ ! -e "{gate}" ]; do sleep 0.1; done']
    definition["containers"] = [server, *others]

    def apply(desired: int) -> None:
        content = manifest(cluster="c", services=[service("web", desired=desired)], definitions=[definition])
        program.ok("apply", "-f", str(write(program.folder / "web.json", content)))

    program.use(start_consul().url)
    program.start("scheduler", "--http", "127.0.0.1:0")
    agent = program.start(*AGENT)
    apply(desired=1)
    wait_until(lambda: list(running(docker_engine)) == ["server"], what="the first one runs", timeout_s=60)
    # published a moment later; while the gate is shut it comes no further
    wait_until(lambda: program.tasks()[0]["phase"] not in ("pending", "preparing"), what="the agent to say so")
    assert [row["phase"] for row in program.tasks()] == ["starting"], "it is not up before all of it is"

    agent.kill()
    agent = program.start(*AGENT)
    gate.touch()
    program.healthy("web", 1)
    first = running(docker_engine)
    assert list(first) == NAMES, "in their order"

    docker_engine.client.kill(first["third"]["Id"])
    agent.kill()
    agent = program.start(*AGENT)

    def all_anew() -> bool:
        now = running(docker_engine)
        return list(now) == NAMES and not {each["Id"] for each in now.values()} & {
            each["Id"] for each in first.values()
        }

    wait_until(all_anew, what="all of them are new", timeout_s=60)
    program.healthy("web", 1)
    assert len(docker_engine.containers()) == len(NAMES), "nothing is left of those before"

    apply(desired=0)
    wait_until(lambda: len(running(docker_engine)) < len(NAMES), what="its end has begun", timeout_s=60, every_s=0.01)
    agent.kill()
    program.start(*AGENT)
    wait_until(lambda: not docker_engine.containers(), what="nothing is left", timeout_s=60)
