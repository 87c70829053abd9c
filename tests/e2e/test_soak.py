"""Minutes of random deaths, restarts, scaling and new versions, after which everything is where it was.

``SOAK_MINUTES`` is for how long (3; ``make soak`` takes 30), ``SOAK_SEED`` which course it takes; it prints the steps.
Bounds are on counts, never on time.
"""

import collections
import contextlib
import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from tests.e2e.conftest import bash_tasks
from tests.support.consul import ConsulAgent, StartConsul
from tests.support.docker import DockerEngine
from tests.support.manifests import docker_definition, manifest, service, write
from tests.support.program import Daemon, Program
from tests.support.wait import wait_until

MINUTES = float(os.environ.get("SOAK_MINUTES", "3"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
SETTLE_S = 150.0
"""What it may take in the end: delays of restarts grow to a minute."""
DESIRED = {"proc": 4, "web": 2}
MOST_CONNECTIONS = {"tcp": 16, "unix": 24}
"""To Consul and to Docker. A pool keeps as many open as were ever used at once, which is few and soon reached: 6 and 12
after seven minutes. So it is bounded, and not compared with the beginning.
"""
MORE_MIB = 25

pytestmark = [
    pytest.mark.consul,
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.xdist_group("soak"),
    pytest.mark.timeout(60 * MINUTES + 3 * SETTLE_S),
]


class Counts(msgspec.Struct):
    """What there is of everything, once all is quiet. ``files``: how many of each kind the agent keeps."""

    processes: int
    containers: int
    files: dict[str, int]
    descriptors: dict[str, dict[str, int]]
    rss_mib: dict[str, float]


class Soak:
    """A store, a scheduler and an agent with two services, and all that can happen to them."""

    def __init__(self, program: Program, consul: ConsulAgent, engine: DockerEngine) -> None:
        self.program = program
        self.consul = consul
        self.engine = engine
        self.rng = random.Random(SEED)
        self.desired = dict(DESIRED)
        self.versions = dict.fromkeys(DESIRED, 1)
        self.began = time.monotonic()
        self.daemons: dict[str, Daemon] = {}
        program.use(consul.url)
        for name in ("scheduler", "agent"):
            self.start(name)
        self.apply()

    def start(self, name: str) -> None:
        # what has failed is kept for people to look at, which would count here
        arguments = ("--address", "127.0.0.1", "--keep-ended", "0s") if name == "agent" else ()
        self.daemons[name] = self.program.start(name, "--http", "127.0.0.1:0", *arguments)

    def apply(self) -> None:
        """Declare what should be."""
        doubled = self.program.folder / "doubled"
        lock = f'exec 9>>"{self.program.folder}/$RECONCILER_TASK_ID.lock"; flock -n 9 || echo twice >>"{doubled}"'
        executor = {"start": [lock, "exec sleep 100000"]}
        proc = {"name": "proc", "version": self.versions["proc"],
                "containers": [{"name": "main", "type": "bash", "executor": executor}]}  # fmt: skip
        image = self.engine.image(str(self.versions["web"] % 2))
        web = docker_definition("web", image, self.versions["web"], container_port=80)
        services = [
            service(name, self.versions[name], self.desired[name], max=self.desired[name] + 2) for name in DESIRED
        ]
        content = manifest(cluster="c", services=services, definitions=[proc, web])
        path = write(self.program.folder / "soak.json", content)
        wait_until(lambda: self.program.run("apply", "-f", str(path)).returncode == 0, timeout_s=SETTLE_S, every_s=1.0)

    def kill_a_process(self) -> None:
        pids = sorted(pid for found in bash_tasks(self.program).values() for pid in found)
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.rng.choice(pids), signal.SIGKILL)

    def kill_a_container(self) -> None:
        running = sorted(each["Id"] for each in self.engine.containers() if each["State"] == "running")
        if running:
            with contextlib.suppress(Exception):  # it may have ended meanwhile
                self.engine.client.kill(self.rng.choice(running))

    def kill_the_agent(self) -> None:
        self.daemons["agent"].kill()
        self.start("agent")

    def kill_the_scheduler(self) -> None:
        self.daemons["scheduler"].kill()
        self.start("scheduler")

    def scale(self) -> None:
        name = self.rng.choice(list(DESIRED))
        self.desired[name] = self.rng.randint(1, 2 * DESIRED[name])
        self.apply()

    def new_version(self) -> None:
        self.versions[self.rng.choice(list(DESIRED))] += 1
        self.apply()

    def restart_the_store(self) -> None:
        self.consul.restart()

    def do(self, *actions: Callable[[], None], weights: tuple[int, ...] | None = None) -> None:
        """One of these, at random."""
        (action,) = self.rng.choices(actions, weights)
        print(f"{time.monotonic() - self.began:7.1f} s  {action.__name__}", flush=True)
        action()
        time.sleep(self.rng.uniform(0.1, 2.0))

    def settle(self) -> Counts:
        """Ask for what there was in the beginning, wait until exactly that is there, and count."""
        self.desired = dict(DESIRED)
        self.apply()
        rows = {name: self.program.healthy(name, count, version=self.versions[name], timeout_s=SETTLE_S)
                for name, count in DESIRED.items()}  # fmt: skip
        issued = {name: {row["id"] for row in found} for name, found in rows.items()}

        def nothing_else() -> bool:
            return set(bash_tasks(self.program)) == issued["proc"] and len(self.engine.containers()) == DESIRED["web"]

        wait_until(nothing_else, timeout_s=SETTLE_S, what="exactly what is issued runs", every_s=0.5)
        wait_until(lambda: len(self.files("tasks/*")) == DESIRED["proc"], timeout_s=SETTLE_S, what="no other folders")
        return self.count()

    def files(self, pattern: str) -> list[Path]:
        return list((self.program.folder / "run/bash").glob(pattern))

    def count(self) -> Counts:
        processes = {name: psutil.Process(daemon.pid) for name, daemon in self.daemons.items()}
        run = self.program.folder / "run"
        kinds = (re.sub(r"[0-9a-f]{8}|[0-9]+", "N", str(path.relative_to(run))) for path in run.rglob("*"))
        return Counts(
            processes=sum(map(len, bash_tasks(self.program).values())),
            containers=len(self.engine.containers()),
            files=dict(collections.Counter(kinds)),
            descriptors={name: open_files(process.pid) for name, process in processes.items()},
            rss_mib={name: process.memory_info().rss / (1 << 20) for name, process in processes.items()},
        )


def open_files(pid: int) -> dict[str, int]:
    """How many descriptors of each kind a process has open; of connections, how many of each family."""
    kinds: collections.Counter[str] = collections.Counter()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if not (target := str(link.readlink())).startswith("socket:"):
                kinds[re.sub(r"[0-9]+", "N", target)] += 1
    for each in psutil.Process(pid).net_connections(kind="all"):
        family = "unix" if each.family == socket.AF_UNIX else "tcp"
        kinds["listener" if each.status == psutil.CONN_LISTEN else family] += 1
    return dict(kinds)


def beyond(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    """What of ``now`` is more than there may be."""
    return {kind: count for kind, count in now.items() if count > MOST_CONNECTIONS.get(kind, before.get(kind, 0))}


def test_after_minutes_of_trouble_everything_is_where_it_was(
    program: Program, start_consul: StartConsul, docker_engine: DockerEngine
) -> None:
    soak = Soak(program, start_consul(is_dev=False), docker_engine)
    soak.settle()
    # each kind once, so that what is loaded and opened on the way counts as being there from the beginning
    for action in (soak.kill_a_process, soak.kill_a_container, soak.restart_the_store, soak.new_version,
                   soak.kill_the_scheduler, soak.kill_the_agent):  # fmt: skip
        soak.do(action)
    before = soak.settle()

    end = time.monotonic() + 60 * MINUTES
    deaths = (soak.kill_a_process, soak.kill_a_container)
    changes = (soak.scale, soak.new_version, soak.restart_the_store)
    while (left_s := end - time.monotonic()) > 0:
        # in the second half they live on: what they leak is to be seen
        restarts = (soak.kill_the_agent, soak.kill_the_scheduler) if left_s > 30 * MINUTES else ()
        actions = (*deaths, *changes, *restarts)
        soak.do(*actions, weights=(6, 4, 2, 1, 1, 2, 1)[: len(actions)])
    after = soak.settle()

    print(f"before: {before}\nafter:  {after}")
    assert not (program.folder / "doubled").exists(), "no task ever ran twice at once"
    assert after.processes <= 2 * DESIRED["proc"], "a shell and its child each, or one of them"
    assert (after.containers, after.files) == (before.containers, before.files)
    for name in soak.daemons:
        # what is looked at in this moment is open for a moment
        wait_until(lambda name=name: not beyond(before.descriptors[name], open_files(soak.daemons[name].pid)),  # type: ignore[misc]
                   what=f"nothing open that {name} did not have open before: {before.descriptors[name]}")  # fmt: skip
        assert after.rss_mib[name] <= before.rss_mib[name] + MORE_MIB, name
