"""What operators do by hand on top of the manifests, with the real program and real processes."""

import json
from typing import Any

import pytest

from tests.support.program import Program
from tests.support.wait import wait_until


def manifests(*, version: int) -> str:
    """A web with a canary and a batch, in JSON (which YAML takes)."""

    def task(name: str, number: int, start: str) -> dict[str, Any]:
        container = {"name": name, "type": "bash", "executor": {"start": [start]}}
        return {"name": name, "version": number, "containers": [container]}

    web = {
        "name": "web",
        "task_name": "web",
        "task_version": version,
        "desired": 2,
        "max": 4,
        "rollout": {"canary": 1, "on_failure": "revert", "healthy_after": "1ms"},
    }
    report = {"name": "report", "kind": "batch", "task_name": "report", "task_version": 1, "desired": 2}
    return json.dumps(
        {
            "clusters": [{"name": "main", "services": ["web", "report"]}],
            "services": [web, report],
            "task_definitions": [
                task("web", 1, "exec sleep 1000"),
                task("web", 2, "exec sleep 2000"),
                task("report", 1, 'test -n "$RECONCILER_TASK_ID"'),
            ],
        }
    )


@pytest.mark.slow
def test_an_operator_scales_stops_promotes_and_aborts_and_git_stays_as_it_is(program: Program) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    (program.folder / "fleet.yml").write_text(manifests(version=1))
    program.start("scheduler", "--http", "off")
    program.start("agent", "--host", "h1", "--executor", "bash", "--http", "off")
    program.ok("apply", "-f", "fleet.yml", "--wait")
    (report,) = [row for row in status(program)["services"] if row["service"] == "report"]
    assert (report["done"], report["issued"], report["ok"]) == (2, 0, True)

    told = program.ok("scale", "web", "3", "--wait", "--reason", "load test", "--by", "anna")
    assert "its manifest has desired: 2" in told
    assert "+    desired: 3" in told
    program.healthy("web", 3)
    refused = program.run("scale", "web", "9")
    assert refused.returncode == 1
    assert "Raise max to 9" in refused.stderr
    (shown,) = status(program)["overrides"]
    assert (shown["by"], shown["value"], shown["declared"]) == ("anna", 3, 2)
    assert "desired 3 instead of 2" in program.ok("plan", "fleet.yml")
    program.ok("scale", "web", "--clear", "--wait")

    (program.folder / "fleet.yml").write_text(manifests(version=2))
    assert program.run("apply", "-f", "fleet.yml", "--wait", "--timeout", "3").returncode == 1, "it waits for a word"
    assert sorted(row["task_version"] for row in program.healthy("web", 2)) == [1, 2]
    program.ok("abort", "web", "--wait")
    program.healthy("web", 2, version=1)
    program.ok("promote", "web", "--wait")
    program.healthy("web", 2, version=2)

    program.ok("stop", "web", "--wait")
    assert program.run("status").returncode == 1, "what is stopped by hand is not called well"


def status(program: Program) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(program.run("status", "--format", "json").stdout)
    return answer


@pytest.mark.slow
def test_a_host_that_is_added_takes_over_its_share_when_an_operator_asks(program: Program) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    container = {"name": "web", "type": "bash", "executor": {"start": ["exec sleep 1000"]}}
    service = {"name": "web", "task_name": "web", "task_version": 1, "desired": 4, "rollout": {"healthy_after": "1ms"}}
    fleet = {
        "clusters": [{"name": "main", "services": ["web"]}],
        "services": [service],
        "task_definitions": [{"name": "web", "version": 1, "containers": [container]}],
    }
    (program.folder / "fleet.yml").write_text(json.dumps(fleet))
    program.start("scheduler", "--http", "off")
    program.start("agent", "--host", "h1", "--executor", "bash", "--http", "off")
    program.ok("apply", "-f", "fleet.yml", "--wait")
    assert "no task would be better elsewhere" in program.ok("rebalance")

    program.start("agent", "--host", "h2", "--executor", "bash", "--http", "off")
    wait_until(lambda: '"h2"' in program.ok("hosts", "--format", "json"))
    before = program.healthy("web", 4)
    shown = json.loads(program.ok("rebalance", "web", "--dry-run", "--format", "json"))
    assert [(move["host"], move["to"], move["reason"]) for move in shown["moves"]] == [
        ("h1", "h2", "4 of web on h1, 0 on h2"),
        ("h1", "h2", "3 of web on h1, 1 on h2"),
    ]
    assert program.healthy("web", 4) == before, "a dry run moves nothing"
    program.ok("rebalance", "web", "--wait", "--by", "anna")
    after = program.healthy("web", 4)
    assert sorted(row["host"] for row in after) == ["h1", "h1", "h2", "h2"]
    assert len({row["id"] for row in before} & {row["id"] for row in after}) == 2, "the others stayed"
    assert "no task would be better elsewhere" in program.ok("rebalance")
    refused = program.run("rebalance", "wbe")
    assert refused.returncode == 2
    assert "there is no service wbe" in refused.stderr
