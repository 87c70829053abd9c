"""An agent on a store, with what a scheduler would write, so that a test can issue tasks and look at what comes of it.

``AgentWorld`` plays the scheduler by hand: it writes definitions and both records of a task in one commit. Agents that
it started are stopped at the end with all their tasks.
"""

import contextlib
import itertools
import socket
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from reconciler.agent import identity
from reconciler.agent.guard import Guard
from reconciler.agent.loop import AgentDaemon
from reconciler.agent.scripts import script_runner
from reconciler.agent.settings import AgentSettings
from reconciler.errors import UsageError
from reconciler.executors.bash import Bash
from reconciler.executors.interface import Executor
from reconciler.health.interface import HealthProvider, ScriptRunner
from reconciler.health.native import NativeHealth
from reconciler.model import codec, keys
from reconciler.model.events import Event
from reconciler.model.manifests import BashContainer, BashExecutor, Check, TaskDefinition
from reconciler.model.task import Health, HostStatus, Phase, Task, TaskStatus
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.runtime.ids import new_id
from reconciler.store import sentinel
from reconciler.store.interface import Committed, DeleteIf, Operation, Put, Store
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support.ports import port_block
from tests.support.wait import wait_until

SLEEP = "exec sleep 100000"
_PORTS = itertools.count()


def bash_definition(
    *start: str,
    name: str = "web",
    version: int = 1,
    port: bool = False,
    checks: tuple[Check, ...] = (),
    env: tuple[str, ...] = (),
    stop: tuple[str, ...] = (),
    **fields: Any,
) -> TaskDefinition:
    """A task of one process; it sleeps unless told otherwise."""
    executor = BashExecutor(start=start or (SLEEP,), env=env, stop=stop)
    container = BashContainer(name="main", executor=executor)
    return TaskDefinition(
        name=name, version=version, containers=(container,), provide_port=port, checks=checks, **fields
    )


def pids_of(folder: Path) -> list[int]:
    """What tasks wrote into their pid files there."""
    return sorted(int(path.read_text()) for path in folder.glob("*.pid") if path.read_text().strip())


def noting_pid(folder: Path, then: str = SLEEP) -> str:
    """A start command that leaves its process id behind."""
    return f'echo $$ > "{folder}/$RECONCILER_TASK_ID.pid"; {then}'


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """The next port of our own block on which nobody listens."""
    first, last = port_block()
    for _ in range(first, last + 1):
        number = first + next(_PORTS) % (last + 1 - first)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", number)):
            return number
    raise AssertionError("every port of our block is taken")


