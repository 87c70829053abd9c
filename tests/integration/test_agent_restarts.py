"""Agents that are killed, stopped and started again, as processes of their own: tasks never notice."""

import contextlib
import os
import random
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from reconciler.model import keys
from reconciler.model.task import Health, Phase, Task
from reconciler.runtime.ids import new_id
from reconciler.store import sentinel
from reconciler.store.sqlite import SqliteStore
from tests.support.agent import AgentWorld, bash_definition, is_alive, noting_pid, pids_of
from tests.support.program import Daemon, Program
from tests.support.wait import wait_until


class ProcessWorld(AgentWorld):
    """The same world, whose agents are ``reconciler agent`` on a SQLite store."""

    def __init__(self, program: Program, folder: Path) -> None:
        super().__init__(SqliteStore(folder / "store.db"), folder)
        self.program = program
        program.use(f"sqlite://{folder / 'store.db'}")

    def start_process(self) -> Daemon:
        return self.program.start(
            "agent", "--host", self.host, "--address", "127.0.0.1", "--executor", "bash", "--http", "off",
            "--runtime-dir", str(self.folder / "run"),
        )  # fmt: skip

    def holder(self) -> str | None:
        entry = self.store.get(keys.host_state(self.host))
        return entry.holder if entry else None

    def is_up(self, task: Task, attempt: int) -> bool:
        status = self.published().get(task.id)
        return status is not None and (status.issue, status.attempt) == (task.issue, attempt) and status.healthy

    def close(self) -> None:
        """Stop what processes left running by means of an agent here."""
        for daemon in self.program.daemons:
            daemon.kill()
        sentinel.ensure(self.store, new_id())
        with_settings = self.settings
        self.with_settings(runtime_dir=self.folder / "run")
        self.start_agent(folder=self.folder / "run/bash")
        self.settings = with_settings
        super().close()


@pytest.fixture
def world(program: Program, tmp_path: Path) -> Generator[ProcessWorld]:
    with contextlib.closing(ProcessWorld(program, tmp_path)) as made:
        yield made


def test_tasks_outlive_a_killed_agent_and_the_next_one_adopts_them(world: ProcessWorld, tmp_path: Path) -> None:
    agent = world.start_process()
    tasks = [world.issue(bash_definition(noting_pid(tmp_path)), instance=each) for each in (1, 2, 3)]
    for task in tasks:
        world.await_health(task, Health.PASSING)
    before, published = pids_of(tmp_path), world.published()
    agent.kill()
    assert all(is_alive(pid) for pid in before)
    world.start_process()
    late = world.issue(bash_definition(name="late"))
    world.await_health(late, Health.PASSING)
    assert pids_of(tmp_path) == before
    # health begins anew with an agent; all else is as it was
    assert {task.id: world.await_health(task, Health.PASSING) for task in tasks} == published


def test_what_died_and_what_was_issued_without_an_agent_is_put_right_by_the_next(
    world: ProcessWorld, tmp_path: Path
) -> None:
    agent = world.start_process()
    dies, goes, stays = (
        world.issue(bash_definition(noting_pid(tmp_path)), instance=instance) for instance in (1, 2, 3)
    )
    for task in (dies, goes, stays):
        world.await_health(task, Health.PASSING)
    agent.kill()
    os.kill(int((tmp_path / f"{dies.id}.pid").read_text()), signal.SIGKILL)
    untouched = int((tmp_path / f"{stays.id}.pid").read_text())
    orphan = int((tmp_path / f"{goes.id}.pid").read_text())
    world.take_back(goes)
    fresh = world.issue(bash_definition(name="fresh"))
    world.start_process()
    world.await_health(fresh, Health.PASSING)
    wait_until(lambda: world.is_up(dies, 2), what="the dead one runs again, as its second attempt")
    world.await_gone(goes)
    assert not is_alive(orphan)
    assert is_alive(untouched)
    assert world.is_up(stays, 1)


def test_rule_06_a_stopped_agent_leaves_its_tasks_and_its_session_to_the_next(
    world: ProcessWorld, tmp_path: Path
) -> None:
    agent = world.start_process()
    task = world.issue(bash_definition(noting_pid(tmp_path)))
    world.await_health(task, Health.PASSING)
    holder, pids = world.holder(), pids_of(tmp_path)
    assert agent.stop() == 0
    assert all(is_alive(pid) for pid in pids)
    world.start_process()
    another = world.issue(bash_definition(name="another"))
    world.await_health(another, Health.PASSING)
    assert world.holder() == holder


@pytest.mark.slow
def test_an_agent_that_is_killed_while_it_stops_a_task_is_followed_by_one_that_ends_it(
    world: ProcessWorld, tmp_path: Path
) -> None:
    agent = world.start_process()
    slow = noting_pid(tmp_path, f"trap 'touch \"{tmp_path}/asked\"' TERM; while :; do sleep 0.05 || :; done")
    task = world.issue(bash_definition(slow), port=20001)
    world.await_health(task, Health.PASSING)
    world.take_back(task)
    wait_until((tmp_path / "asked").exists, what="the stop signal")
    agent.kill()
    assert is_alive(pids_of(tmp_path)[0])
    assert world.published()[task.id].port == 20001, "rule 9: the port stays taken"
    world.start_process()
    world.await_gone(task)
    assert not is_alive(pids_of(tmp_path)[0])


def test_a_second_agent_of_the_same_name_says_who_has_it_and_ends(world: ProcessWorld) -> None:
    first = world.start_process()
    wait_until(world.holder, what="the host is there")
    second = world.start_process()
    assert second.process.wait(30) == 2
    assert f"process {first.pid}" in second.output()
    assert "Traceback" not in second.output()
    assert world.holder() is not None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_agents_killed_at_random_moments_leave_exactly_what_is_issued(
    world: ProcessWorld, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    once = (
        f'echo "$$" >> "{tmp_path}/$RECONCILER_TASK_ID.starts"; '
        f'exec 9> "{tmp_path}/$RECONCILER_TASK_ID.lock"; flock -n 9 || echo twice >> "{tmp_path}/doubled"; '
    )
    definition = bash_definition(noting_pid(tmp_path, once + "exec sleep 100000"))
    issued: dict[int, Task] = {}
    for _ in range(6):
        agent = world.start_process()
        wait_until(world.holder, what="the host is there")
        for _ in range(rng.randint(1, 4)):
            instance = rng.randint(1, 6)
            if instance in issued and rng.random() < 0.5:
                world.take_back(issued.pop(instance))
            else:
                issued[instance] = world.issue(definition, instance=instance)
        killed_after = rng.uniform(0.0, 1.5)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: False, timeout_s=killed_after, what="nothing: the agent is killed at any moment")
        agent.kill()
    world.start_process()
    for task in issued.values():
        world.await_phase(task, Phase.RUNNING, timeout_s=40)
    wait_until(lambda: set(world.published()) == {task.id for task in issued.values()}, what="and nothing else")
    wanted = {int((tmp_path / f"{task.id}.pid").read_text()) for task in issued.values()}
    running = {pid for pid in all_starts(tmp_path) if is_alive(pid)}
    assert running == wanted
    assert not (tmp_path / "doubled").exists(), "no task ever ran twice at once"


def all_starts(folder: Path) -> set[int]:
    return {int(line) for path in folder.glob("*.starts") for line in path.read_text().split()}
