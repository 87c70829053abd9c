"""A new version rolls out and back while clients call the service: no request fails."""

from pathlib import Path

import pytest

from tests.support.consul import ConsulAgent, StartConsul
from tests.support.docker import DockerEngine
from tests.support.git import GitRepository
from tests.support.load import Client
from tests.support.manifests import bash_definition, commit, docker_definition, manifest, service
from tests.support.program import Program

pytestmark = [pytest.mark.consul, pytest.mark.slow]


def start_all(program: Program, consul: ConsulAgent, repository: GitRepository) -> None:
    program.use(consul.url)
    program.start("sync", "--git", str(repository.path), "--poll", "0.5", "--http", "127.0.0.1:0")
    program.start("scheduler", "--http", "127.0.0.1:0")
    program.start("agent", "--address", "127.0.0.1", "--http", "127.0.0.1:0")


def test_processes_are_upgraded_and_rolled_back_without_a_failed_request(
    program: Program, start_consul: StartConsul, tmp_path: Path
) -> None:
    consul, repository = start_consul(), GitRepository(tmp_path / "repository")
    definitions = [bash_definition("web", 1), bash_definition("web", 2)]
    commit(repository, manifest(cluster="c", services=[service("web", 1, 3, min=2, max=4)], definitions=definitions))
    start_all(program, consul, repository)
    program.healthy("web", 3, version=1)
    with Client(consul, "c-web") as client:
        for version in (2, 1):
            commit(
                repository,
                manifest(cluster="c", services=[service("web", version, 3, min=2, max=4)], definitions=definitions),
            )
            program.healthy("web", 3, version=version)
    assert client.failures == []
    assert set(client.answers) == {"1", "2"}


@pytest.mark.docker
def test_containers_are_upgraded_and_rolled_back_without_a_failed_request(
    program: Program, start_consul: StartConsul, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    consul, repository = start_consul(), GitRepository(tmp_path / "repository")
    definitions = [
        docker_definition("web", docker_engine.image(str(version)), version, container_port=80) for version in (1, 2)
    ]
    commit(repository, manifest(cluster="c", services=[service("web", 1, 3)], definitions=definitions))
    start_all(program, consul, repository)
    program.healthy("web", 3, version=1)
    with Client(consul, "c-web") as client:
        for version in (2, 1):
            commit(repository, manifest(cluster="c", services=[service("web", version, 3)], definitions=definitions))
            program.healthy("web", 3, version=version, timeout_s=90)
    assert client.failures == []
    assert set(client.answers) == {"1", "2"}
