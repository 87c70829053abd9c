"""Commands of operators: bounded in time and output, and with no environment but their own."""

import os
from pathlib import Path

import pytest

from reconciler.errors import ExecutorError
from reconciler.executors.commands import base_environment, run, run_script
from reconciler.executors.processes import look
from tests.support.wait import wait_until


def shell(script: str, timeout_s: float = 20.0) -> object:
    return run(["sh", "-c", script], environment=base_environment(), timeout_s=timeout_s)


def test_the_environment_begins_from_a_few_harmless_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "secret")
    monkeypatch.setenv("TZ", "Europe/Vienna")
    assert base_environment()["TZ"] == "Europe/Vienna"
    assert set(base_environment()) <= {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"}
    monkeypatch.delenv("PATH")
    assert "/usr/bin" in base_environment()["PATH"]


def test_exit_code_and_output_of_both_streams_in_order() -> None:
    ended = run(["sh", "-c", "echo one; echo two >&2; exit 3"], environment=base_environment(), timeout_s=20)
    assert (ended.exit_code, ended.output) == (3, b"one\ntwo\n")
    assert ended.text == "one\ntwo"


def test_only_the_end_of_much_output_is_kept() -> None:
    ended = run(["sh", "-c", "seq 1 100000"], environment=base_environment(), timeout_s=30, output_bytes=100)
    assert ended.exit_code == 0
    assert len(ended.output) == 100
    assert ended.output.endswith(b"99999\n100000\n")
    assert ended.text.startswith("[...]\n99985\n"), "no part of a line"


def test_at_the_deadline_it_is_killed_with_its_children() -> None:
    ended = run(["sh", "-c", "sleep 600 & echo $!; wait"], environment=base_environment(), timeout_s=0.5)
    assert ended.exit_code is None
    child = int(ended.output)
    wait_until(lambda: look(child) is None, what="the child is gone")


def test_a_flood_does_not_outlast_the_deadline() -> None:
    assert run(["yes"], environment=base_environment(), timeout_s=0.5).exit_code is None


def test_a_child_in_the_background_delays_nothing() -> None:
    ended = run(["sh", "-c", "sleep 600 & echo $!"], environment=base_environment(), timeout_s=30)
    assert ended.exit_code == 0
    os.kill(int(ended.output), 9)


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(ExecutorError, match="cannot run /no/such/program"):
        run(["/no/such/program"], environment={}, timeout_s=1)


def test_a_long_script_runs_from_a_file(tmp_path: Path) -> None:
    script = f"# {'x' * 300_000}\nfalse\necho never\n"
    ended = run_script(script, environment=base_environment(), timeout_s=20, cwd=tmp_path, file=tmp_path / "script")
    assert (ended.exit_code, ended.output) == (1, b"")
    assert run_script("pwd", environment=base_environment(), timeout_s=20, cwd=tmp_path).text == str(tmp_path)
