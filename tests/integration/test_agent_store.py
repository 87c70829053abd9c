"""What the agent writes to the store and when, and what a store may do to it: freeze, go back, answer lately."""

import contextlib
import os
import signal
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from reconciler.model import codec, keys
from reconciler.model.manifests import Check
from reconciler.model.task import Health, HostState, Phase
from reconciler.store.interface import (
    Acquire,
    CommitResult,
    Committed,
    DeleteIf,
    Entry,
    Held,
    Listing,
    Operation,
    Put,
    PutIf,
)
from reconciler.store.memory import MemorySpace, MemoryStore
from reconciler.store.nasty import Nasty
from tests.support.agent import SLEEP, AgentWorld, bash_definition, is_alive, noting_pid, pids_of
from tests.support.wait import wait_until


class WatchedStore(MemoryStore):
    """Counts what is written, and freezes when told."""

    def __init__(self, space: MemorySpace) -> None:
        super().__init__(space)
        self.commits: list[tuple[Operation, ...]] = []
        self.thawed = threading.Event()
        self.thawed.set()

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        self.thawed.wait()
        self.commits.append(tuple(operations))
        return super().commit(operations)

    def get(self, key: str) -> Entry | None:
        self.thawed.wait()
        return super().get(key)

    def list(self, prefix: str) -> Listing:
        self.thawed.wait()
        return super().list(prefix)


class WatchedWorld(AgentWorld):
    """The test writes through one connection, the agent through another one that is watched."""

    def __init__(self, folder: Path) -> None:
        self.space = MemorySpace()
        self.watched = WatchedStore(self.space)
        super().__init__(MemoryStore(self.space), folder)

    def start(self) -> None:
        self.start_agent(store=self.watched)

    def close(self) -> None:
        self.watched.thawed.set()
        super().close()
        self.watched.close()

    def status_writes(self) -> int:
        return sum(isinstance(each, PutIf) for operations in self.watched.commits for each in operations)


@pytest.fixture
def world(tmp_path: Path) -> Generator[WatchedWorld]:
    with contextlib.closing(WatchedWorld(tmp_path)) as made:
        yield made


def pass_of_everything(world: WatchedWorld) -> None:
    """Have every loop of the agent look again, and wait until all have."""
    (agent,) = world.agents
    before = {loop.name: loop._last_success for loop in agent.loops}
    for loop in agent.loops:
        loop.wake()
    wait_until(lambda: all(loop._last_success != before[loop.name] for loop in agent.loops), what="another pass")


def test_once_converged_nothing_is_written(world: WatchedWorld) -> None:
    world.with_settings(poll_s=0.1)
    world.start()
    check = Check(script="date; exit 0", interval="20ms")
    tasks = [world.issue(bash_definition(checks=(check,)), instance=each) for each in range(5)]
    for task in tasks:
        world.await_health(task, Health.PASSING)
    pass_of_everything(world)
    world.watched.commits.clear()
    for _ in range(20):
        pass_of_everything(world)
    assert world.watched.commits == []


def test_a_check_that_fails_with_ever_new_words_is_written_once(world: WatchedWorld) -> None:
    world.start()
    check = Check(script="date +%N; exit 2", interval="20ms")
    task = world.issue(bash_definition(checks=(check,)))
    world.await_health(task, Health.CRITICAL)
    world.watched.commits.clear()
    for _ in range(20):
        pass_of_everything(world)
    assert world.watched.commits == []


def test_many_changes_are_at_most_one_write_a_second(world: WatchedWorld) -> None:
    world.with_settings(publish_interval_s=3600.0)
    world.start()
    first = world.issue(bash_definition())
    world.await_health(first, Health.PASSING)
    (agent,) = world.agents
    writes = world.status_writes()
    tasks = [world.issue(bash_definition(), instance=each) for each in range(2, 12)]
    wait_until(
        lambda: all(task.id in agent.status.tasks and agent.status.tasks[task.id].healthy for task in tasks),
        what="all run",
    )
    assert world.status_writes() == writes


def test_every_status_is_written_behind_the_fence_of_the_host(world: WatchedWorld) -> None:
    world.start()
    task = world.issue(bash_definition())
    world.await_health(task, Health.PASSING)
    entry = world.store.get(keys.host_state("h1"))
    assert entry is not None
    for operations in world.watched.commits:
        if any(each.key == keys.placeholder("h1") for each in operations):
            continue  # nothing is told from it, and whoever writes it writes the same
        writes = [each for each in operations if isinstance(each, Put | PutIf | DeleteIf)]
        fences = [each for each in operations if isinstance(each, Held)]
        assert len(writes) == len(fences)
        assert [fence.key for fence in fences] == [keys.host_state("h1") for _ in writes]


