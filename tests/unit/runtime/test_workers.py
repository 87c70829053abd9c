"""Workers: bounded, in order, and never in the way of an end."""

import threading

import pytest

from reconciler.runtime.workers import Workers
from tests.support.wait import wait_until


def test_jobs_run_side_by_side_up_to_the_limit() -> None:
    workers, release = Workers("test", 3), threading.Event()
    running: list[int] = []
    for number in range(10):
        workers.submit(lambda number=number: (running.append(number), release.wait(20)))  # type: ignore[misc]
    wait_until(lambda: len(running) == 3, what="three run")
    assert sorted(running) == [0, 1, 2], "in the order given"
    release.set()
    wait_until(lambda: len(running) == 10, what="and then the others")
    assert workers.close(10.0)


def test_what_is_urgent_comes_before_all_that_waits() -> None:
    workers, release, ran = Workers("test", 1), threading.Event(), []
    workers.submit(lambda: release.wait(20))  # type: ignore[arg-type,return-value]
    for name in ("first", "second"):
        workers.submit(lambda name=name: ran.append(name))  # type: ignore[misc]
    workers.submit(lambda: ran.append("urgent"), is_urgent=True)
    release.set()
    wait_until(lambda: len(ran) == 3, what="all have run")
    assert ran == ["urgent", "first", "second"]
    assert workers.close(10.0)


def test_one_thread_is_enough_for_jobs_that_come_one_by_one() -> None:
    workers, names = Workers("single", 8), []
    for _ in range(20):
        done = threading.Event()
        workers.submit(lambda done=done: (names.append(threading.current_thread().name), done.set()))  # type: ignore[misc]
        assert done.wait(10)
        wait_until(lambda: workers._idle == workers._threads, what="the thread is idle again")
    assert set(names) == {"single-1"}
    assert workers.close(10.0)


def test_jobs_that_are_given_together_run_side_by_side_too() -> None:
    workers, together = Workers("test", 3), threading.Barrier(4)
    for _ in range(2):
        workers.submit(*[lambda: together.wait(10)] * 3)  # type: ignore[list-item]
        together.wait(10)
    assert workers.close(10.0)


def test_a_machine_that_gives_no_more_threads_loses_no_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workers, done = Workers("test", 1), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("no more threads")))
        workers.submit(done.set)
        assert "what waits begins later" in caplog.text
    workers.submit(lambda: None)
    assert done.wait(10)
    assert workers.close(10.0)


def test_a_job_that_breaks_costs_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    workers, done = Workers("test", 1), threading.Event()

    def broken() -> None:
        raise RuntimeError("unforeseen")

    workers.submit(broken)
    workers.submit(done.set)
    assert done.wait(10)
    assert workers.close(10.0)
    assert "a job failed" in caplog.text


def test_close_drops_what_has_not_begun_and_does_not_wait_for_what_hangs() -> None:
    workers, hang, ran = Workers("test", 1), threading.Event(), threading.Event()
    began = threading.Event()
    workers.submit(lambda: (began.set(), hang.wait(20)))  # type: ignore[arg-type,return-value]
    workers.submit(ran.set)
    assert began.wait(10)
    assert not workers.close(0.05)
    workers.submit(ran.set)
    hang.set()
    assert workers.close(10.0)
    assert not ran.is_set()
