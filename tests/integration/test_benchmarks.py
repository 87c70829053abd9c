"""The benchmarks still run. They are not measured here: nothing in the tests asserts on speed."""

import pytest

from benchmarks import agent, containers, fleet, plan, sync, validate
from tests.support.consul import consul_binary
from tests.support.docker import DockerEngine


def test_the_planners_benchmark_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(plan, "SIZES", ((3, 2, 3),))
    plan.main()
    assert "place everything" in capsys.readouterr().out


def test_the_benchmark_of_validate_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(validate, "FILES", 3)
    monkeypatch.setattr(validate, "OBJECTS", 6)
    # the peer is installed for `make bench` only
    monkeypatch.setattr(validate, "install_peer", lambda: None)
    monkeypatch.setattr(validate, "run_peer", validate.bundled)
    validate.main()
    shown = capsys.readouterr().out
    assert "again, unchanged" in shown
    assert "check-jsonschema takes" in shown


@pytest.mark.consul
def test_the_benchmark_of_sync_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    consul_binary()
    for name, small in {"CLUSTERS": 2, "SERVICES": 4, "CHANGES": (1, 3), "POLLS": 3, "RUNS": 1}.items():
        monkeypatch.setattr(sync, name, small)
    sync.main()
    shown = capsys.readouterr().out
    assert "1 files parsed, 9 reads, 2 transactions" in shown
    assert "0 files parsed, 7 reads, 0 transactions" in shown


@pytest.mark.consul
@pytest.mark.slow
def test_the_benchmark_of_a_fleet_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    consul_binary()
    monkeypatch.setattr(fleet, "REST_S", 0.1)
    fleet.main(["--hosts", "2", "--tasks", "20"])
    shown = capsys.readouterr().out
    assert "first convergence of 20 tasks" in shown
    assert "rolling update of 2 tasks" in shown
    assert "times as long" in shown


@pytest.mark.consul
def test_the_benchmark_of_an_agent_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    consul_binary()
    monkeypatch.setattr(agent, "SETTLE_S", 0.1)
    agent.main(["--tasks", "2", "--containers", "--rest", "0.2"])
    (row,) = (line for line in capsys.readouterr().out.splitlines() if " bash " in line)
    assert row.split()[0] == "2"


@pytest.mark.consul
@pytest.mark.docker
@pytest.mark.slow
def test_the_benchmark_of_containers_runs(
    docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    consul_binary()
    assert docker_engine.client.ping()
    # swarm mode is the whole engine's, which other tests use as well
    monkeypatch.setattr(containers.shutil, "which", lambda _: None)
    containers.main(["--sizes", "2", "--runs", "1"])
    shown = capsys.readouterr().out
    assert "create 2 " in shown
    assert "heal one of 2 " in shown
    assert "update 2 by 5, health check" in shown
