"""The memory store on the test's own clock, restored from a snapshot, and at its nastiest."""

import itertools
import threading

import pytest

from reconciler.store.interface import Acquire, CommitResult, Committed, Conflict, Held, Put, PutIf, Unknown
from reconciler.store.memory import LOG_LENGTH, MemorySpace, MemoryStore
from reconciler.store.nasty import Nasty


class HandClock:
    """Moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def test_a_session_ends_when_the_clock_given_says_so() -> None:
    clock = HandClock()
    store = MemoryStore(clock=clock)
    session = store.open_session("agent", 6)
    store.commit([Acquire("sync/x", b"", session.id)])
    clock.now = 5.999
    assert store.commit([Held("sync/x", session.id)]) == Committed()
    clock.now = 6.0
    assert isinstance(store.commit([Held("sync/x", session.id)]), Conflict)
    assert session.renew() is False


def test_a_blocked_wait_sees_a_clock_that_is_not_the_machines() -> None:
    clock = HandClock()
    store = MemoryStore(clock=clock)
    after = store.list("state/").index
    thread = threading.Thread(target=store.wait, args=("state/", after, 3600))
    thread.start()
    clock.now = 3600
    thread.join(20)
    assert not thread.is_alive()


def test_a_restored_store_goes_back_and_says_so() -> None:
    space = MemorySpace()
    store = MemoryStore(space)
    store.commit([Put("state/a", b"1")])
    session = store.open_session("agent", 60)
    snapshot = space.snapshot()
    before = store.list("state/")
    store.commit([Put("state/a", b"2"), Acquire("state/hosts/web", b"", session.id)])
    store.commit([Put("state/b", b"1")])
    after = store.list("state/").index

    space.restore(snapshot)

    assert store.list("state/") == before
    assert store.wait("state/", after, 30) == 0
    assert session.renew() is False
    assert store.wait("state/", before.index - 1, 30) == before.index


def test_a_wait_from_before_the_log_of_changes_returns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.store.memory.LOG_LENGTH", 10)
    assert LOG_LENGTH > 1000
    store = MemoryStore()
    store.commit([Put("state/old/a", b"")])
    after = store.list("state/old/").index
    for number in range(30):
        store.commit([Put(f"config/{number}", b"")])
    assert store.wait("state/old/", after, 30) > after


def run(seed: int, **chances: float) -> tuple[list[str], MemoryStore]:
    """What a writer sees that adds 1 two hundred times."""
    store = MemoryStore(nasty=Nasty(seed=seed, **chances))
    outcomes: list[CommitResult] = []
    for _ in range(200):
        entry = store.get("state/n")
        number = int(entry.value) if entry else 0
        outcomes.append(store.commit([PutIf("state/n", str(number + 1).encode(), entry.index if entry else 0)]))
    return [type(outcome).__name__ for outcome in outcomes], store


def test_rule_15_the_same_seed_gives_the_same_trouble() -> None:
    first, second, third = run(7)[0], run(7)[0], run(8)[0]
    assert first == second
    assert first != third
    assert {"Committed", "Unknown"} <= set(first)


def test_rule_15_an_unknown_commit_happens_at_once_or_late_or_never_but_never_over_a_newer_one() -> None:
    outcomes, store = run(3, lost_answer=0.5)
    entry = store.get("state/n")
    assert entry is not None
    committed, unknown = outcomes.count("Committed"), outcomes.count("Unknown")
    assert unknown > 50
    assert committed < int(entry.value) < committed + unknown, "some of the unknown ones happened, some did not"
    assert "Conflict" in outcomes, "a late one came between a read and a commit"


def test_rule_15_waits_return_early_and_indexes_go_back() -> None:
    store = MemoryStore(nasty=Nasty(seed=5, early_wake=0.5, index_back=0.2, lost_answer=0))
    for number in range(50):
        store.commit([Put("state/n", str(number).encode())])
    indexes = [store.list("state/").index for _ in range(100)]
    assert any(later < earlier for earlier, later in itertools.pairwise(indexes))
    assert 0 in {store.wait("state/", 51, 0.01) for _ in range(50)}


def test_rule_15_a_reader_that_starts_anew_on_a_smaller_index_sees_every_last_state() -> None:
    space = MemorySpace()
    writer, reader = MemoryStore(space), MemoryStore(space, nasty=Nasty(seed=11, index_back=0.3, early_wake=0.3))
    seen, index = b"", 0
    for number in range(100):
        value = str(number).encode()
        writer.commit([Put("state/n", value)])
        for _ in range(200):
            entry = reader.get("state/n")
            assert entry is not None
            seen = entry.value
            if seen == value:
                break
            index = reader.wait("state/", index, 0.2)
        assert seen == value
    assert isinstance(MemoryStore(space, nasty=Nasty(seed=1, lost_answer=1)).commit([Put("state/n", b"")]), Unknown)
