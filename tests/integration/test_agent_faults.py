"""What goes wrong on a host itself: its disk is full, its clock is set."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.agent import identity
from reconciler.errors import ExecutorError
from reconciler.executors.interface import Owner, Spec, never
from reconciler.model.task import Health, Phase
from reconciler.runtime.clock import SystemClock
from tests.support import disks
from tests.support.agent import SLEEP, AgentWorld, bash_definition, is_alive, noting_pid, pids_of
from tests.support.pretend_executor import PretendExecutor
from tests.support.wait import wait_until

DAY_S = 86_400.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    with disks.small_disk(tmp_path / "small", 4) as folder:
        yield folder


def test_a_full_disk_keeps_what_runs_and_says_why_nothing_else_starts(
    agent_world: AgentWorld, small_disk: Path, tmp_path: Path
) -> None:
    agent_world.with_settings(restart={"delay_s": 0.2, "factor": 1.0, "max_attempts": 1000})
    agent_world.start_agent(folder=small_disk)
    before = agent_world.issue(bash_definition(noting_pid(tmp_path)))
    agent_world.await_health(before, Health.PASSING)
    (pid,) = pids_of(tmp_path)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * (8 << 20))
    late = agent_world.issue(bash_definition(SLEEP, name="late"))
    agent_world.await_status(late, lambda status: "No space left on device" in status.reason, "the reason")
    assert is_alive(pid)
    assert agent_world.published()[before.id].attempt == 1
    filler.unlink()
    agent_world.await_health(late, Health.PASSING)


class SetClock(SystemClock):
    """A clock whose time of day somebody sets."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead_s


@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S])
def test_rule_16_a_clock_that_is_set_restarts_nothing_and_holds_up_nothing(
    agent_world: AgentWorld, tmp_path: Path, step_s: float
) -> None:
    clock = SetClock()
    agent_world.start_agent(clock=clock)
    runs = agent_world.issue(bash_definition(noting_pid(tmp_path)))
    agent_world.await_health(runs, Health.PASSING)
    (pid,) = pids_of(tmp_path)
    clock.ahead_s = step_s
    dies = agent_world.issue(bash_definition(f'test "$RECONCILER_ATTEMPT" = 2; {SLEEP}', name="dies"))
    wait_until(
        lambda: (status := agent_world.published().get(dies.id)) and status.healthy and status.attempt == 2,
        what="a restart after the usual delay",
    )
    assert is_alive(pid)
    assert agent_world.published()[runs.id].attempt == 1
    agent_world.take_back(runs)
    agent_world.await_gone(runs)
    assert agent_world.published()[dies.id].phase is Phase.RUNNING


class LeavingEngine(PretendExecutor):
    """It goes away in the middle of the first start, before anybody has noticed, and is back at once."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner)
        self.left = False
        self.is_away = False

    def start(self, spec: Spec, is_cancelled: Callable[[], bool] = never) -> None:
        if not self.left:
            self.left = self.is_away = True
            raise ExecutorError("creating a container: no engine answers")
        super().start(spec, is_cancelled)

    def unavailable(self) -> str | None:
        was_away, self.is_away = self.is_away, False
        return "no engine answers" if was_away else None


def test_a_start_that_fails_because_the_engine_went_away_uses_up_no_attempt(agent_world: AgentWorld) -> None:
    agent_world.with_settings(restart={"max_attempts": 1})
    owner = identity.owner(agent_world.settings, agent_world.store_id)
    agent_world.start_agent(executors={"bash": LeavingEngine(owner)})
    task = agent_world.issue(bash_definition())
    assert agent_world.await_health(task, Health.PASSING).attempt == 2
