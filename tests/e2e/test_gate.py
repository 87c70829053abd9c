"""``sync --gate``: a commit whose check fails is taken back by itself; with real git, scheduler, agent and tasks."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.git import GitRepository
from tests.support.program import Daemon, Program
from tests.support.sync import definition, service
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(180)


def manifest(version: int, script: str) -> str:
    check = {"script": script, "interval": "1s"}
    return json.dumps(
        {
            "clusters": [{"name": "main", "services": ["web"]}],
            "services": [service("web", version, 1)],
            "task_definitions": [definition("web", version, checks=[check])],
        }
    )


def source_row(program: Program) -> dict[str, Any]:
    (row,) = json.loads(program.run("status", "--format", "json").stdout)["sources"]
    return dict(row)


def gated(repository: GitRepository) -> tuple[str, ...]:
    return ("sync", "--git", repository.url, "--name", "fleet", "--gate")


def start_sync(program: Program, repository: GitRepository, timeout_s: int) -> Daemon:
    options = ("--poll", "0.5", "--http", "127.0.0.1:0", "--gate-timeout", str(timeout_s))
    return program.start(*gated(repository), *options)


def test_rule_13_a_commit_whose_check_fails_is_rolled_back_and_quarantined_and_the_next_one_resumes(
    program: Program, repository: GitRepository, tmp_path: Path
) -> None:
    program.use(f"sqlite://{tmp_path}/store.db")
    program.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    good = repository.commit({"web.json": manifest(1, "true")}, "Serve")
    program.start("scheduler", "--http", "127.0.0.1:0")
    program.start("agent", "--http", "127.0.0.1:0", "--executor", "bash")
    program.ok(*gated(repository), "--once", timeout_s=90)
    (serving,) = program.healthy("web", 1, version=1)

    bad = repository.commit({"web.json": manifest(2, "echo database is away; exit 2")}, "Break it")
    sync = start_sync(program, repository, 6)
    wait_until(lambda: f"revision {bad[:12]} has 6 s" in sync.output(), timeout_s=60, what="the trial to begin")
    sync.kill()
    sync = start_sync(program, repository, 600)  # that is for trials to come; this one goes on as it was begun
    row = wait_until(
        lambda: row if (row := source_row(program))["revision"] == good and row["quarantine"] else None,
        timeout_s=90,
        what="the bad commit to be taken back",
    )
    assert (row["seen"], row["ok"], row["quarantine"]["skips"]) == (bad, False, [bad])
    assert "database is away" in row["quarantine"]["reason"]
    (still,) = program.healthy("web", 1, version=1)
    assert {key: still[key] for key in ("id", "since", "attempt")} == {
        key: serving[key] for key in ("id", "since", "attempt")
    }, "the good task served all the time"
    shown = program.run("status")
    assert shown.returncode == 1
    assert "quarantined" in shown.stdout
    assert "database is away" in shown.stdout

    repository.commit({"web.json": manifest(3, "true")}, "Repair it")
    program.healthy("web", 1, version=3)
    wait_until(lambda: source_row(program)["trial"] is None, timeout_s=60, what="the repair to be good")
    assert source_row(program)["ok"]
    past = json.loads(program.ok("history", "fleet", "--format", "json"))
    assert [(each["subject"], each["result"]) for each in past] == [
        ("Repair it", "applied"),
        ("Serve", "rolled back"),
        ("Break it", "quarantined"),
        ("Break it", "applied"),
        ("Serve", "applied"),
    ]
