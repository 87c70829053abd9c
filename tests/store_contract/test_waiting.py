"""What every store promises to those who wait: no change under the prefix goes unseen, and a wake only says "look"."""

import threading
import time
from collections.abc import Callable

import pytest

from reconciler.errors import StoreUnreachable
from reconciler.store.interface import Acquire, DeleteIf, Put, PutIf, Store
from tests.store_contract.conftest import Backend
from tests.support.wait import wait_until

LONG_S = 30.0
"""Longer than any wait should take that something wakes."""


class Waiter:
    """A thread in ``wait``, over a connection of its own."""

    def __init__(self, store: Store, prefix: str, after: int, timeout_s: float = LONG_S) -> None:
        self.index: int | None = None
        self.error: Exception | None = None
        self._call = lambda: store.wait(prefix, after, timeout_s)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.index = self._call()
        except Exception as error:
            self.error = error

    def result(self) -> int:
        """The index that it returned; fails when it is still blocked."""
        self._thread.join(LONG_S / 2)
        assert not self._thread.is_alive(), "nothing woke it"
        assert self.error is None
        assert self.index is not None
        return self.index

    @property
    def is_blocked(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        self._thread.join(LONG_S / 2)
        assert not self._thread.is_alive()


def index_of(store: Store, key: str) -> int:
    entry = store.get(key)
    assert entry is not None
    return entry.index


def put(store: Store) -> None:
    store.commit([Put("state/tasks/web/1", b"new")])


def put_deep(store: Store) -> None:
    store.commit([Put("state/tasks/web/a/b/c", b"new")])


def change(store: Store) -> None:
    store.commit([PutIf("state/tasks/web/0", b"changed", index_of(store, "state/tasks/web/0"))])


def delete(store: Store) -> None:
    store.commit([DeleteIf("state/tasks/web/0", index_of(store, "state/tasks/web/0"))])


def acquire(store: Store) -> None:
    store.commit([Acquire("state/tasks/web/0", b"there", store.open_session("holder", LONG_S).id)])


@pytest.mark.parametrize("happening", [put, put_deep, change, delete, acquire])
def test_a_wait_ends_when_something_happens_under_the_prefix(
    store: Store, other: Store, happening: Callable[[Store], None]
) -> None:
    store.commit([Put("state/tasks/web/0", b"there"), Put("state/other", b"x")])
    after = store.list("state/tasks/web/").index
    waiter = Waiter(store, "state/tasks/web/", after)

    happening(other)

    assert waiter.result() >= after


@pytest.mark.parametrize("happening", [change, delete, acquire])
def test_a_wait_on_one_key_ends_when_it_changes(store: Store, other: Store, happening: Callable[[Store], None]) -> None:
    store.commit([Put("state/tasks/web/0", b"there")])
    waiter = Waiter(store, "state/tasks/web/0", index_of(store, "state/tasks/web/0"))

    happening(other)

    waiter.result()


def test_a_wait_on_a_key_that_is_not_there_ends_when_it_comes(store: Store, other: Store) -> None:
    store.commit([Put("state/x", b"")])
    after = store.wait("state/tasks/web/1", 0, 0)
    waiter = Waiter(store, "state/tasks/web/1", after)

    put(other)

    while store.get("state/tasks/web/1") is None:  # a missing key may wake on others' changes
        waiter = Waiter(store, "state/tasks/web/1", waiter.result())
    waiter.end()


def test_nothing_that_happened_between_reading_and_waiting_is_missed(store: Store, other: Store) -> None:
    store.commit([Put("state/tasks/web/0", b"there")])
    for happening in (change, put, delete):
        after = store.list("state/tasks/").index
        happening(other)
        assert Waiter(store, "state/tasks/", after).result() >= after


def test_a_reader_who_only_looks_when_woken_sees_every_last_state(backend: Backend) -> None:
    writer, reader = backend.connect(), backend.connect()
    last, seen = 200, []

    def follow() -> None:
        while not seen or seen[-1] != last:
            listing = reader.list("state/n/")
            seen.extend(int(entry.value) for entry in listing.entries)
            if not seen or seen[-1] != last:
                reader.wait("state/n/", listing.index, LONG_S)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    for number in range(1, last + 1):
        writer.commit([Put("state/n/x", str(number).encode())])
    thread.join(LONG_S / 2)
    assert not thread.is_alive(), f"stuck at {seen[-1:]}"
    assert seen == sorted(seen)


def test_index_0_returns_at_once_with_an_index_to_wait_after(store: Store) -> None:
    assert store.wait("state/nothing/", 0, LONG_S) > 0
    put(store)
    index = store.wait("state/tasks/", 0, LONG_S)
    assert index > 0
    change_index = store.list("state/tasks/").index
    assert store.wait("state/tasks/", index, 0.05) >= 0, "a wait after it is a wait"
    assert change_index > 0


def test_a_wait_with_nothing_new_ends_with_its_time(store: Store) -> None:
    put(store)
    after = store.list("state/").index
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        left_s = 0.5 - (time.monotonic() - began)
        after = store.wait("state/", after, left_s)
    assert after > 0
    assert [entry.key for entry in store.list("state/").entries] == ["state/tasks/web/1"]


def test_an_index_from_before_a_restore_is_answered_with_0(store: Store) -> None:
    put(store)
    assert store.wait("state/", store.list("state/").index + 1000, 0.3) == 0


def test_many_may_wait_at_once(backend: Backend) -> None:
    store = backend.connect()
    put(store)
    after = store.list("state/").index
    waiters = [Waiter(store, "state/", after) for _ in range(12)]
    waiters += [Waiter(backend.connect(), "state/tasks/web/1", after) for _ in range(12)]

    store.commit([Put("state/tasks/web/1", b"again")])

    for waiter in waiters:
        waiter.result()


def test_close_ends_calls_that_are_blocked(store: Store) -> None:
    put(store)
    after = store.list("state/").index
    waiters = [Waiter(store, "state/", after), Waiter(store, "state/tasks/web/1", after)]
    wait_until(lambda: all(waiter.is_blocked for waiter in waiters), what="two blocked calls")

    store.close()

    for waiter in waiters:
        waiter.end()
        assert waiter.error is None or isinstance(waiter.error, StoreUnreachable)


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnreachable, match="closed"):
        store.get("state/a")
    store.close()
