"""How a fleet behaves on a real Consul of three servers: hosts that run the real agent, and tasks that only pretend.

First everything is declared and has to become healthy, beside bare loops that write the same records
(``fleet_peers``); then a tenth of the tasks is updated, rolling. What counts is that ratio, and what it costs: requests
and bytes of the agents and of the scheduler, processor time and memory of everyone. The ratio is given in seconds, in
which the agents take part, and in processor time of the servers: of Consul and the scheduler, or of Consul and whoever
writes there.

``python -m benchmarks.fleet --hosts 500 --tasks 10000`` takes some minutes, with ``--skip-update`` less. Consul is
``.cache/consul/consul`` or ``CONSUL_BIN``; nothing is measured if there is none. Hosts share a few processes: one for
each would not fit.
"""

import argparse
import collections
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import psutil

from benchmarks.fleet_parts import KINDS, SESSION_TTL_S, Part, run_hosts, run_scheduler
from benchmarks.fleet_peers import Cost, commit, cpu_s, each_by_its_writer, in_transactions, one_by_one
from reconciler.model import codec, keys
from reconciler.model.manifests import BashContainer, BashExecutor, Cluster, RolloutPolicy, Service, TaskDefinition
from reconciler.model.task import HostStatus
from reconciler.store import sentinel
from reconciler.store.connect import open_store
from reconciler.store.interface import Operation, Put, Store
from reconciler.store.kept import KeptListing
from tests.support.consul import FETCHED, ConsulAgent, consul_servers

