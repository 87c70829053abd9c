"""End-to-end tests run the program as users do; nothing in them calls our code.

Agents leave their tasks running when they end, as they should, so each test's tasks are ended here.
"""

import contextlib
from collections.abc import Iterator

import psutil
import pytest

from tests.support.docker import DockerEngine
from tests.support.program import Program


@pytest.fixture(autouse=True)
def _end_tasks(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "docker_engine" in request.fixturenames:
        engine: DockerEngine = request.getfixturevalue("docker_engine")
        engine.end_tasks()


@pytest.fixture
def program(program: Program) -> Iterator[Program]:
    """The program, and an end to the processes that its agents left running."""
    yield program
    for daemon in reversed(program.daemons):
        daemon.stop()
    for pids in bash_tasks(program).values():
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):  # it may end with its parent, which was killed just before
                psutil.Process(pid).kill()


def bash_tasks(program: Program) -> dict[str, set[int]]:
    """The pids of the bash tasks in this program's folder, by task id."""
    found: dict[str, set[int]] = {}
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get("RECONCILER_TASK_ID") and process.cwd().startswith(f"{program.folder}/"):
                found.setdefault(environment["RECONCILER_TASK_ID"], set()).add(process.pid)
        except psutil.Error:
            continue
    return found
