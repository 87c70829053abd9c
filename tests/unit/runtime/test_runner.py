"""A loop is level-triggered: it looks again when woken, when asked to, and after a failure with growing delays."""

import threading
import time
from itertools import count

from reconciler.errors import StoreUnreachable
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.runner import Loop, Waker
from tests.support.wait import wait_until


def test_many_wakes_during_a_step_make_one_more_step() -> None:
    began, go_on, passes = threading.Event(), threading.Event(), count(1)
    seen: list[int] = []

    def step() -> None:
        seen.append(next(passes))
        began.set()
        go_on.wait(5)

    loop = Loop("test", step)
    loop.start()
    assert began.wait(5)
    for _ in range(50):
        loop.wake()
    go_on.set()
    wait_until(lambda: len(seen) == 2, what="one more step")
    loop.stop()
    assert seen == [1, 2]


def test_a_step_is_repeated_when_it_asked_to_be() -> None:
    seen: list[int] = []

    def step() -> float:
        seen.append(1)
        return 0.01

    loop = Loop("test", step)
    loop.start()
    wait_until(lambda: len(seen) >= 3)
    loop.stop()


def test_a_step_is_repeated_after_the_resync_at_the_latest() -> None:
    seen: list[int] = []
    loop = Loop("test", lambda: seen.append(1), resync_s=0.01)
    loop.start()
    wait_until(lambda: len(seen) >= 3)
    loop.stop()


def test_a_failing_step_is_tried_again_and_shown_until_it_succeeds() -> None:
    outcomes = iter([StoreUnreachable("no connection"), ValueError("a bug"), None])
    errors: list[str | None] = []

    def step() -> None:
        errors.append(loop.last_error)
        outcome = next(outcomes, None)
        if outcome is not None:
            raise outcome

    loop = Loop("test", step, backoff=Backoff(first_s=0.01, most_s=0.02), resync_s=0.01)
    loop.start()
    wait_until(lambda: len(errors) >= 4)
    loop.stop()
    assert errors[:4] == [None, "no connection", "ValueError: a bug", None]
    assert loop.age_s() is not None


def test_wakes_do_not_defeat_the_backoff() -> None:
    tries: list[int] = []

    def step() -> None:
        tries.append(1)
        raise StoreUnreachable("no connection")

    loop = Loop("test", step, backoff=Backoff(first_s=60, most_s=60, jitter=0))
    loop.start()
    wait_until(lambda: tries)
    waker = Waker("waker", lambda: True, [loop])
    waker.start()
    wait_until(lambda: loop.last_error)
    waker.stop()
    loop.stop()
    assert len(tries) == 1


def test_wakes_while_it_rests_make_one_step_after_it() -> None:
    passes: list[float] = []
    loop = Loop("test", lambda: passes.append(time.monotonic()), rest_s=lambda _: 0.2)
    loop.start()
    wait_until(lambda: passes)
    for _ in range(50):
        loop.wake()
    wait_until(lambda: len(passes) == 2)
    assert passes[1] - passes[0] >= 0.2, "no wake shortens the rest"
    loop.stop()
    assert len(passes) == 2, "and all of them together make one step"


def test_stopping_waits_for_no_rest() -> None:
    passes: list[int] = []
    loop = Loop("test", lambda: passes.append(1), rest_s=lambda _: 3600.0)
    loop.start()
    wait_until(lambda: passes)
    loop.stop(5.0)
    assert not loop._thread.is_alive()


def test_stopping_finishes_the_step_and_then_releases() -> None:
    order: list[str] = []
    inside = threading.Event()

    def step() -> None:
        order.append("step")
        inside.set()
        wait_until(lambda: loop.stopping)
        order.append("step ends")

    loop = Loop("test", step, on_stop=lambda: order.append("released"))
    loop.start()
    assert inside.wait(5)
    loop.stop()
    assert order == ["step", "step ends", "released"]


def test_a_waker_outlives_failing_watches() -> None:
    outcomes = iter([StoreUnreachable("gone"), True])
    woken = threading.Event()

    def wait() -> bool:
        outcome = next(outcomes, None)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is None:
            woken.wait(0.05)
            return False
        return True

    passes: list[int] = []
    loop = Loop("test", lambda: passes.append(1))
    loop.start()
    wait_until(lambda: passes)
    waker = Waker("waker", wait, [loop])
    waker.start()
    wait_until(lambda: len(passes) >= 2)
    waker.stop()
    loop.stop()