HOSTS_PER_PROCESS = 5
"""More of them would wait for each other's interpreter, which hosts of a real fleet don't."""
LARGEST_SERVICE = 100
MOST_S = 900.0
REST_S = 10.0
MIB = 1 << 20
CONNECTIONS_PER_HOST = 8
"""At most; on a server here they all come from one address, of which Consul takes 200 unless it is told otherwise."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet")
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--skip-update", action="store_true", help="only the first convergence and the rest after it")
    chosen = parser.parse_args(arguments)
    if not (os.environ.get("CONSUL_BIN") or FETCHED.is_file()):
        print(f"fleet: left out, there is no Consul at {FETCHED}")
        return
    print(f"fleet: {chosen.hosts} hosts, {chosen.tasks} tasks, 3 Consul servers, sessions of {SESSION_TTL_S:.0f} s")
    limits = {"limits": {"http_max_conns_per_client": 1000 + CONNECTIONS_PER_HOST * chosen.hosts}}
    with tempfile.TemporaryDirectory() as folder, consul_servers(Path(folder), limits) as servers:
        bench(servers, chosen, Path(folder))


def bench(servers: Sequence[ConsulAgent], chosen: argparse.Namespace, folder: Path) -> None:
    """The whole story."""
    hosts, tasks = chosen.hosts, chosen.tasks
    size = min(LARGEST_SERVICE, max(1, tasks // 20))
    names = [f"web-{number}" for number in range(tasks // size)]
    tasks = len(names) * size
    updated = names[: max(1, len(names) // 10)]
    moved = len(updated) * size
    with contextlib.closing(open_store(servers[0].url, environ={})) as store:
        sentinel.ensure(store, "the store of a benchmark")
        with contextlib.closing(Fleet(servers)) as fleet:
            fleet.enter(hosts, folder, store)
            watched = Health(store)
            with fleet.measured(f"first convergence of {tasks} tasks", tasks) as first:
                declare(store, names, 1, size)
                cluster = Cluster(name="main", services=tuple(names))
                commit(store, [Put(keys.config(cluster), codec.encode(cluster))])
                began = time.perf_counter()
                wait(lambda: issued(servers[0]) == tasks)
                issued_s = time.perf_counter() - began
                wait(lambda: watched.versions() == {1: tasks})
            print(f"    all were issued after {issued_s:.1f} s")
            records = store.list(keys.STATE).entries
            with fleet.measured("at rest", hosts):
                time.sleep(REST_S)
            if not chosen.skip_update:
                with fleet.measured(f"rolling update of {moved} tasks", moved):
                    declare(store, updated, 2, size)
                    wait(lambda: watched.versions() == {1: tasks - moved, 2: moved})
    compare(first, f"a bare loop over the same {len(records)} records", one_by_one(servers, records))
    compare(first, "the same in full transactions", in_transactions(servers, records))
    compare(first, "the same, but each host's status by itself", each_by_its_writer(servers, records))


def compare(first: Cost, what: str, peer: Cost) -> None:
    """Print what a peer needed to write what the first convergence left there, and how much more that was."""
    print(f"  {what:<50} {peer.taken_s:8.1f} s")
    print(f"    processor: consul and who schedules {peer.servers_s:.1f} s")
    servers_s = max(peer.servers_s, 0.01)  # the system counts in hundredths, and few records may need none
    print(
        f"    the first convergence takes {first.taken_s / peer.taken_s:.2f} times as long, "
        f"and {first.servers_s / servers_s:.2f} times the servers' processor time"
    )


def declare(store: Store, names: Sequence[str], version: int, size: int) -> None:
    """Write services of ``size`` tasks, each with a definition of this version."""
    operations: list[Operation] = []
    for name in names:
        container = BashContainer(name="main", executor=BashExecutor(start=(f"exec serve {name}",)))
        definition = TaskDefinition(name=name, version=version, containers=(container,), memory=64, cpu_units=16)
        service = Service(
            name=name,
            task_name=name,
            task_version=version,
            desired=size,
            min=size - size // 10,
            max=size + max(1, size // 10),
            rollout=RolloutPolicy(healthy_after="1ms"),  # there is no check, and nothing to wait for
        )
        operations += [Put(keys.config(each), codec.encode(each)) for each in (definition, service)]
    commit(store, operations)


def entered(store: Store, hosts: int) -> bool:
    """Whether so many hosts are there."""
    return sum(each.holder is not None for each in store.list(keys.HOST_STATES).entries) == hosts


def issued(server: ConsulAgent) -> int:
    """How many tasks there are, by their names alone."""
    tasks = server.call("GET", f"kv/{keys.STATE}?keys&separator=_/")
    return len(server.call("GET", f"kv/{keys.TASKS_BY_ID}?keys")) if keys.TASKS_BY_ID in tasks else 0


class Health:
    """What the hosts say, read as a scheduler does, so that watching costs little beside what is measured."""

    def __init__(self, store: Store) -> None:
        self._listing = KeptListing(store, keys.STATUSES)
        self._counts: dict[str, tuple[int, collections.Counter[int]]] = {}

    def versions(self) -> Mapping[int, int]:
        """How many tasks of each version there are; one that is not healthy counts for version 0."""
        total: collections.Counter[int] = collections.Counter()
        for entry in self._listing.read({}):
            index, counts = self._counts.get(entry.key, (0, total))
            if index != entry.index:
                tasks = codec.decode(entry.value, HostStatus).tasks
                counts = collections.Counter(
                    int(task_id.rsplit("-", 2)[1]) if status.healthy else 0 for task_id, status in tasks.items()
                )
                self._counts[entry.key] = entry.index, counts
            total += counts
        return total


def wait(reached: Callable[[], bool]) -> None:
    """Look now and then, so that looking costs little beside what is measured."""
    end = time.monotonic() + MOST_S
    while True:
        began = time.monotonic()
        if reached():
            return
        assert began < end, f"not reached in {MOST_S:.0f} s"
        time.sleep(max(0.5, 10 * (time.monotonic() - began)))


class Reading(msgspec.Struct):
    """What everyone has used up so far. ``counts``: requests by kind, bytes, passes."""

    at: float
    cpu_s: dict[str, float]
    counts: dict[str, collections.Counter[str]]


class Fleet:
    """A scheduler and many hosts, in processes of their own."""

    def __init__(self, servers: Sequence[ConsulAgent]) -> None:
        self._urls = [server.url for server in servers]
        self._servers = [psutil.Process(server.pid) for server in servers]
        self._scheduler = Part(run_scheduler, servers[0].url)
        self._agents: list[Part] = []

    def enter(self, hosts: int, folder: Path, store: Store) -> None:
        """Start the hosts, the next ones when those before are in the store: a real fleet does not appear at once."""
        names = [f"host-{number:04}" for number in range(hosts)]
        for start in range(0, hosts, HOSTS_PER_PROCESS):
            some = names[start : start + HOSTS_PER_PROCESS]
            url = self._urls[len(self._agents) % len(self._urls)]
            self._agents.append(Part(run_hosts, url, some, folder))
            wait(partial(entered, store, start + len(some)))

    def close(self) -> None:
        """End all of it, without farewell."""
        for part in (self._scheduler, *self._agents):
            part.kill()

    @contextlib.contextmanager
    def measured(self, what: str, changes: int) -> Iterator[Cost]:
        """Print what everyone used up inside; yields what is filled in at the end."""
        cost = Cost()
        before, spent_before = self._read(), psutil.cpu_times()
        yield cost
        after, spent = self._read(), psutil.cpu_times()
        cpu = {name: after.cpu_s[name] - before.cpu_s[name] for name in after.cpu_s}
        cost.taken_s, cost.servers_s = after.at - before.at, cpu["consul"] + cpu["scheduler"]
        print(f"  {what:<50} {cost.taken_s:8.1f} s")
        print("    processor: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in cpu.items()))
        print(
            "    memory: " + ", ".join(f"{name} {_memory(parts):.0f} MiB" for name, parts in self._processes().items())
        )
        busy = 1 - (spent.idle - spent_before.idle) / (sum(spent) - sum(spent_before))
        print(f"    the machine was busy for {busy:.0%} of its processors' time, with all that ran on it")
        for name, counted in after.counts.items():
            used = counted - before.counts[name]
            sent = sum(count for kind, count in used.items() if kind in KINDS)
            shown = ", ".join(f"{used[kind]} {kind}" for kind in KINDS if used[kind])
            if lost := used["lost sessions"]:
                shown += f", {lost} sessions lost: the hosts came too late to say that they live"
            per = f"{sent / changes:.1f} requests and {used['bytes'] / changes:,.0f} bytes each" if changes else ""
            print(f"    {name}: {sent} requests ({shown}), {used['bytes'] / MIB:.1f} MiB; {per}")

    def _processes(self) -> dict[str, list[psutil.Process]]:
        return {
            "consul": self._servers,
            "scheduler": [self._scheduler.process],
            "agents": [agent.process for agent in self._agents],
        }

    def _read(self) -> Reading:
        agents: collections.Counter[str] = collections.Counter()
        for agent in self._agents:
            agents.update(agent.counts())
        return Reading(
            at=time.perf_counter(),
            cpu_s={name: sum(map(cpu_s, each)) for name, each in self._processes().items()},
            counts={"scheduler": self._scheduler.counts(), "agents": agents},
        )


def _memory(processes: Sequence[psutil.Process]) -> float:
    """What several share counts once."""
    return float(sum(process.memory_full_info().pss for process in processes)) / MIB


if __name__ == "__main__":
    main()
