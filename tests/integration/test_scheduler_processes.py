"""``reconciler scheduler`` as processes of their own: ended, killed, frozen, relieved."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model import keys
from reconciler.store.connect import open_store
from reconciler.store.interface import Store
from tests.support.program import Program
from tests.support.scheduler_store import PretendAgents, declare_web, head, make_ours, tasks
from tests.support.wait import wait_until

TAKEOVER_S = 40.0
"""Far above what it takes (see docs/scheduling.md), because the machine may be busy."""

ROOT = Path(__file__).resolve().parents[2]

WAITS_BEFORE_ITS_FIRST_WRITE = """
import os, signal, sys, threading
from reconciler.scheduler.loop import SchedulerDaemon
from reconciler.store.connect import open_store
from reconciler.store.interface import PutIf

class Waits:
    def __init__(self, store):
        self.store, self.is_first = store, True

    def __getattr__(self, name):
        return getattr(self.store, name)

    def commit(self, operations):
        if self.is_first and any(isinstance(each, PutIf) for each in operations):
            self.is_first = False
            print("about to write", flush=True)
            sys.stdin.readline()
            outcome = self.store.commit(operations)
            print(type(outcome).__name__, outcome.why, flush=True)
            return outcome
        return self.store.commit(operations)

store = Waits(open_store(sys.argv[1], environ=os.environ))
daemon = SchedulerDaemon(store, emit=lambda event: None, identity="frozen")
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
daemon.start()
stop.wait()
daemon.stop()
print("stopped", flush=True)
"""


@pytest.fixture(params=["sqlite", pytest.param("consul", marks=pytest.mark.consul)])
def store(request: pytest.FixtureRequest, tmp_path: Path, program: Program) -> Iterator[Store]:
    """How the test looks at the store of the program."""
    url = f"sqlite://{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("consul").new_url()
    program.use(url)
    store = open_store(url, environ={})
    make_ours(store)
    yield store
    store.close()


def holder(store: Store) -> str | None:
    entry = store.get(keys.scheduler_lock("main"))
    return entry.holder if entry else None


def freeze(pid: int, url: str) -> None:
    """Stop a process, but not while one of its threads has a SQLite file locked: nobody else could write then."""
    scheme, _, path = url.partition("://")
    with contextlib.closing(sqlite3.connect(path if scheme == "sqlite" else ":memory:", timeout=20)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text(), what="it to be stopped")


def test_after_kill_9_another_one_takes_over_and_goes_on(store: Store, program: Program) -> None:
    agents = PretendAgents(store, "h1", "h2")
    declare_web(store, desired=2)
    first = program.start("scheduler", "--http", "127.0.0.1:0", name="first")
    wait_until(lambda: agents.healthy("web", 1, 2), timeout_s=TAKEOVER_S, what="two tasks")
    before, seq = holder(store), head(store).seq
    program.start("scheduler", "--http", "127.0.0.1:0", name="second")
    first.kill()
    declare_web(store, version=2, desired=2)
    wait_until(lambda: holder(store) not in (None, before), timeout_s=TAKEOVER_S, what="the other one to hold the lock")
    wait_until(lambda: agents.healthy("web", 2, 2), timeout_s=TAKEOVER_S, what="version 2")
    assert head(store).seq > seq


def test_sigterm_gives_the_lock_up_at_once_and_touches_no_task(store: Store, program: Program) -> None:
    agents = PretendAgents(store, "h1")
    declare_web(store, desired=2)
    daemon = program.start("scheduler", "--http", "127.0.0.1:0")
    wait_until(lambda: agents.healthy("web", 1, 2), timeout_s=TAKEOVER_S, what="two tasks")
    issued = tasks(store)
    assert daemon.stop() == 0
    assert holder(store) is None
    assert tasks(store) == issued


def test_one_that_is_frozen_past_its_session_and_woken_writes_nothing(
    store: Store, program: Program, tmp_path: Path
) -> None:
    agents = PretendAgents(store, "h1", "h2")
    declare_web(store, desired=3)
    log = tmp_path / "frozen.log"
    with log.open("wb") as output:
        frozen = subprocess.Popen(
            [sys.executable, "-c", WAITS_BEFORE_ITS_FIRST_WRITE, program.environ["RECONCILER_STORE"]],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=program.environ,
            cwd=ROOT,
        )
    assert frozen.stdin is not None
    try:
        wait_until(lambda: b"about to write" in log.read_bytes(), timeout_s=TAKEOVER_S, what="it to decide something")
        freeze(frozen.pid, program.environ["RECONCILER_STORE"])
        before = holder(store)
        assert before is not None
        assert tasks(store) == []
        program.start("scheduler", "--http", "127.0.0.1:0", name="other")
        wait_until(lambda: holder(store) not in (None, before), timeout_s=TAKEOVER_S, what="another one to take over")
        wait_until(lambda: agents.healthy("web", 1, 3), timeout_s=TAKEOVER_S, what="three tasks")
        issued, seq = tasks(store), head(store).seq

        frozen.send_signal(signal.SIGCONT)
        frozen.stdin.write(b"\n")
        frozen.stdin.flush()
        wait_until(lambda: b"Conflict" in log.read_bytes(), timeout_s=TAKEOVER_S, what="its write to be refused")
        assert f"{keys.scheduler_lock('main')}" in log.read_text()
        wait_until(lambda: agents.healthy("web", 1, 3), what="the same three tasks")
        assert tasks(store) == issued
        assert head(store).seq >= seq
    finally:
        frozen.send_signal(signal.SIGCONT)
        frozen.terminate()
        frozen.stdin.close()
        frozen.wait(20)
    assert b"stopped" in log.read_bytes()
