"""A service that can only stop first: an image that can't be had costs nothing, and its reason is said."""

from typing import Any

import pytest
import urllib3

from tests.support.agent import free_port
from tests.support.consul import StartConsul
from tests.support.docker import DockerEngine
from tests.support.manifests import docker_definition, manifest, service, write
from tests.support.program import Program
from tests.support.registry import Registry
from tests.support.wait import wait_until


@pytest.mark.docker
@pytest.mark.consul
@pytest.mark.slow
def test_the_old_container_serves_until_the_image_of_the_next_one_is_here(
    program: Program, start_consul: StartConsul, docker_engine: DockerEngine, registry: Registry
) -> None:
    port = free_port()
    program.use(start_consul().url)
    program.start("combined", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "docker")

    def apply(version: int, image: str) -> None:
        # one host, one port: nothing can start beside what runs
        fields: dict[str, Any] = {"container_port": 80, "provide_port": False, "port": port}
        definition = docker_definition("web", image, version, **fields)
        web = service("web", version, desired=1, min=0)
        content = manifest(cluster="main", services=[web], definitions=[definition])
        program.ok("apply", "-f", str(write(program.folder / "web.yml", content)))

    def served() -> bytes:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/", timeout=5, retries=False).data.strip()

    apply(1, docker_engine.image("1"))
    program.healthy("web", 1, version=1)
    (before,) = docker_engine.containers()
    assert served() == b"1"

    apply(2, f"{registry.host}/web:2")
    told = wait_until(
        lambda: (text := program.run("status").stdout) and "can't fetch what web version 2 needs" in text and text,
        timeout_s=60,
        what="the reason to be told",
        every_s=0.3,
    )
    assert "there is no such image" in told
    assert "can't fetch what web version 2 needs" in program.run("explain", "web").stdout
    (after,) = docker_engine.containers()
    assert (after["Id"], after["State"]) == (before["Id"], "running")
    assert served() == b"1"

    apply(3, docker_engine.image("3"))
    program.healthy("web", 1, version=3)
    assert served() == b"3"
    assert ".prepare" not in program.ok("snapshot"), "nothing is left of it"
