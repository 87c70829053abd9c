"""What a large fleet costs Consul: nobody is woken by what happens beside, and nothing large is read twice."""

import collections
import contextlib
import threading

import pytest

from reconciler.model import keys
from reconciler.store.consul_transport import Transport
from reconciler.store.interface import Acquire, Committed, DeleteIf, Entry, Operation, Put, Store
from tests.support.consul import ConsulAgent
from tests.support.wait import wait_until

pytestmark = pytest.mark.consul

NEIGHBOURS = 100
MANY = 300


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[str]:
    """How many requests were sent: ``watch``, ``whole`` for listings with values, ``other``."""
    counts: collections.Counter[str] = collections.Counter()
    send = Transport._send

    def counted(self: Transport, method: str, path: str, query: object, *rest: object) -> object:
        kind = "watch" if rest[-1] is not None else "whole" if "recurse" in dict(query) else "other"  # type: ignore[call-overload]
        counts[kind] += 1
        return send(self, method, path, query, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Transport, "_send", counted)
    return counts


def commit(store: Store, *operations: Operation) -> None:
    for start in range(0, len(operations), 60):
        assert isinstance(store.commit(operations[start : start + 60]), Committed)


def test_a_host_without_tasks_hardly_asks_while_others_get_theirs(
    consul: ConsulAgent, requests: collections.Counter[str]
) -> None:
    store = consul.store()
    writer = consul.store(store.url)
    commit(writer, Put("state/tasks/host-2/task", b"0"))
    seen: list[int] = []

    def watch() -> None:
        while len(seen) < 2:
            seen.append(store.wait("state/tasks/host-1/", seen[-1] if seen else 0, 30.0))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    wait_until(lambda: requests["watch"] >= 1, what="a watch that blocks")
    for number in range(NEIGHBOURS):
        commit(writer, Put("state/tasks/host-2/task", str(number + 1).encode()))
    assert requests["watch"] < NEIGHBOURS / 2
    assert len(seen) == 1, "nobody is told of it"

    commit(writer, Put("state/tasks/host-1/task", b"mine"))
    watcher.join(20.0)
    assert not watcher.is_alive(), "its own first task is seen"
    store.close()
    writer.close()


def test_a_host_that_keeps_its_place_is_woken_for_itself_alone(
    consul: ConsulAgent, requests: collections.Counter[str]
) -> None:
    store = consul.store()
    writer = consul.store(store.url)
    commit(writer, Put(keys.placeholder("host-1"), b"{}"), Put("state/tasks/host-2/task", b"0"))
    prefix = keys.tasks_of_host("host-1")
    before = store.wait(prefix, 0, 30.0)
    seen: list[int] = []
    watcher = threading.Thread(target=lambda: seen.append(store.wait(prefix, before, 30.0)), daemon=True)
    watcher.start()
    wait_until(lambda: requests["watch"] >= 1, what="a watch that blocks")
    for number in range(NEIGHBOURS):
        commit(writer, Put("state/tasks/host-2/task", str(number + 1).encode()))
        commit(writer, Put(f"state/tasks/host-10/{number}", b"0"))
    assert (seen, requests["watch"]) == ([], 1)
    commit(writer, Put("state/tasks/host-1/task", b"mine"))
    watcher.join(20.0)
    assert len(seen) == 1
    store.close()
    writer.close()


def test_a_large_listing_is_read_again_only_when_something_in_it_changed(
    consul: ConsulAgent, requests: collections.Counter[str]
) -> None:
    store = consul.store()
    writer = consul.store(store.url)
    commit(writer, *(Put(f"state/tasks/_/main-{number}", b"x") for number in range(MANY)))

    def fresh_entries() -> tuple[Entry, ...]:
        with contextlib.closing(consul.store(store.url)) as reader:
            return reader.list("state/tasks/_/").entries

    def read_anew() -> bool:
        """Whether it took a reading of all values; what is shown is what another reader sees, either way."""
        before = requests["whole"]
        listing = store.list("state/tasks/_/")
        taken = requests["whole"] > before
        assert listing.entries == fresh_entries()
        return taken

    assert read_anew()
    assert not read_anew()
    commit(writer, Put("state/elsewhere", b"x"))
    assert not read_anew(), "that is none of it"
    commit(writer, Put("state/tasks/_/main-1", b"changed"))
    assert read_anew()
    commit(writer, Put("state/tasks/_/more", b"x"))
    assert read_anew()
    entry = writer.get("state/tasks/_/main-2")
    assert entry is not None
    commit(writer, DeleteIf(entry.key, entry.index))
    assert read_anew()
    session = writer.open_session("holder", 20.0)
    commit(writer, Acquire("state/tasks/_/main-3", b"x", session.id))
    assert read_anew()
    session.close()
    assert read_anew(), "it is held no more"
    assert not read_anew()
    store.close()
    writer.close()
