"""The specification's quickstart, word for word but for the program's name and Consul's port."""

import pytest

from tests.support.consul import StartConsul
from tests.support.docker import DockerEngine
from tests.support.manifests import bash_definition, manifest, service, write
from tests.support.program import ROOT, Program

pytestmark = pytest.mark.consul


@pytest.mark.docker
@pytest.mark.xdist_group("example-image")  # one process at a time may give the example's image a meaning
def test_the_quickstart_runs_the_example_in_docker(
    program: Program, start_consul: StartConsul, docker_engine: DockerEngine
) -> None:
    consul = start_consul()
    program.environ["CONSUL_HTTP_ADDR"] = consul.hostport
    docker_engine.import_for(ROOT / "examples/hello-world.yml")
    program.start("combined", "--http", "127.0.0.1:0", "--address", "127.0.0.1")
    said = program.ok("apply", "-f", str(ROOT / "examples/hello-world.yml"))
    assert "default" in said
    rows = program.healthy("helloworld", 4, timeout_s=90)
    assert {row["host"] for row in rows} == {program.host}
    assert all(row.keys() >= ROW for row in rows)
    found = consul.call("GET", "health/service/default-helloworld?passing")
    assert {entry["Service"]["ID"] for entry in found} == {row["id"] for row in rows}
    assert {entry["Service"]["Port"] for entry in found} == {row["port"] for row in rows}
    assert found[0]["Service"]["Tags"] == ["urlprefix-/helloworld"]
    running = {each["Labels"]["reconciler.task"] for each in docker_engine.containers() if each["State"] == "running"}
    assert running == {row["id"] for row in rows}
    assert program.run("status").returncode == 0
    # applying the same again changes nothing
    assert "unchanged" in program.ok("apply", "-f", str(ROOT / "examples/hello-world.yml"))


def test_the_quickstart_runs_plain_processes_as_well(program: Program, start_consul: StartConsul) -> None:
    consul = start_consul()
    program.environ["CONSUL_HTTP_ADDR"] = consul.hostport
    program.start("combined", "--http", "127.0.0.1:0", "--address", "127.0.0.1", "--executor", "bash")
    program.ok("apply", "-f", str(ROOT / "examples/hello-world-bash"))
    program.healthy("hello", 3)
    program.healthy("time", 2)
    assert len(consul.call("GET", "health/service/local-hello?passing")) == 3


def test_what_apply_refuses_changes_nothing(program: Program, start_consul: StartConsul) -> None:
    consul = start_consul()
    program.use(consul.url)
    good = manifest(cluster="c", services=[service("web")], definitions=[bash_definition("web")])
    broken = {**good, "services": [service("web", version=7)]}
    path = write(program.folder / "web.json", broken)
    done = program.run("apply", "-f", str(path))
    assert done.returncode == 1
    assert "web.json:" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not [key for key in consul.call("GET", "kv/?keys") if "services" in key]

    write(path, good)
    program.ok("apply", "-f", str(path))
    # a definition's version never changes once it is used
    write(path, {**good, "task_definitions": [bash_definition("web", memory=64)]})
    done = program.run("apply", "-f", str(path))
    assert done.returncode == 1
    assert "version" in done.stderr + done.stdout


ROW = {
    "id",
    "cluster",
    "service",
    "task_name",
    "task_version",
    "instance",
    "host",
    "port",
    "phase",
    "health",
    "reason",
    "since",
}
