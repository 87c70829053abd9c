"""Starting: once per attempt, with its environment and port, or not at all and with the reason."""

import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.errors import ExecutorError
from reconciler.executors.interface import StartCancelled
from tests.executor_contract.conftest import Stage
from tests.executor_contract.kits import POLITE
from tests.support.endless_server import EndlessServer
from tests.support.wait import wait_until


def test_the_executor_says_that_it_can_start_things(stage: Stage) -> None:
    assert stage.executor.unavailable() is None


def test_what_was_started_is_seen_running_with_its_marks(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.shell(POLITE)))
    observed = stage.seen(spec)
    assert observed is not None
    assert observed.running
    assert (observed.owner, observed.ref, observed.digest, observed.attempt) == (
        stage.owner, spec.ref, spec.digest, 1,
    )  # fmt: skip
    assert observed.exit_code is None
    assert observed.started_at > 1_700_000_000


def test_starting_the_same_attempt_again_changes_nothing(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    stage.start(spec)
    stage.another_executor().start(spec)
    assert stage.executor.logs(spec.ref, 10).count(b"ready") == 1
    stage.executor.stop(spec.ref, spec.container, 10)
    assert stage.executor.logs(spec.ref, 10).count(b"bye") == 1


def test_a_new_attempt_takes_the_place_of_an_ended_one(stage: Stage) -> None:
    first = stage.start(stage.spec(stage.kit.shell("exit 3")))
    stage.ended(first)
    second = stage.start(stage.spec(stage.kit.shell(POLITE), attempt=2))
    observed = stage.seen(second)
    assert observed is not None
    assert (observed.running, observed.attempt) == (True, 2)


def test_a_new_attempt_takes_the_place_of_one_that_still_runs(stage: Stage) -> None:
    stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    second = stage.start(stage.spec(stage.kit.shell(POLITE), attempt=2))
    observed = stage.seen(second)
    assert observed is not None
    assert (observed.running, observed.attempt) == (True, 2)


def test_two_issues_of_one_task_are_two_things(stage: Stage) -> None:
    old = stage.start(stage.spec(stage.kit.shell(POLITE), issue=1))
    new = stage.start(stage.spec(stage.kit.shell(POLITE), issue=2))
    stage.executor.stop(old.ref, old.container, 10)
    observed = stage.seen(new)
    assert observed is not None
    assert observed.running
    assert not stage.ended(old).running


def test_it_serves_on_the_tasks_port(stage: Stage) -> None:
    spec = stage.start(stage.spec(stage.kit.http()))

    def answer() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{spec.port}/", timeout=5) as response:
                return int(response.status)
        except OSError:
            return 0

    assert wait_until(answer, what="an answer") == 200


def test_it_gets_its_environment_and_nothing_of_the_agents(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "of-the-agent")
    spec = stage.start(
        stage.spec(stage.kit.shell("env; echo end"), environment={"GREETING": "good day, a=b 'c'", "EMPTY": ""})
    )
    stage.ended(spec)
    output = stage.executor.logs(spec.ref, 100).decode()
    assert "GREETING=good day, a=b 'c'\n" in output
    assert "EMPTY=\n" in output
    assert "PATH=" in output
    assert "of-the-agent" not in output


def test_setup_runs_before_the_start_with_the_tasks_environment(stage: Stage, tmp_path: Path) -> None:
    note = tmp_path / "note"
    spec = stage.spec(
        stage.kit.shell(POLITE, setup=("value=$GREETING", f'echo "$value" >"{note}"')),
        environment={"GREETING": "hello"},
    )
    stage.start(spec)
    assert note.read_text(encoding="utf-8") == "hello\n"


def test_a_failing_setup_is_an_error_with_its_output_and_nothing_runs(stage: Stage) -> None:
    spec = stage.spec(stage.kit.shell(POLITE, setup=("echo the disk is missing >&2", "false", "echo never")))
    with pytest.raises(ExecutorError) as caught:
        stage.start(spec)
    assert "exit code 1" in caught.value.message
    assert "the disk is missing" in str(caught.value)
    assert "never" not in str(caught.value)
    observed = stage.seen(spec)
    assert observed is None or not observed.running


def test_a_start_that_is_cancelled_ends_its_setup_and_nothing_runs(stage: Stage, tmp_path: Path) -> None:
    note = tmp_path / "note"
    spec = stage.spec(stage.kit.shell(POLITE, setup=(f"touch '{note}'", "sleep 30")))
    with pytest.raises(StartCancelled):
        stage.executor.start(spec, note.exists)
    observed = stage.seen(spec)
    assert observed is None or not observed.running


def test_what_is_fetched_for_a_start_that_is_cancelled_is_broken_off(
    stage: Stage, endless_server: EndlessServer
) -> None:
    spec = stage.spec(stage.kit.fetched(endless_server.hostport))
    with pytest.raises(StartCancelled):
        stage.executor.prepare(spec, endless_server.asked.is_set)
    wait_until(lambda: endless_server.open == 0, what="nothing is fetched any more")
    with pytest.raises(StartCancelled):
        stage.executor.start(spec, lambda: True)
    observed = stage.seen(spec)
    assert observed is None or not observed.running


def test_what_can_never_start_is_a_permanent_error_and_nothing_runs(stage: Stage) -> None:
    spec = stage.spec(stage.kit.impossible())
    with pytest.raises(ExecutorError) as caught:
        stage.start(spec)
    assert caught.value.permanent
    observed = stage.seen(spec)
    assert observed is None or not observed.running


def test_a_start_after_a_failed_one_succeeds(stage: Stage) -> None:
    with pytest.raises(ExecutorError):
        stage.start(stage.spec(stage.kit.impossible()))
    spec = stage.start(stage.spec(stage.kit.shell(POLITE)))
    observed = stage.seen(spec)
    assert observed is not None
    assert observed.running


def test_preparing_what_is_here_does_nothing(stage: Stage) -> None:
    spec = stage.spec(stage.kit.shell(POLITE))
    stage.executor.prepare(spec)
    assert stage.seen(spec) is None


def test_different_tasks_start_in_parallel(stage: Stage) -> None:
    specs = [stage.spec(stage.kit.shell(POLITE), task=f"default-web-1-{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(stage.start, specs))
    observed = [each for each in stage.executor.observe() if each.owner == stage.owner]
    assert {each.ref for each in observed if each.running} == {spec.ref for spec in specs}
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda spec: stage.executor.stop(spec.ref, spec.container, 10), specs))
    assert all(not stage.ended(spec).running for spec in specs)
