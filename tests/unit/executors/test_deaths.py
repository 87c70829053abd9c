"""Ends of processes are told at once, whoever started them."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.executors import deaths as deaths_module
from reconciler.executors.deaths import Deaths
from reconciler.executors.processes import Process, look
from tests.support.wait import wait_until


@pytest.fixture(params=["told by the kernel", "looked at"])
def deaths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deaths]:
    """The real thing, and as it does without descriptors for processes (an old kernel)."""
    if request.param == "looked at":
        monkeypatch.setattr(deaths_module, "open_pidfd", lambda process: None)
    deaths = Deaths()
    yield deaths
    deaths.close()


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes = [subprocess.Popen(["sleep", "600"]) for _ in range(3)]
    yield processes
    for process in processes:
        with process:
            process.kill()


def known(process: subprocess.Popen[bytes]) -> Process:
    found = look(process.pid)
    assert found is not None
    return found


def test_an_end_is_told_once(deaths: Deaths, sleepers: list[subprocess.Popen[bytes]]) -> None:
    deaths.replace([known(process) for process in sleepers])
    assert not deaths.wait(0)
    sleepers[1].kill()
    wait_until(lambda: deaths.wait(1), what="its end")
    wait_until(lambda: not deaths.wait(0), what="silence")


def test_an_end_while_waiting_ends_the_wait(deaths: Deaths, sleepers: list[subprocess.Popen[bytes]]) -> None:
    deaths.add(known(sleepers[0]))
    threading.Timer(0.1, sleepers[0].kill).start()
    assert any(deaths.wait(10) for _ in range(3))
    assert look(sleepers[0].pid) is None


def test_one_that_ended_before_it_was_watched_is_told(deaths: Deaths, sleepers: list[subprocess.Popen[bytes]]) -> None:
    gone = known(sleepers[0])
    sleepers[0].kill()
    sleepers[0].wait()
    deaths.replace([gone])
    assert deaths.wait(5)


def test_one_that_is_watched_no_more_is_not_told(deaths: Deaths, sleepers: list[subprocess.Popen[bytes]]) -> None:
    deaths.replace([known(process) for process in sleepers])
    deaths.replace([known(process) for process in sleepers[1:]])
    wait_until(lambda: not deaths.wait(0), what="silence")
    sleepers[0].kill()
    sleepers[0].wait()
    assert not deaths.wait(0.6)


def test_closing_ends_a_wait_and_keeps_no_descriptor(sleepers: list[subprocess.Popen[bytes]]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    deaths = Deaths()
    deaths.replace([known(process) for process in sleepers])
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(deaths.wait(60)))
    waiter.start()
    wait_until(lambda: deaths._waiting, what="the wait has begun")
    deaths.close()
    waiter.join(10)
    assert answers == [False]
    assert not deaths.wait(1)
    deaths.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
