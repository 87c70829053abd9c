"""The first is answered at once; what follows, together, after a rest that grows with what an answer takes."""

from reconciler.agent.pace import Rest, after_a_look_s, after_a_plan_s
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


def test_planning_and_looking_rest_in_proportion_within_bounds() -> None:
    assert [after_a_plan_s(took_s) for took_s in (0.001, 0.02, 9.0)] == [0.02, 0.06, 0.2]
    assert [after_a_look_s(took_s) for took_s in (0.001, 0.125, 9.0)] == [0.1, 0.375, 0.5]
