"""How long ``sync`` takes with 10,000 files in a real git repository and a real Consul, beside what it can't avoid.

The first sync stands beside a bare loop that writes the same values in transactions of 64 over one connection; a
changed file beside git's own fetch of the same commit into another copy. Runs alternate, and what counts are the
ratios (and differences) of their medians. Consul is a dev agent of its own (``.cache/consul/consul`` or
``CONSUL_BIN``), on free ports; nothing is measured if there is none.
"""

import base64
import contextlib
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path

from prometheus_client import REGISTRY

from benchmarks.manifests import DEFINITION, SERVICE
from reconciler.manifests.git_remote import git_remote
from reconciler.manifests.git_source import GitSource
from reconciler.manifests.source import Revision
from reconciler.model import keys
from reconciler.runtime.clock import SystemClock
from reconciler.store import sentinel
from reconciler.store.interface import CommitResult, Operation, Store
from reconciler.sync import lock, loop, observe
from reconciler.sync.passes import SourceSync
from tests.support.consul import FETCHED, ConsulAgent
from tests.support.git import GitRepository
from tests.support.sync import WatchedStore
from tests.support.wait import wait_until

CLUSTERS = 100
SERVICES = 4950
"""Each with a definition. Every object has a file of its own: 10,000 of both."""
CHANGES = (1, 100)
"""How many of the files a commit changes."""
POLLS = 50
RUNS = 5
OPERATIONS = 64
ROOT = Path(__file__).resolve().parent.parent


def service(number: int, desired: int = 3) -> dict[str, str]:
    """The file of a service."""
    return {f"{cluster_of(number)}/web-{number}.service.yml": SERVICE.format(number=number, desired=desired)}


def cluster_of(number: int) -> str:
    """The cluster of a service, and the folder of its files."""
    return f"cluster-{number % CLUSTERS}"


def manifests() -> dict[str, str]:
    """All files."""
    files: dict[str, str] = {}
    for number in range(CLUSTERS):
        names = ", ".join(f"web-{each}" for each in range(number, SERVICES, CLUSTERS))
        cluster = cluster_of(number)
        files[f"{cluster}/cluster.yml"] = f"clusters:\n  - name: {cluster}\n    services: [{names}]\n"
    for number in range(SERVICES):
        files |= service(number)
        files[f"{cluster_of(number)}/web-{number}.yml"] = DEFINITION.format(number=number)
    return files


class Clocked(WatchedStore):
    """Notes when commits to ``config/*`` began and ended."""

    began_at = ended_at = 0.0

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        now = time.perf_counter()
        result = super().commit(operations)
        if any(each.key.startswith(keys.CONFIG) for each in operations):
            self.began_at, self.ended_at = self.began_at or now, time.perf_counter()
        return result


class Pass(contextlib.ExitStack):
    """What the daemon does when it hears of a push, step by step; with a root of its own in the store, and its lock."""

    def __init__(self, agent: ConsulAgent, repository: GitRepository, cache: Path) -> None:
        super().__init__()
        self.store = Clocked(new_store(agent))
        self.callback(self.store.close)
        self.source = GitSource("fleet", git_remote(repository.url), cache=cache)
        self.callback(self.source.close)
        self.sync = SourceSync(self.store, self.source, clock=SystemClock(), emit=lambda _: None)
        held = lock.holding(self.store, self.source.name, wait_s=30.0, clock=SystemClock())
        self._fence = self.enter_context(held)
        self.read_at = self.over_at = 0.0

    def run(self) -> None:
        """Fetch, and have it in the store."""
        self.store.began_at = 0.0
        revision = self.source.read()
        self.read_at = time.perf_counter()
        intent, _ = observe.intent_of(self.store, self.source.name)
        outcome = self.sync.run(self._fence, revision, is_confirmed=True, intent=intent)
        assert not outcome.problems, outcome.problems
        self.over_at = time.perf_counter()

    @property
    def done(self) -> tuple[int, int, int]:
        """How many files were parsed, reads and commits made so far."""
        return self.sync.parsed_files, self.store.reads, len(self.store.commits)


class TimedSource(GitSource):
    """Notes at each read how long all passes and reads before took, and how often the store was read."""

    store: WatchedStore
    read_s = 0.0

    def read(self) -> Revision:
        labels = {"loop": f"sync {self.name}"}
        passes_s = REGISTRY.get_sample_value("reconciler_pass_seconds_sum", labels) or 0.0
        self.noted.append((passes_s - self.read_s, self.store.reads, len(self.store.commits)))
        began = time.perf_counter()
        try:
            return super().read()
        finally:
            self.read_s += time.perf_counter() - began

    @cached_property
    def noted(self) -> list[tuple[float, int, int]]:
        """What was noted."""
        return []


def new_store(agent: ConsulAgent) -> Store:
    """A root of its own in a Consul."""
    store = agent.store()
    sentinel.ensure(store, store.url)
    return store


