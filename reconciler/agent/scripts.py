"""Runs the script checks of tasks, for the health provider: inside a container, or on the host beside the task."""

from collections.abc import Mapping
from pathlib import Path

from reconciler.agent.environment import environment
from reconciler.errors import ExecutorError
from reconciler.executors import commands
from reconciler.executors.interface import Executor, Ref, ScriptResult
from reconciler.health import judge
from reconciler.health.interface import Reading, Registration, ScriptRunner
from reconciler.model.manifests import BashContainer, Container
from reconciler.model.task import Health


def script_runner(executors: Mapping[str, Executor]) -> ScriptRunner:
    """What ``wiring`` gives to a health provider."""

    def run(registration: Registration, position: int, timeout_s: float) -> Reading:
        try:
            result = _run(executors, registration, position, timeout_s)
        except ExecutorError as error:
            return Reading(Health.CRITICAL, error.message)
        return judge.script_reading(result.exit_code, result.output, timeout_s)

    return run


def _run(
    executors: Mapping[str, Executor], registration: Registration, position: int, timeout_s: float
) -> ScriptResult:
    task, definition = registration.task, registration.definition
    check = definition.checks[position]
    container = _container(registration, check.container)
    if container is None:
        variables = environment(task, definition, definition.containers[0], registration.address)
        argv = ["bash", "-c", check.script or ""]
        environ = {**commands.base_environment(), **variables}
        ended = commands.run(argv, environment=environ, timeout_s=timeout_s, cwd=Path("/"))
        return ScriptResult(ended.exit_code, ended.text)
    executor = executors.get(container.type)
    if executor is None:
        raise ExecutorError(f"this host has no executor {container.type} to run the script in")
    variables = environment(task, definition, container, registration.address)
    ref = Ref(task.id, task.issue, container.name)
    return executor.run_script(ref, check.script or "", variables, timeout_s)


def _container(registration: Registration, name: str | None) -> Container | None:
    """Where a script runs: in the container that it names, beside the task's processes, or (None) just on the host."""
    containers = registration.definition.containers
    if name is not None:
        for each in containers:
            if each.name == name:
                return each
        raise ExecutorError(f"the task has no container {name} to run the script in")
    return next((each for each in containers if isinstance(each, BashContainer)), None)