def test_an_agent_whose_name_was_taken_writes_nothing_and_starts_nothing(world: WatchedWorld, tmp_path: Path) -> None:
    world.with_settings(poll_s=0.2, publish_interval_s=0.1)
    world.start()
    task = world.issue(bash_definition(noting_pid(tmp_path)))
    world.await_health(task, Health.PASSING)
    (pid,) = pids_of(tmp_path)
    world.delete(keys.host_state("h1"))
    taker = world.store.open_session("another machine", 600.0)
    state = HostState(host="h1", machine="another", address="10.9.9.9", memory=1, cpu_units=1)

    def taken() -> bool:
        entry = world.store.get(keys.host_state("h1"))
        if entry is not None and entry.holder is not None and entry.holder != taker.id:
            world.delete(keys.host_state("h1"))
        outcome = world.store.commit([Acquire(keys.host_state("h1"), codec.encode(state), taker.id)])
        return isinstance(outcome, Committed)

    wait_until(taken, what="another machine has the name")
    (agent,) = world.agents
    wait_until(lambda: any("another machine" in note for note in agent.status.notes), what="the agent notices")
    status = world.store.get(keys.status("h1"))
    late = world.issue(bash_definition(name="late"))
    wait_until(lambda: late.id in agent.status.tasks, what="the agent sees the task")
    assert agent.status.tasks[late.id].phase is Phase.PENDING
    assert "another machine (10.9.9.9)" in agent.status.tasks[late.id].reason
    assert is_alive(pid)
    pass_of_everything(world)
    assert world.store.get(keys.status("h1")) == status
    taker.close()
    world.await_health(late, Health.PASSING)


def test_a_store_that_freezes_delays_no_restart(world: WatchedWorld, tmp_path: Path) -> None:
    world.start()
    task = world.issue(bash_definition(noting_pid(tmp_path)))
    world.await_health(task, Health.PASSING)
    world.watched.thawed.clear()
    world.agents[0]._issued_loop.wake()
    (pid,) = pids_of(tmp_path)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pids_of(tmp_path) not in ([pid], []) and is_alive(pids_of(tmp_path)[0]), what="a restart")
    world.watched.thawed.set()
    world.await_status(task, lambda status: status.attempt == 2 and status.healthy, "healthy again")


def test_rule_05_a_restored_store_stops_nothing_before_its_doubt_is_over(world: WatchedWorld, tmp_path: Path) -> None:
    world.with_settings(doubt_s=2.0)
    world.start()
    early = world.issue(bash_definition(noting_pid(tmp_path), name="early"))
    world.await_health(early, Health.PASSING)
    backup = world.space.snapshot()
    late = world.issue(bash_definition(noting_pid(tmp_path), name="late"))
    world.await_health(late, Health.PASSING)
    pids = pids_of(tmp_path)
    world.space.restore(backup)
    (agent,) = world.agents
    wait_until(lambda: agent._issued.view.went_back_at is not None, what="the agent notices")
    wait_until(lambda: agent._issued.view.findings, what="and looks at the single key")
    stopping_at: list[float] = []

    def stopped() -> bool:
        if agent.status.tasks.get(late.id, None) and agent.status.tasks[late.id].phase is Phase.STOPPING:
            stopping_at.append(agent._clock.monotonic())
        return late.id not in agent.status.tasks

    wait_until(stopped, what="the late one is stopped in the end")
    assert stopping_at[0] - agent._issued.view.went_back_at >= 2.0  # type: ignore[operator]
    assert [pid for pid in pids if is_alive(pid)] == [int((tmp_path / f"{early.id}.pid").read_text())]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_store_that_is_nasty_in_every_allowed_way_changes_nothing_in_the_end(tmp_path: Path, seed: int) -> None:
    space = MemorySpace()
    world = AgentWorld(MemoryStore(space), tmp_path)
    world.with_settings(publish_interval_s=0.05)
    with contextlib.closing(world):
        world.start_agent(store=MemoryStore(space, nasty=Nasty(seed=seed, lost_answer=0.3, index_back=0.3)))
        marking = f'echo x >> "{tmp_path}/$RECONCILER_TASK_ID.starts"; ' + SLEEP
        tasks = [world.issue(bash_definition(marking), instance=each) for each in range(6)]
        for task in tasks:
            world.await_health(task, Health.PASSING, timeout_s=40)
        for task in tasks[:3]:
            world.take_back(task)
        wait_until(lambda: set(world.published()) == {task.id for task in tasks[3:]}, timeout_s=40, what="three left")
        for task in tasks[3:]:
            assert (tmp_path / f"{task.id}.starts").read_text() == "x\n", "started once, and never stopped"