def timed(run: Callable[[], object]) -> float:
    """How many seconds it took."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def show(what: str, taken: Sequence[float]) -> float:
    """Print a line; the median."""
    median = statistics.median(taken)
    print(f"  {what:<60} {median * 1000:9.1f} ms  ({min(taken) * 1000:.1f} to {max(taken) * 1000:.1f})")
    return median


def bare_loop(agent: ConsulAgent, root: str, values: Sequence[tuple[str, bytes]]) -> None:
    """Write values in transactions of 64 and do nothing else."""
    connection = http.client.HTTPConnection(agent.address, agent.http_port)
    for start in range(0, len(values), OPERATIONS):
        body = [
            {"KV": {"Verb": "set", "Key": root + key, "Value": base64.b64encode(value).decode()}}
            for key, value in values[start : start + OPERATIONS]
        ]
        connection.request("PUT", "/v1/txn", json.dumps(body))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
    connection.close()


def peak_mb(agent: ConsulAgent, repository: GitRepository, cache: Path) -> float:
    """How much memory ``sync --once`` takes, as a program of its own."""
    with contextlib.closing(new_store(agent)) as store:
        command = [sys.executable, "-m", "reconciler", "sync", "--once", "--store", store.url, "--git", repository.url]
        environ = os.environ | {"XDG_CACHE_HOME": str(cache)}
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, process.returncode
    return used.ru_maxrss / 1024


def first(agent: ConsulAgent, repository: GitRepository, folder: Path) -> None:
    """All objects into an empty store."""
    bare: list[float] = []
    whole: list[float] = []
    parts: list[tuple[float, ...]] = []
    for run in range(RUNS):
        with Pass(agent, repository, folder / f"first-{run}") as one:
            began = time.perf_counter()
            one.run()
            marks = (began, one.read_at, one.store.began_at, one.store.ended_at, one.over_at)
            values = [(entry.key, entry.value) for entry in one.store.list(keys.CONFIG).entries]
        whole.append(one.over_at - began)
        parts.append(tuple(until - since for since, until in itertools.pairwise(marks)))
        bare.append(timed(partial(bare_loop, agent, f"bare-{run}/", values)))
    print(f"sync: the first {len(values) - 1:,} objects")
    copied, loaded, written, noted = zip(*parts, strict=True)
    peer = show(f"bare loop: the same values in transactions of {OPERATIONS}", bare)
    total = show("all of the first sync", whole)
    show("  git's fetch, and every file out of its copy", copied)
    show("  parse, check and plan", loaded)
    writing = show("  write the objects", written)
    show("  find the commit of each file, and write it", noted)
    print(f"  as a whole {total / peer:.1f} times as long as the bare loop, writing {writing / peer:.2f} times")
    print(f"  {peak_mb(agent, repository, folder / 'shell'):.0f} MB at most")


def later(agent: ConsulAgent, repository: GitRepository, folder: Path) -> None:
    """Commits that change little, and passes in which nothing is new."""
    desired = itertools.count(10)
    copy = folder / "peer.git"
    repository.git("clone", "--quiet", "--bare", repository.url, str(copy))
    with Pass(agent, repository, folder / "later") as one:
        one.run()
        for count in CHANGES:
            fetched, committed, over, used = list[float](), list[float](), list[float](), list[float]()
            for _ in range(RUNS):
                value = next(desired)
                repository.commit({name: text for each in range(count) for name, text in service(each, value).items()})
                fetched.append(timed(lambda: repository.git("--git-dir", str(copy), "fetch", "--quiet", "origin")))
                before, began, used_before = one.done, time.perf_counter(), time.process_time()
                one.run()
                committed.append(one.store.ended_at - began)
                over.append(one.over_at - began)
                used.append(time.process_time() - used_before)
                done = [now - then for now, then in zip(one.done, before, strict=True)]
            print(f"sync: {count} of {CLUSTERS + 2 * SERVICES:,} files changed")
            fetch = show("git's own fetch, into another copy", fetched)
            commit = show("fetched, and committed to the store", committed)
            show("the pass is over: the commits of the files are noted too", over)
            show("  of which this process computed", used)
            print(f"  {(commit - fetch) * 1000:.0f} ms beyond git's fetch; {said(done)}")
        fetched, over = [], []
        for _ in range(RUNS):
            fetched.append(timed(lambda: repository.git("--git-dir", str(copy), "fetch", "--quiet", "origin")))
            before = one.done
            one.run()
            over.append(one.over_at - one.read_at)
            done = [now - then for now, then in zip(one.done, before, strict=True)]
        print("sync: nothing changed")
        show("git's own fetch", fetched)
        show("a pass that compares with all that is stored, after its fetch", over)
        print(f"  {said(done)}")


def polls(agent: ConsulAgent, repository: GitRepository, folder: Path) -> None:
    """What the daemon does beside fetching while nothing is new."""
    with contextlib.closing(new_store(agent)) as store:
        source = TimedSource("fleet", git_remote(repository.url), cache=folder / "polls")
        source.store = WatchedStore(store)
        daemon = loop.SyncDaemon(source.store, source, emit=lambda _: None, poll_s=0.05)
        daemon.start()
        try:
            wait_until(lambda: len(source.noted) > 2 * POLLS, timeout_s=300, what="passes of the daemon")
        finally:
            daemon.stop()
    passes = list(itertools.pairwise(source.noted[-POLLS:]))
    show("a poll of the daemon, after its fetch", [now[0] - then[0] for then, now in passes])
    done = {(now[1] - then[1], now[2] - then[2]) for then, now in passes}
    print("  " + "; ".join(f"{reads} reads, {commits} transactions" for reads, commits in sorted(done)))


def said(done: Sequence[int]) -> str:
    """What a pass did, for people."""
    return "{} files parsed, {} reads, {} transactions".format(*done)


def main() -> None:
    """Print the tables."""
    if not (os.environ.get("CONSUL_BIN") or FETCHED.is_file()):
        print("sync: not measured: there is no Consul (scripts/get-consul)")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repository = GitRepository(folder / "repository")
        repository.commit(manifests())
        agent = ConsulAgent(folder / "consul")
        agent.start()
        try:
            first(agent, repository, folder)
            later(agent, repository, folder)
            polls(agent, repository, folder)
        finally:
            agent.stop()


if __name__ == "__main__":
    main()
