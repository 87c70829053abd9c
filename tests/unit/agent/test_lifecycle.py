"""The table of steps, and when a failed task may try again."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.agent import lifecycle
from reconciler.agent.lifecycle import MAY_TRY_AGAIN, STEPS, IllegalStep, Life, Now
from reconciler.agent.settings import RestartPolicy
from reconciler.model.task import Health, Phase

NOW = Now(1000.0, 1_700_000_000.0)
POLICY = RestartPolicy()


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Phase, Phase)))
def test_only_the_steps_of_the_table_are_possible(before: Phase, after: Phase) -> None:
    life = Life(phase=before)
    if after in STEPS[before]:
        assert lifecycle.step(life, after, NOW, "because").phase is after
    else:
        with pytest.raises(IllegalStep):
            lifecycle.step(life, after, NOW)


def test_the_table_never_leads_back() -> None:
    def reachable(phase: Phase) -> set[Phase]:
        found: set[Phase] = set()
        todo = [phase]
        while todo:
            for after in STEPS[todo.pop()] - found:
                found.add(after)
                todo.append(after)
        return found

    assert all(phase not in reachable(phase) for phase in Phase)
    assert all(Phase.STOPPED in reachable(phase) for phase in set(Phase) - {Phase.STOPPED})


@pytest.mark.parametrize("phase", list(Phase))
def test_only_what_tries_to_run_is_tried_again(phase: Phase) -> None:
    life = Life(phase=phase, health=Health.CRITICAL)
    if phase in MAY_TRY_AGAIN:
        after = lifecycle.again(life, NOW, POLICY, 0.0, "it died", 1)
        assert (after.phase, after.attempt, after.reason, after.exit_code) == (Phase.PENDING, 2, "it died", 1)
        assert after.health is Health.UNKNOWN
    else:
        with pytest.raises(IllegalStep):
            lifecycle.again(life, NOW, POLICY, 0.0, "it died")


def test_a_killed_task_is_tried_again_well_within_a_second() -> None:
    after = lifecycle.again(Life(phase=Phase.RUNNING), NOW, POLICY, 0.0, "killed")
    assert after.not_before - NOW.monotonic <= 0.1


@given(st.integers(1, 1000), st.floats(0, 1), st.floats(0, 1))
def test_delays_grow_up_to_a_limit_and_jitter_only_shortens_them(failures: int, jitter: float, share: float) -> None:
    policy = RestartPolicy(jitter=share)
    full = lifecycle.delay_s(failures, policy, 0.0)
    assert full <= policy.most_delay_s
    assert lifecycle.delay_s(failures + 1, policy, 0.0) >= full
    assert full * (1 - share) - 1e-9 <= lifecycle.delay_s(failures, policy, jitter) <= full


@given(st.lists(st.floats(0.1, 400), min_size=1, max_size=40))
def test_a_task_fails_exactly_when_too_many_deaths_fall_into_one_window(gaps: list[float]) -> None:
    life, time, deaths = Life(phase=Phase.RUNNING), 0.0, []
    for gap in gaps:
        time += gap
        deaths.append(time)
        life = lifecycle.again(life, Now(time, time), POLICY, 0.0, "it died")
        lately = sum(1 for each in deaths if time - each < POLICY.window_s)
        assert (life.phase is Phase.FAILED) == (lately >= POLICY.max_attempts)
        if life.phase is Phase.FAILED:
            return


def test_a_stop_gives_clients_time_only_if_there_may_be_clients() -> None:
    assert lifecycle.begin_stop(Life(phase=Phase.RUNNING), NOW, "taken back", drains=True).drains
    assert not lifecycle.begin_stop(Life(phase=Phase.PENDING), NOW, "taken back", drains=True).drains
    assert not lifecycle.begin_stop(Life(phase=Phase.RUNNING), NOW, "by hand", drains=False).drains
