"""What one agent costs: starting and stopping many tasks, and doing nothing with them for half a minute.

A real ``reconciler agent`` on a real Consul runs plain processes that sleep, and containers if an engine answers.
Starts and stops are shown per task, since what counts is that a task does not become dearer beside others.

``python -m benchmarks.agent --tasks 50 500 --containers 20 --rest 30``; nothing is measured if there is no Consul.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import psutil

from reconciler.model import codec, keys
from reconciler.model.manifests import (
    BashContainer,
    BashExecutor,
    Container,
    DockerContainer,
    DockerExecutor,
    TaskDefinition,
)
from reconciler.model.task import HostStatus, Task, TaskStatus
from reconciler.store import chunks, sentinel
from reconciler.store.connect import open_store
from reconciler.store.interface import Committed, DeleteIf, Operation, Put, Store
from tests.support.consul import FETCHED, ConsulAgent
from tests.support.docker import DockerEngine, connected

MOST_S = 600.0
SETTLE_S = 3.0
MIB = 1 << 20
HOST = "bench"
HEADER = (
    "  tasks          start, ms each (cpu)   stop, ms each (cpu)   RSS, PSS (MiB)   at rest: cpu  requests/min  wakes/s"
)


class Used(msgspec.Struct):
    """What an agent has used up since it began. ``wakes``: how often one of its threads went to sleep of its own."""

    at: float
    cpu_s: float
    wakes: int
    requests: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent")
    parser.add_argument("--tasks", type=int, nargs="+", default=[0, 50, 100, 200, 500])
    parser.add_argument("--containers", type=int, nargs="*", default=[20])
    parser.add_argument("--rest", type=float, default=30.0, help="seconds of doing nothing to measure")
    chosen = parser.parse_args(arguments)
    if not (os.environ.get("CONSUL_BIN") or FETCHED.is_file()):
        print(f"agent: left out, there is no Consul at {FETCHED}")
        return
    print(f"agent: one host, tasks of one process each, {chosen.rest:g} s at rest (load {os.getloadavg()[0]:.1f})")
    print(HEADER)
    process = BashContainer(name="main", executor=BashExecutor(start=("exec sleep 100000",)))
    for tasks in chosen.tasks:
        with tempfile.TemporaryDirectory() as folder, bench_of(Path(folder)) as bench:
            bench.run(process, tasks, chosen.rest)
    client = connected()
    if isinstance(client, str):
        print("  containers: left out, no Docker engine answers")
        return
    with contextlib.closing(client), contextlib.ExitStack() as stack:
        engine = DockerEngine(client)
        stack.callback(engine.clean)
        container = DockerContainer(name="main", executor=DockerExecutor(image=engine.image()))
        for tasks in chosen.containers:
            with tempfile.TemporaryDirectory() as folder, bench_of(Path(folder)) as bench:
                bench.run(container, tasks, chosen.rest)


@contextlib.contextmanager
def bench_of(folder: Path) -> Iterator["Bench"]:
    """A Consul and an agent of their own, ended afterwards."""
    consul = ConsulAgent(folder / "consul", config={"log_level": "debug"})
    consul.start()
    try:
        with contextlib.closing(open_store(consul.url, environ={})) as store:
            sentinel.ensure(store, "the store of a benchmark")
            bench = Bench(consul, store, folder)
            try:
                yield bench
            finally:
                bench.close()
    finally:
        consul.stop()


class Bench:
    """An agent, and the scheduler's part in what it does."""

    def __init__(self, consul: ConsulAgent, store: Store, folder: Path) -> None:
        self._consul = consul
        self._store = store
        self._output = folder / "agent.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
        command = ["agent", "--host", HOST, "--address", "127.0.0.1", "--http", "off",
                   "--store", consul.url, "--runtime-dir", str(folder / "run")]  # fmt: skip
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", *command],
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        self._agent = psutil.Process(self._process.pid)
        self._wait(lambda: store.get(keys.status(HOST)) is not None)

    def run(self, container: Container, tasks: int, rest_s: float) -> None:
        """Start, rest, stop; one line of the table."""
        issued = self._issue(container, tasks)
        with self._measured() as starting:
            self._commit(
                [
                    [Put(key, codec.encode(task))]
                    for task in issued
                    for key in (keys.task_by_id(task.id), keys.task_by_host(HOST, task.id))
                ]
            )
            self._wait(lambda: sum(status.healthy for status in self._published().values()) == tasks)
        time.sleep(SETTLE_S)
        with self._measured() as resting:
            time.sleep(rest_s)
        memory = self._agent.memory_full_info()
        with self._measured() as stopping:
            self._take_back()
            self._wait(lambda: not self._published())
        rest = resting[0]
        print(
            f"  {tasks:5} {container.type:6}    {_each(starting[0], tasks)}        {_each(stopping[0], tasks)}"
            f"       {memory.rss / MIB:7.1f}  {memory.pss / MIB:7.1f}       {rest.cpu_s / rest.at:7.2%}"
            f"    {rest.requests / rest.at * 60:10.0f}  {rest.wakes / rest.at:7.1f}"
        )

    def close(self) -> None:
        """Stop what is left, then the agent."""
        self._take_back()
        with contextlib.suppress(AssertionError):
            self._wait(lambda: not self._published())
        self._process.terminate()
        self._process.wait(30)

    def _issue(self, container: Container, count: int) -> list[Task]:
        """The definition is written, the records are not yet."""
        definition = TaskDefinition(name="web", version=1, containers=(container,))
        self._commit([[Put(keys.config(definition), codec.encode(definition))]])
        return [
            Task(
                id=f"main-web-1-{number}",
                cluster="main",
                service="web",
                task_name="web",
                task_version=1,
                instance=number,
                host=HOST,
                port=0,
                issue=number + 1,
                digest=codec.digest(definition),
                issued_at=0.0,
            )
            for number in range(count)
        ]

    def _take_back(self) -> None:
        entries = [entry for prefix in (keys.TASKS_BY_ID, keys.tasks_of_host(HOST))
                   for entry in self._store.list(prefix).entries]  # fmt: skip
        self._commit([[DeleteIf(entry.key, entry.index)] for entry in entries])

    def _commit(self, groups: Sequence[Sequence[Operation]]) -> None:
        for chunk in chunks.split(groups, self._store.limits):
            outcome = self._store.commit(chunk)
            assert isinstance(outcome, Committed), outcome

    def _published(self) -> dict[str, TaskStatus]:
        entry = self._store.get(keys.status(HOST))
        return codec.decode(entry.value, HostStatus).tasks if entry else {}

    def _wait(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + MOST_S
        while not reached():
            assert time.monotonic() < end, f"not reached in {MOST_S:.0f} s"
            assert self._process.poll() is None, self._output.read_text(errors="replace")[-4000:]
            time.sleep(0.1)

    @contextlib.contextmanager
    def _measured(self) -> Iterator[list[Used]]:
        """Yields a list to which the difference is added at the end."""
        taken: list[Used] = []
        before = self._used()
        yield taken
        after = self._used()
        taken.append(Used(*(getattr(after, name) - getattr(before, name) for name in Used.__struct_fields__)))

    def _used(self) -> Used:
        used = self._agent.cpu_times()
        return Used(
            at=time.perf_counter(),
            cpu_s=used.user + used.system,
            wakes=_sleeps(self._process.pid),
            requests=self._consul.log.read_bytes().count(b"Request finished"),
        )


def _sleeps(pid: int) -> int:
    """How often the threads of a process went to sleep."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):
            for line in status.read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
    return total


def _each(used: Used, tasks: int) -> str:
    return f"{used.at * 1000 / max(tasks, 1):7.1f} ({used.cpu_s * 1000 / max(tasks, 1):5.1f})"


if __name__ == "__main__":
    main()
