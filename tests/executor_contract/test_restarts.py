"""The agent dies, at any line: what runs goes on, and the next agent finds it, or sees that it did not come up."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from reconciler.executors.interface import Spec
from tests.executor_contract.conftest import Stage
from tests.executor_contract.kits import POLITE
from tests.support.wait import wait_until


def test_a_new_agent_finds_what_runs_and_can_stop_it(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    stage.executor.close()
    successor = stage.another_executor()
    observed = stage.seen(spec, successor)
    assert observed is not None
    assert (observed.running, observed.digest, observed.attempt) == (True, spec.digest, 1)
    successor.stop(spec.ref, spec.container, 20)
    assert stage.ended(spec, successor).exit_code == 0


@contextmanager
def agent(stage: Stage, spec: Spec) -> Iterator[subprocess.Popen[bytes]]:
    """An agent's process that is about to start ``spec``; killed at the end."""
    texts = [msgspec.json.encode(value).decode() for value in (stage.owner, spec)]
    command = [sys.executable, "-m", "tests.executor_contract.agent_process", *stage.kit.agent_arguments(), *texts]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
        # its output ends only when nobody holds it any more: a task must not
        assert process.stdout.read() in (b"", b"started\n")


def test_a_killed_agent_takes_nothing_with_it(stage: Stage) -> None:
    spec = stage.spec(stage.kit.shell(POLITE))
    with agent(stage, spec) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
    observed = stage.seen(spec)
    assert observed is not None
    assert observed.running
    stage.executor.stop(spec.ref, spec.container, 20)
    assert b"bye" in stage.executor.logs(spec.ref, 10)
    assert stage.ended(spec).exit_code == 0


@pytest.mark.parametrize("after_ms", [5, 40, 160])
def test_an_agent_killed_at_any_moment_of_a_start_leaves_what_the_next_can_go_on_from(
    stage: Stage, after_ms: int
) -> None:
    spec = stage.spec(stage.kit.shell(POLITE, setup=("sleep 0.02",)))
    with agent(stage, spec):
        time.sleep(after_ms / 1000)
    # what a process of its left under way (a setup, a request to the engine) comes to its end
    observed = stage.seen(spec)
    if observed is not None and not observed.running:
        assert observed.reason
    stage.start(spec if observed is None or observed.running else msgspec.structs.replace(spec, attempt=2))
    wait_until(lambda: stage.kit.instances(stage.owner, spec.ref) == 1, what="it runs once")
    stage.executor.stop(spec.ref, spec.container, 20)
    stage.executor.remove(spec.ref)
    assert stage.kit.remains(stage.owner, spec.ref) == []