class AgentWorld:
    """A store, a host's folder, and the agents that a test starts on them."""

    def __init__(self, store: Store, folder: Path, host: str = "h1") -> None:
        self.store = store
        self.folder = folder
        self.host = host
        self.events: list[Event] = []
        self.agents: list[AgentDaemon] = []
        self.store_id = sentinel.ensure(store, new_id())
        self.settings = AgentSettings(
            host=host, address="127.0.0.1", runtime_dir=folder / "run", drain_delay_s=0.1, stop_timeout_s=5.0
        )
        self._issue = 100

    def agent(
        self,
        *,
        store: Store | None = None,
        executors: Mapping[str, Executor] | None = None,
        health: Callable[[ScriptRunner], HealthProvider] | None = None,
        folder: Path | None = None,
        guard: Guard | None = None,
        clock: Clock | None = None,
    ) -> AgentDaemon:
        """A new agent, not started yet; by default with the real bash executor and native health."""
        owner = identity.owner(self.settings, self.store_id)
        chosen = (
            executors if executors is not None else {"bash": Bash(owner, folder or self.folder / "bash", clock=clock)}
        )
        run_script = script_runner(chosen)
        provider = health(run_script) if health else NativeHealth(run_script, SystemClock())
        daemon = AgentDaemon(
            store or self.store,
            self.settings,
            chosen,
            provider,
            owner=owner,
            guard=guard or Guard(self.folder / "policy.yml"),
            clock=clock,
            emit=self.events.append,
        )
        self.agents.append(daemon)
        return daemon

    def start_agent(self, **parts: object) -> AgentDaemon:
        """A new agent that runs."""
        daemon = self.agent(**parts)  # type: ignore[arg-type]
        daemon.start()
        return daemon

    def issue(
        self,
        definition: TaskDefinition,
        instance: int = 1,
        *,
        port: int = 0,
        host: str | None = None,
        changed: bool = False,
        **fields: Any,
    ) -> Task:
        """Issue a task as a scheduler does: definition, then both records at once.

        ``changed`` lets a definition take the place of another one, which only ``dev`` allows.
        """
        self._issue += 1
        known = self.store.get(keys.config(definition))
        assert known is None or known.value == codec.encode(definition) or changed, "give it a name of its own"
        self.put(keys.config(definition), codec.encode(definition))
        task = Task(
            id=f"c-{definition.name}-{definition.version}-{instance}",
            cluster="c",
            service=definition.name,
            task_name=definition.name,
            task_version=definition.version,
            instance=instance,
            host=host or self.host,
            port=port,
            issue=self._issue,
            digest=codec.digest(definition),
            issued_at=0.0,
            **fields,
        )
        value = codec.encode(task)
        self.commit(Put(keys.task_by_id(task.id), value), Put(keys.task_by_host(task.host, task.id), value))
        return task

    def take_back(self, task: Task) -> None:
        """Delete both records of a task."""
        operations = []
        for key in (keys.task_by_id(task.id), keys.task_by_host(task.host, task.id)):
            entry = self.store.get(key)
            assert entry is not None, f"{key} is not there"
            operations.append(DeleteIf(key, entry.index))
        self.commit(*operations)

    def put(self, key: str, value: bytes) -> None:
        """Write one key."""
        self.commit(Put(key, value))

    def delete(self, key: str) -> None:
        """Delete one key."""
        entry = self.store.get(key)
        assert entry is not None, f"{key} is not there"
        self.commit(DeleteIf(key, entry.index))

    def commit(self, *operations: Operation) -> None:
        """Commit, and fail the test if that does not work."""
        outcome = self.store.commit(operations)
        assert isinstance(outcome, Committed), outcome

    def published(self) -> dict[str, TaskStatus]:
        """What ``state/status/<host>`` says."""
        entry = self.store.get(keys.status(self.host))
        return codec.decode(entry.value, HostStatus).tasks if entry else {}

    def notes(self) -> tuple[str, ...]:
        """What the agent wants people to know."""
        entry = self.store.get(keys.status(self.host))
        return codec.decode(entry.value, HostStatus).notes if entry else ()

    def await_phase(self, task: Task, phase: Phase, *, timeout_s: float = 20.0) -> TaskStatus:
        """Wait until the store says that this issue of the task is in ``phase``."""
        return self.await_status(task, lambda status: status.phase is phase, f"{phase}", timeout_s)

    def await_health(self, task: Task, health: Health, *, timeout_s: float = 20.0) -> TaskStatus:
        """Wait until the store says that the task runs with this health."""

        def is_so(status: TaskStatus) -> bool:
            return (status.phase, status.health) == (Phase.RUNNING, health)

        return self.await_status(task, is_so, f"running and {health}", timeout_s)

    def await_status(
        self, task: Task, is_so: Callable[[TaskStatus], bool], what: str, timeout_s: float = 20.0
    ) -> TaskStatus:
        """Wait until the store says that about this issue of the task."""

        def reached() -> TaskStatus | None:
            status = self.published().get(task.id)
            return status if status and status.issue == task.issue and is_so(status) else None

        try:
            found = wait_until(reached, timeout_s=timeout_s, what=f"{task.id} {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}; published: {self.published().get(task.id)}; {self.notes()}") from None
        assert found is not None
        return found

    def await_gone(self, task: Task) -> None:
        """Wait until the host lists the task no more."""
        wait_until(lambda: task.id not in self.published(), what=f"{task.id} gone: {self.published()}")

    def with_settings(self, **changes: object) -> None:
        """Change the settings of agents made from now on; ``restart`` takes the fields that differ."""
        if isinstance(restart := changes.get("restart"), dict):
            changes["restart"] = msgspec.structs.replace(self.settings.restart, **restart)
        self.settings = msgspec.structs.replace(self.settings, **changes)

    def close(self) -> None:
        """Stop every agent with all its tasks; where none runs, one more to stop what the last one left running."""
        if not any(agent._started for agent in self.agents):
            with contextlib.suppress(UsageError):
                self.start_agent()
        for agent in self.agents:
            assert agent.stop_everything(30.0), "the agent could not stop its tasks"
        self.store.close()


@pytest.fixture
def agent_world(tmp_path: Path) -> Generator[AgentWorld, None, None]:
    """A world on a memory store."""
    world = AgentWorld(MemoryStore(MemorySpace()), tmp_path)
    with contextlib.closing(world):
        yield world
