"""The first is answered at once; what follows, together, after a rest that grows with what an answer takes."""

from reconciler.agent.pace import Pace, Rest
from tests.support.clock import HandClock


def test_a_rest_is_as_long_as_the_answer_was_slow_within_bounds() -> None:
    clock = HandClock()
    rest = Rest(clock, times=50.0, least_s=0.25, most_s=1.0)
    assert rest.left_s == 0.0, "the first waits for nothing"
    for took_s, rests_s in ((0.001, 0.25), (0.01, 0.5), (3.0, 1.0)):
        rest.begin(took_s)
        assert rest.left_s == rests_s
        clock.pass_by(rests_s)
        assert rest.left_s == 0.0


def test_wakes_while_it_rests_make_one_pass() -> None:
    clock = HandClock()
    pace, passes = Pace(clock), []

    def slow() -> float | None:
        passes.append(clock.monotonic())
        clock.pass_by(0.02)
        return None

    assert pace.step(slow) is None
    left_s = pace.step(slow)
    assert left_s is not None
    assert len(passes) == 1
    clock.pass_by(left_s)
    assert pace.step(slow) is None
    assert len(passes) == 2
