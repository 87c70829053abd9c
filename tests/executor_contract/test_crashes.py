"""The agent is killed at each step of a start and of a stop, one after the other, and the next agent finishes the work.

A step is a call of one of the executor's own functions, and with docker the end of a request too, so that it is killed
before and after whatever it does. What goes on beside it is in ``test_restarts``.
"""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

import msgspec
import pytest

from reconciler.executors.interface import Executor, Spec
from tests.executor_contract.conftest import Stage
from tests.support.wait import wait_until

FILES = {
    "bash": ("bash.py", "launching.py", "task_folder.py", "task_scripts.py", "shim.py"),
    "docker": ("docker_engine.py",),
}
REQUESTS = ("inspect", "create", "start", "stop", "remove")
"""What of an engine's client counts: the rest is how it asks."""


QUICK = "trap 'exit 0' TERM; sleep 600 & wait"
"""Ends at once when it is asked to."""


def is_step(frame: FrameType, event: str) -> bool:
    """Whether what begins or ends here is one of the steps."""
    folder, _, file = frame.f_code.co_filename.rpartition("/")
    if not folder.endswith("reconciler/executors"):
        return False
    if file in FILES["docker"]:
        return event in ("call", "return") and frame.f_code.co_name in REQUESTS
    return event == "call" and file in FILES["bash"]


def killed_at(step: int, make: Callable[[], Executor], work: Callable[[Executor], None]) -> bool:
    """Do ``work`` in a process of its own, killed at a step of it. False: there were not so many."""
    pid = os.fork()
    if pid == 0:
        try:
            executor, left = make(), step

            def count(frame: FrameType, event: str, _: object) -> None:
                nonlocal left
                if is_step(frame, event):
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.setprofile(count)
            work(executor)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the work failed by itself"
    return os.WIFSIGNALED(status)


def goes_on(stage: Stage, executor: Executor, spec: Spec) -> None:
    """What the next agent does: adopt what runs, begin a new attempt of what has ended, start what is not there."""
    seen = stage.seen(spec, executor)
    executor.start(spec if seen is None or seen.running else msgspec.structs.replace(spec, attempt=2))


@pytest.mark.slow
def test_killed_at_any_step_of_a_start_or_a_stop_the_next_agent_finishes_it(stage: Stage) -> None:
    spec = stage.spec(stage.kit.shell(QUICK))
    kit, ref = stage.kit, spec.ref

    def make() -> Executor:
        return kit.executor(stage.owner)

    def start(executor: Executor) -> None:
        executor.start(spec)

    def stop(executor: Executor) -> None:
        executor.stop(ref, spec.container, 20)
        executor.remove(ref)

    step, in_start, in_stop = 0, True, True
    while in_start or in_stop:
        step += 1
        following = stage.another_executor()
        in_start = in_start and killed_at(step, make, start)
        goes_on(stage, following, spec)
        wait_until(lambda: kit.instances(stage.owner, ref) == 1, what=f"it runs once, after step {step} of its start")
        observed = stage.seen(spec, following)
        assert observed is not None
        assert observed.running
        in_stop = in_stop and killed_at(step, make, stop)
        stop(following)
        assert kit.remains(stage.owner, ref) == [], f"something is left after step {step} of its stop"
        following.close()
    assert step > 5, "there are steps at which it was killed"
