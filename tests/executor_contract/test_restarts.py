"""The agent dies, at any line: what runs goes on, and the next agent finds it, or sees that it did not come up."""

import signal
import subprocess
import sys

import msgspec

from tests.executor_contract.conftest import Stage
from tests.executor_contract.kits import POLITE


def test_a_new_agent_finds_what_runs_and_can_stop_it(stage: Stage) -> None:
    spec = stage.start_ready(stage.spec(stage.kit.shell(POLITE)))
    stage.executor.close()
    successor = stage.another_executor()
    observed = stage.seen(spec, successor)
    assert observed is not None
    assert (observed.running, observed.digest, observed.attempt) == (True, spec.digest, 1)
    successor.stop(spec.ref, spec.container, 20)
    assert stage.ended(spec, successor).exit_code == 0


def test_a_killed_agent_takes_nothing_with_it(stage: Stage) -> None:
    spec = stage.spec(stage.kit.shell(POLITE))
    texts = [msgspec.json.encode(value).decode() for value in (stage.owner, spec)]
    command = [sys.executable, "-m", "tests.executor_contract.agent_process", *stage.kit.agent_arguments(), *texts]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as agent:
        try:
            assert agent.stdout is not None
            assert agent.stdout.readline() == b"started\n"
        finally:
            agent.send_signal(signal.SIGKILL)
        # its output ends only when nobody holds it any more: a task must not
        assert agent.stdout.read() == b""
    observed = stage.seen(spec)
    assert observed is not None
    assert observed.running
    stage.executor.stop(spec.ref, spec.container, 20)
    assert b"bye" in stage.executor.logs(spec.ref, 10)
    assert stage.ended(spec).exit_code == 0
