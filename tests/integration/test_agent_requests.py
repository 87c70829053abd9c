"""What a change costs an agent: the same in a fleet of 10 hosts as of 100, and nothing if it is another host's."""

import collections
import contextlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from reconciler.agent import identity
from reconciler.executors.bash import Bash
from reconciler.model import codec, keys
from reconciler.model.task import Health, HostStatus, Phase, TaskStatus
from reconciler.store.interface import CommitResult, Entry, Listing, Operation, Put, Store
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support.agent import AgentWorld, bash_definition
from tests.support.pretend_executor import PretendExecutor
from tests.support.wait import wait_until

CHANGES = 3
REST_S = 3.0
TASKS_PER_HOST = 10
MOST_REQUESTS = 8
"""Measured: 3 or 4, with 2,400 bytes; twice that when it looks or publishes twice."""
MOST_BYTES = 10_000
MOST_PASSES = 5
"""Measured: 3, as it is issued, runs, and is healthy. What the agent itself has written is no reason for another."""


class CountedStore:
    """Notes who is asked for what, and how many bytes that was; sessions and all else as they are."""

    def __init__(self, store: Store) -> None:
        self._inner = store
        self._lock = threading.Lock()
        self.asked: collections.Counter[str] = collections.Counter()
        self.requests = 0
        self.bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def begin_anew(self) -> None:
        with self._lock:
            self.asked.clear()
            self.requests = self.bytes = 0

    def get(self, key: str) -> Entry | None:
        entry = self._inner.get(key)
        self._count([key], len(entry.value) if entry else 0)
        return entry

    def list(self, prefix: str) -> Listing:
        listing = self._inner.list(prefix)
        self._count([prefix], sum(len(entry.value) for entry in listing.entries))
        return listing

    def get_all(self, names: Sequence[str]) -> Mapping[str, Entry]:
        found = self._inner.get_all(names)
        self._count(names, sum(len(entry.value) for entry in found.values()))
        return found

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        self._count([each.key for each in operations], sum(len(getattr(each, "value", b"")) for each in operations))
        return self._inner.commit(operations)

    def wait(self, prefix: str, after: int, timeout_s: float) -> int:
        index = self._inner.wait(prefix, after, timeout_s)
        self._count([prefix], 0)
        return index

    def _count(self, asked: Sequence[str], size: int) -> None:
        with self._lock:
            self.asked.update(asked)
            self.requests += 1
            self.bytes += size


def settle(world: AgentWorld, hosts: int) -> None:
    """What the agents of other hosts, and schedulers, keep in the store."""
    definition = bash_definition(name="other")
    for number in range(hosts - 1):
        host = f"other-{number}"
        tasks = [world.issue(definition, number * TASKS_PER_HOST + each, host=host) for each in range(TASKS_PER_HOST)]
        shown = {each.id: TaskStatus(phase=Phase.RUNNING, issue=each.issue, health=Health.PASSING) for each in tasks}
        world.put(keys.status(host), codec.encode(HostStatus(host=host, tasks=shown)))


def passes_of_the_planner() -> float:
    return REGISTRY.get_sample_value("reconciler_passes_total", {"loop": "agent", "result": "done"}) or 0.0


def counted_agent(world: AgentWorld, space: MemorySpace) -> CountedStore:
    """Starts the agent, over an executor that pretends; returns the store that it asks."""
    store = CountedStore(MemoryStore(space))
    world.start_agent(store=store, executors={"bash": PretendExecutor(identity.owner(world.settings, world.store_id))})
    return store


@pytest.mark.parametrize("hosts", [10, 100])
def test_a_change_costs_an_agent_the_same_however_large_the_fleet_is(hosts: int, tmp_path: Path) -> None:
    space = MemorySpace()
    world = AgentWorld(MemoryStore(space), tmp_path)
    world.with_settings(publish_interval_s=0.1)
    settle(world, hosts)
    store = counted_agent(world, space)
    definition = bash_definition(name="web")
    first = world.issue(definition, 1)
    world.await_health(first, Health.PASSING)

    store.begin_anew()
    passes = passes_of_the_planner()
    for number in range(CHANGES):
        world.await_health(world.issue(definition, number + 2), Health.PASSING)
    assert passes_of_the_planner() - passes <= CHANGES * MOST_PASSES
    own = {
        keys.CONFIG_SENTINEL,
        keys.STATE_SENTINEL,
        keys.tasks_of_host(world.host),
        keys.status(world.host),
        keys.host_state(world.host),
        keys.config(definition),
        *(keys.task_by_id(f"c-web-1-{number + 1}") for number in range(CHANGES + 1)),
    }
    assert set(store.asked) <= own, "it looks at nothing that is not its own"
    assert store.requests / CHANGES < MOST_REQUESTS
    assert store.bytes / CHANGES < MOST_BYTES

    wait_until(lambda: len(world.published()) == CHANGES + 1)
    store.begin_anew()
    for number in range(20):
        world.issue(bash_definition(name="other"), 10_000 + number, host="other-1")
    world.await_health(world.issue(definition, 99), Health.PASSING)
    assert store.asked[keys.tasks_of_host(world.host)] <= 8, "what others get wakes nobody here"
    world.close()


def test_tasks_that_come_together_cost_an_agent_as_much_as_one(tmp_path: Path) -> None:
    space = MemorySpace()
    world = AgentWorld(MemoryStore(space), tmp_path)
    with contextlib.closing(world):
        store = counted_agent(world, space)
        definition = bash_definition(name="web")
        known = world.issue(definition, 0)
        world.await_health(known, Health.PASSING)
        store.begin_anew()
        passes = passes_of_the_planner()
        copies = [
            msgspec.structs.replace(known, id=f"c-web-1-{number}", instance=number, issue=known.issue + number)
            for number in range(1, TASKS_PER_HOST + 1)
        ]
        world.store.commit(
            [Put(key, codec.encode(task)) for task in copies
             for key in (keys.task_by_id(task.id), keys.task_by_host(world.host, task.id))]
        )  # fmt: skip
        for task in copies:
            world.await_health(task, Health.PASSING)
        assert passes_of_the_planner() - passes <= 2 * MOST_PASSES, "not one for each of them"
        assert store.requests <= MOST_REQUESTS


def test_an_agent_at_rest_asks_nothing_and_looks_at_no_process(tmp_path: Path) -> None:
    space = MemorySpace()
    world = AgentWorld(MemoryStore(space), tmp_path)
    store = CountedStore(MemoryStore(space))
    bash = Bash(identity.owner(world.settings, world.store_id), tmp_path / "bash")
    with contextlib.closing(world):
        agent = world.start_agent(store=store, executors={"bash": bash})
        for number in range(10):
            task = world.issue(bash_definition(), number)
        world.await_health(task, Health.PASSING)

        def counts() -> tuple[object, ...]:
            return store.asked.total(), bash._table.looks, *(loop._last_success for loop in agent.loops)

        def rests() -> bool:
            before = counts()
            with contextlib.suppress(AssertionError):
                wait_until(lambda: counts() != before, timeout_s=REST_S, what="something to happen")
            return counts() == before

        assert any(rests() for _ in range(5)), (
            f"it never rests for {REST_S:g} s, with {world.settings.poll_s:g} s between two looks"
        )
