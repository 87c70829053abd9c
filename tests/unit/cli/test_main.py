"""The command line as a whole: help that teaches, errors without tracebacks, exit codes that don't lie."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from reconciler.cli.main import COMMANDS, LazyGroup, reconciler
from tests.support.program import Program


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    done = CliRunner().invoke(reconciler, [command, "--help"])
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) > 5


def test_the_help_names_every_command() -> None:
    done = CliRunner().invoke(reconciler, ["--help"])
    assert isinstance(reconciler, LazyGroup)
    assert all(re.search(rf"^  {command} ", done.output, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nonsense"], 2, "No such command"),
        (["tasks", "--store", "ftp://x"], 2, "is no store"),
        (["tasks", "--store", "consul://127.0.0.1:1"], 2, "127.0.0.1:1"),
        (["tasks", "--store", "consul://token@127.0.0.1:1"], 2, "CONSUL_HTTP_TOKEN"),
        (["sync"], 2, "--git URL or --watch DIR"),
        (["sync", "--git", "ext::sh -c true"], 2, "ext"),
        (["apply"], 2, "--file"),
        (["apply", "-f", "nowhere.yml", "--store", "memory:"], 2, "nowhere.yml"),
        (["agent", "--http", "nonsense", "--store", "memory:"], 2, "HOST:PORT"),
        (["agent", "--port-range", "9-1", "--store", "memory:"], 2, "FIRST-LAST"),
        (["agent", "--host", "a/b", "--store", "memory:"], 2, "no name for a host"),
        (["dev", "nowhere"], 2, "nowhere"),
    ],
)
def test_a_users_mistake_is_said_without_a_traceback(
    program: Program, arguments: list[str], code: int, said: str
) -> None:
    done = program.run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_store_is_answered_in_words_and_in_json(program: Program) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    assert program.ok("tasks") == "no tasks\n"
    assert json.loads(program.ok("tasks", "--format", "json")) == []
    assert "reconciler agent" in program.ok("hosts")
    assert json.loads(program.ok("hosts", "--format", "json")) == []


ONLY_DAEMONS_NEED: Final = ("docker", "prometheus_client", "reconciler.runtime.runner", "reconciler.runtime.http")
NOBODY_NEEDS: Final = ("requests", "urllib3")
"""To ask Consul, though python-consul would import them."""


@pytest.mark.parametrize("arguments", [["apply", "-f", "hosts.yml"], ["tasks"]])
def test_a_command_starts_without_what_only_daemons_need(tmp_path: Path, arguments: list[str]) -> None:
    """People wait for it each time."""
    (tmp_path / "hosts.yml").write_text("hosts:\n  - name: h1\n")
    script = f"""
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
sys.argv = ["reconciler", *{[*arguments, "--store", f"sqlite://{tmp_path}/store.db"]!r}]
from reconciler.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not set(ONLY_DAEMONS_NEED) & set(done.stderr.split())


def test_what_asks_consul_starts_without_an_http_library_that_it_does_not_use() -> None:
    script = "import sys, reconciler.store.consul; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert not set(NOBODY_NEEDS) & set(loaded.stdout.split())


def test_output_that_nobody_reads_to_the_end_is_no_error(program: Program) -> None:
    done = subprocess.run(
        f"{sys.executable} -m reconciler --help | head -1", shell=True, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr
