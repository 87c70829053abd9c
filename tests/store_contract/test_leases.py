"""Leases over every store: a session kept alive by a real thread, a process that is killed, a lock that moves on."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from reconciler.store import lease
from reconciler.store.interface import Committed, Conflict, Put, Store
from reconciler.store.lease import SessionKeeper
from tests.store_contract.conftest import Backend
from tests.support.wait import wait_until

LOCK = "schedulers/default"
TTL_S = 1.5


@pytest.fixture
def keep(backend: Backend) -> Generator[Callable[..., SessionKeeper]]:
    """Starts keepers, each with a connection of its own, and closes them after the test."""
    keepers: list[SessionKeeper] = []

    def start(name: str, ttl_s: float = TTL_S, **options: object) -> SessionKeeper:
        keeper = SessionKeeper(backend.connect(), name, ttl_s, **options)  # type: ignore[arg-type]
        keepers.append(keeper)
        keeper.start()
        assert keeper.wait_open(20), "no session was opened"
        return keeper

    yield start
    for keeper in keepers:
        keeper.close()


def id_of(keeper: SessionKeeper) -> str:
    assert keeper.session_id is not None
    return keeper.session_id


def holder(store: Store) -> str | None:
    entry = store.get(LOCK)
    assert entry is not None
    return entry.holder


def test_a_kept_session_outlives_its_ttl(store: Store, keep: Callable[..., SessionKeeper]) -> None:
    keeper = keep("scheduler")
    session_id = id_of(keeper)
    assert lease.take(store, LOCK, b"mine", session_id)
    ends = time.monotonic() + 2.5 * TTL_S
    while time.monotonic() < ends:
        assert 0 < keeper.remaining_s() <= TTL_S
        assert keeper.session_id == session_id
        store.wait(LOCK, store.list("schedulers/").index, TTL_S / 5)
        assert holder(store) == session_id


def test_one_of_two_holds_the_lock_and_the_other_takes_over_when_it_is_given_up(
    store: Store, keep: Callable[..., SessionKeeper]
) -> None:
    mine, yours = keep("mine"), keep("yours")

    assert lease.take(store, LOCK, b"mine", id_of(mine))
    assert lease.take(store, LOCK, b"mine", id_of(mine)), "taking what one holds is fine"
    assert not lease.take(store, LOCK, b"yours", id_of(yours))
    lease.give_up(store, LOCK, b"", id_of(yours))
    assert holder(store) == id_of(mine), "only the holder gives up"
    lease.give_up(store, LOCK, b"", id_of(mine))
    assert lease.take(store, LOCK, b"yours", id_of(yours))

    assert isinstance(store.commit([lease.fence(LOCK, id_of(mine)), Put("state/a", b"")]), Conflict)
    assert store.commit([lease.fence(LOCK, id_of(yours)), Put("state/a", b"")]) == Committed()


def test_closing_a_keeper_frees_its_locks_at_once(store: Store, keep: Callable[..., SessionKeeper]) -> None:
    mine, yours = keep("mine", 30), keep("yours")
    lease.take(store, LOCK, b"mine", id_of(mine))

    mine.close()

    assert mine.session_id is None
    assert lease.take(store, LOCK, b"yours", id_of(yours))


def test_rule_06_a_keeper_that_leaves_its_session_is_followed_by_one_with_the_same(
    store: Store, keep: Callable[..., SessionKeeper]
) -> None:
    first = keep("agent", 30)
    session_id = id_of(first)
    lease.take(store, LOCK, b"", session_id)
    index = store.list("schedulers/").index

    first.close(keep=True)
    second = keep("agent", 30, resume=session_id)

    assert id_of(second) == session_id
    assert store.list("schedulers/").index == index, "nobody saw a change"


def test_a_keeper_told_to_resume_what_is_gone_opens_another_session(keep: Callable[..., SessionKeeper]) -> None:
    first = keep("agent", 30)
    gone = id_of(first)
    first.close()
    assert id_of(keep("agent", 30, resume=gone)) != gone


def test_a_lost_session_is_replaced_and_the_owner_told(
    backend: Backend, store: Store, keep: Callable[..., SessionKeeper]
) -> None:
    told = threading.Event()
    keeper = keep("scheduler", on_change=told.set)
    assert told.wait(10)
    told.clear()
    lost = id_of(keeper)
    lease.take(store, LOCK, b"", lost)
    thief = backend.connect().resume_session(lost, "thief", 30)
    assert thief is not None

    thief.close()

    assert told.wait(10)
    wait_until(lambda: keeper.session_id not in (None, lost), what="another session")
    assert holder(store) is None, "a new session holds nothing of the old one's"


HOLDER = """
import sys, time
from reconciler.store import lease
from reconciler.store.connect import open_store
store = open_store(sys.argv[1], environ={})
keeper = lease.SessionKeeper(store, "holder", 6.0)
keeper.start()
assert keeper.wait_open(20)
assert lease.take(store, "schedulers/default", b"mine", keeper.session_id)
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("backend", ["sqlite", pytest.param("consul", marks=pytest.mark.consul)], indirect=True)
def test_rule_06_another_process_takes_over_within_10_s_of_a_kill(backend: Backend, store: Store) -> None:
    script = [sys.executable, "-c", HOLDER, store.url]
    with subprocess.Popen(script, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        mine = SessionKeeper(store, "standby", 6.0)
        mine.start()
        assert mine.wait_open(20)
        assert not lease.take(store, LOCK, b"yours", id_of(mine))

        process.kill()
        killed = time.monotonic()
        while not lease.take(store, LOCK, b"yours", id_of(mine)):
            store.wait(LOCK, store.list("schedulers/").index, 10)

    assert time.monotonic() - killed < 10
    mine.close()
