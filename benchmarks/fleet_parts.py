"""The processes of ``benchmarks.fleet``: the scheduler, and groups of hosts, each counting what it asks of Consul."""

import collections
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from reconciler.agent import identity
from reconciler.agent.loop import AgentDaemon
from reconciler.agent.scripts import script_runner
from reconciler.agent.settings import AgentSettings
from reconciler.health.native import NativeHealth
from reconciler.runtime.clock import SystemClock
from reconciler.scheduler.loop import SchedulerDaemon
from reconciler.store import sentinel
from reconciler.store.connect import open_store
from reconciler.store.consul_transport import Answer, Transport
from tests.support.pretend_executor import PretendExecutor

SESSION_TTL_S = 45.0
"""Three times the default: hundreds of hosts that share a few cores can't say in time that they live."""

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])  # so that all of them share what is imported


class Part:
    """A process that counts its requests to Consul and says how many, whenever it is asked."""

    def __init__(self, run: Callable[..., Any], *arguments: Any) -> None:
        self._pipe, theirs = FORKS.Pipe()
        self._process = FORKS.Process(target=run, args=(theirs, *arguments), daemon=True)
        self._process.start()
        self._pipe.recv()
        self.process = psutil.Process(self._process.pid)

    def counts(self) -> collections.Counter[str]:
        self._pipe.send(None)
        return collections.Counter(self._pipe.recv())

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


KINDS = ("watch", "listing", "key", "reads at once", "transaction", "session", "sign of life")
WRITES = (b'"set"', b'"cas"', b'"delete-cas"', b'"lock"', b'"unlock"')


def count_requests(pipe: Connection) -> Callable[[], None]:
    """Count every request of this process from now on; call what is returned to answer until the end."""
    counts: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()
    send = Transport._send  # noqa: SLF001 - every request goes through it, and only here does anybody count them

    def counted(
        self: Transport, method: str, path: str, query: Any, body: bytes | None, wait_s: float | None
    ) -> Answer:
        answer = send(self, method, path, query, body, wait_s)
        with lock:
            counts[_kind(path, dict(query), body or b"", wait_s)] += 1
            counts["lost sessions"] += path.startswith("/v1/session/create")
            counts["bytes"] += len(body or b"") + len(answer.body)
        return answer

    Transport._send = counted  # type: ignore[method-assign]  # noqa: SLF001 - the same

    def answer() -> None:
        pipe.send(None)
        while True:
            pipe.recv()
            with lock:
                pipe.send(dict(counts))

    return answer


def _kind(path: str, query: Mapping[str, Any], body: bytes, wait_s: float | None) -> str:
    if wait_s is not None:
        return "watch"
    match path.split("/")[2]:
        case "txn":
            return "transaction" if any(verb in body for verb in WRITES) else "reads at once"
        case "kv":
            return "listing" if "recurse" in query else "key"
        case "session":
            return "session"
    return "sign of life"


def run_scheduler(pipe: Connection, url: str) -> None:
    """The process of the scheduler."""
    answer = count_requests(pipe)
    daemon = SchedulerDaemon(open_store(url, environ={}), emit=lambda _: None)
    daemon.start()
    answer()


def run_hosts(pipe: Connection, url: str, names: Sequence[str], folder: Path) -> None:
    """A process of many hosts: for each the real agent, with connections of its own."""
    sys.setswitchinterval(0.1)  # or hundreds of threads that share one interpreter do little but ask for their turn
    os.nice(5)  # in a real fleet they take nothing from the machines of Consul and the scheduler
    answer = count_requests(pipe)
    for name in names:
        store = open_store(url, environ={})
        settings = AgentSettings(
            host=name, address="127.0.0.1", runtime_dir=folder / "run", session_ttl_s=SESSION_TTL_S
        )
        owner = identity.owner(settings, sentinel.read(store))
        executor = PretendExecutor(owner)
        health = NativeHealth(script_runner({"bash": executor}), SystemClock())
        agent = AgentDaemon(store, settings, {"bash": executor}, health, owner=owner, emit=lambda _: None)
        agent.start()
    answer()
