"""Where the script of a check runs: in a container, beside the task, or just on the host."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from reconciler.agent.scripts import script_runner
from reconciler.errors import ExecutorError
from reconciler.executors.interface import Ref, ScriptResult
from reconciler.model.manifests import BashContainer, BashExecutor, Check, Container, DockerContainer, DockerExecutor
from reconciler.model.task import Health
from tests.support.registrations import registration

DOCKER = DockerContainer(name="app", executor=DockerExecutor(image="i", env=("WHO=app",)))
BASH = BashContainer(name="side", executor=BashExecutor(start=("true",), env=("WHO=side",)))


class Recording:
    """The one method of an executor that scripts need."""

    def __init__(self, name: str, result: ScriptResult | ExecutorError) -> None:
        self.name = name
        self.result = result
        self.asked: list[tuple[Ref, str, Mapping[str, str], float]] = []

    def run_script(self, ref: Ref, script: str, environment: Mapping[str, str], timeout_s: float) -> ScriptResult:
        self.asked.append((ref, script, environment, timeout_s))
        if isinstance(self.result, ExecutorError):
            raise self.result
        return self.result


def run(check: Check, containers: Sequence[Container], executors: dict[str, Any], timeout_s: float = 5.0) -> Any:
    one = registration(check, containers=tuple(containers), port=20001)
    return script_runner(executors)(one, 0, timeout_s)


def test_a_script_for_a_container_runs_in_it_with_its_environment() -> None:
    docker, bash = Recording("docker", ScriptResult(0, "fine")), Recording("bash", ScriptResult(2, ""))
    check = Check(script="test me", container="app")
    reading = run(check, [BASH, DOCKER], {"docker": docker, "bash": bash})
    assert (reading.health, reading.output) == (Health.PASSING, "fine")
    ((ref, script, environment, timeout_s),) = docker.asked
    assert (ref, script, timeout_s) == (Ref("c-web-1-1", 7, "app"), "test me", 5.0)
    assert (environment["WHO"], environment["RECONCILER_PORT"]) == ("app", "20001")
    assert not bash.asked


def test_a_script_without_container_runs_beside_the_tasks_processes() -> None:
    bash = Recording("bash", ScriptResult(1, "so so"))
    reading = run(Check(script="test me"), [DOCKER, BASH], {"bash": bash})
    assert reading.health is Health.WARNING
    assert bash.asked[0][0] == Ref("c-web-1-1", 7, "side")


@pytest.mark.parametrize(
    ("script", "health", "output"),
    [
        ('echo "$RECONCILER_TASK_ID on $SCHEDULED_PORT"', Health.PASSING, "c-web-1-1 on 20001"),
        ("echo slow; exit 1", Health.WARNING, "slow"),
        ("exit 7", Health.CRITICAL, "exit code 7"),
        ('test -z "$SECRET_OF_THE_AGENT" || echo leaked', Health.PASSING, "exit code 0"),
    ],
)
def test_a_script_for_a_task_of_containers_only_runs_on_the_host(
    script: str, health: Health, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_AGENT", "token")
    reading = run(Check(script=script), [DOCKER], {})
    assert (reading.health, reading.output) == (health, output)


def test_a_script_that_hangs_is_cut_at_its_timeout() -> None:
    reading = run(Check(script="echo begun; sleep 100"), [DOCKER], {}, timeout_s=0.3)
    assert (reading.health, reading.output) == (Health.CRITICAL, "the script took longer than 0.3 s. begun")


@pytest.mark.parametrize(
    ("check", "executors"),
    [
        (Check(script="x", container="nowhere"), {}),
        (Check(script="x", container="app"), {}),
        (Check(script="x", container="app"), {"docker": Recording("docker", ExecutorError("it does not run"))}),
    ],
)
def test_a_script_that_can_not_run_is_critical_and_says_why(check: Check, executors: dict[str, Any]) -> None:
    reading = run(check, [DOCKER], executors)
    assert reading.health is Health.CRITICAL
    assert reading.output
