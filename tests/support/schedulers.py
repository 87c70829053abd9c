"""The real scheduler daemon for tests: started on each kind of store, and what it says remembered."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.model import keys
from reconciler.model.events import Event
from reconciler.model.task import RolloutPhase
from reconciler.scheduler.loop import SchedulerDaemon
from reconciler.store.interface import Store
from reconciler.store.memory import MemorySpace, MemoryStore
from reconciler.store.sqlite import SqliteStore
from tests.support.scheduler_store import rollout
from tests.support.wait import wait_until

TTL_S = 3.0

Connect = Callable[[], Store]
"""Opens one more connection to the store of the test."""


@pytest.fixture(params=["memory", "sqlite", pytest.param("consul", marks=pytest.mark.consul)])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    """One store, and another connection to it with each call; the test runs on each kind of store."""
    space = MemorySpace()
    url = request.getfixturevalue("consul").new_url() if request.param == "consul" else ""
    opened: list[Store] = []

    def open_one() -> Store:
        store: Store
        if request.param == "memory":
            store = MemoryStore(space)
        elif request.param == "sqlite":
            store = SqliteStore(tmp_path / "store.db")
        else:
            store = request.getfixturevalue("consul").store(url)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


class Schedulers:
    """Starts daemons, each on a connection of its own, and remembers what they say."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.started: list[SchedulerDaemon] = []
        self.events: list[Event] = []

    def start(self, name: str = "default", reschedule_after_s: float = 30.0) -> SchedulerDaemon:
        daemon = SchedulerDaemon(
            self._connect(),
            scheduler_name=name,
            emit=self.events.append,
            identity=f"scheduler {len(self.started) + 1}",
            session_ttl_s=TTL_S,
            reschedule_after_s=reschedule_after_s,
        )
        self.started.append(daemon)
        daemon.start()
        return daemon

    def said(self, text: str) -> bool:
        return any(text in event.message for event in list(self.events))


@pytest.fixture
def schedulers(connect: Connect) -> Iterator[Schedulers]:
    schedulers = Schedulers(connect)
    yield schedulers
    for daemon in schedulers.started:
        daemon.stop()


def completed(store: Store, version: int, service: str = "web") -> bool:
    """Whether a service's rollout to a version is over."""
    stored = rollout(store, service)
    return stored is not None and (stored.target_version, stored.phase) == (version, RolloutPhase.COMPLETED)


def holders(store: Store) -> dict[str, str]:
    """By cluster, who holds its lock."""
    entries = store.list(keys.SCHEDULER_LOCKS).entries
    return {entry.key.removeprefix(keys.SCHEDULER_LOCKS): entry.value.decode() for entry in entries if entry.holder}


def look_again(daemon: SchedulerDaemon) -> None:
    """Wake a daemon, and wait until a whole pass has begun and ended since."""
    watched = daemon.loops[0]
    for _ in range(2):  # the first may be the end of one that had begun before
        began = time.monotonic()
        watched.wake()
        wait_until(lambda: (watched.age_s() or 0.0) < time.monotonic() - began, what="a pass", every_s=0.002)  # noqa: B023 - called in the loop
