"""``apply --wait``: ends when the tasks are healthy, and fails when they can't be; with real tasks."""

import json
from typing import Any

import pytest

from tests.support.program import Program
from tests.support.sync import definition, service

pytestmark = pytest.mark.timeout(180)


def write(program: Program, version: int, **more: Any) -> None:
    content: dict[str, Any] = {
        "clusters": [{"name": "main", "services": ["web"]}],
        "services": [service("web", version, 1)],
        "task_definitions": [definition("web", version, **more)],
    }
    (program.folder / "web.json").write_text(json.dumps(content))


def test_wait_ends_with_0_when_healthy_and_with_1_and_the_reason_when_not(program: Program) -> None:
    """Nomad, kubectl, Terraform: exit codes that lied."""
    program.use(f"sqlite://{program.folder}/store.db")
    write(program, 1)
    program.ok("apply", "-f", "web.json")
    program.start("scheduler", "--http", "127.0.0.1:0")
    program.start("agent", "--http", "127.0.0.1:0", "--executor", "bash")
    done = program.run("apply", "-f", "web.json", "--wait", "--timeout", "60", timeout_s=90)
    assert done.returncode == 0, done.stderr
    assert "main/web: 1 of 1 healthy" in done.stderr
    assert program.healthy("web", 1, version=1)
    write(program, 2, memory=900_000)
    failed = program.run("apply", "-f", "web.json", "--wait", "--timeout", "8", timeout_s=90)
    assert failed.returncode == 1, failed.stderr
    assert "main/web: 0 of 1 healthy" in failed.stderr
    assert "memory" in failed.stderr
    assert "Traceback" not in failed.stderr
