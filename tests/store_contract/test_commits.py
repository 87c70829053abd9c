"""What every store promises to those who write: all or nothing, conditions, no change without need, limits."""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconciler.errors import StoreTooLarge
from reconciler.store.chunks import split
from reconciler.store.interface import (
    Acquire,
    Check,
    Committed,
    Conflict,
    DeleteIf,
    Held,
    Operation,
    Put,
    PutIf,
    Release,
    Store,
)
from tests.store_contract.conftest import Backend


def index_of(store: Store, key: str) -> int:
    entry = store.get(key)
    assert entry is not None
    return entry.index


def value_of(store: Store, key: str) -> bytes | None:
    entry = store.get(key)
    return None if entry is None else entry.value


def test_nothing_to_do_is_done(store: Store) -> None:
    assert store.commit([]) == Committed()


def test_put_writes_whatever_is_there(store: Store) -> None:
    assert store.commit([Put("state/a", b"1")]) == Committed()
    assert store.commit([Put("state/a", b"2")]) == Committed()
    assert value_of(store, "state/a") == b"2"


def test_compare_and_set_0_creates_a_key_once(store: Store, other: Store) -> None:
    assert store.commit([PutIf("state/a", b"mine", 0)]) == Committed()
    outcome = other.commit([PutIf("state/a", b"yours", 0)])
    assert isinstance(outcome, Conflict)
    assert "state/a" in outcome.why
    assert value_of(store, "state/a") == b"mine"


def test_compare_and_set_needs_the_index_that_is_there(store: Store, other: Store) -> None:
    store.commit([Put("state/a", b"1")])
    index = index_of(store, "state/a")

    assert other.commit([PutIf("state/a", b"2", index)]) == Committed()
    assert isinstance(store.commit([PutIf("state/a", b"3", index)]), Conflict)
    assert isinstance(store.commit([PutIf("state/missing", b"3", index)]), Conflict)
    assert value_of(store, "state/a") == b"2"
    assert value_of(store, "state/missing") is None


def test_compare_and_delete_needs_the_index_that_is_there(store: Store) -> None:
    store.commit([Put("state/a", b"1")])
    old = index_of(store, "state/a")
    store.commit([Put("state/a", b"2")])

    assert isinstance(store.commit([DeleteIf("state/a", old)]), Conflict)
    assert value_of(store, "state/a") == b"2"
    assert store.commit([DeleteIf("state/a", index_of(store, "state/a"))]) == Committed()
    assert store.get("state/a") is None


def test_deleting_what_is_gone_already_succeeds(store: Store) -> None:
    assert store.commit([DeleteIf("state/a", 7)]) == Committed()


def test_a_delete_without_an_index_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="index"):
        store.commit([DeleteIf("state/a", 0)])


def test_a_check_makes_the_commit_depend_on_a_key_that_it_leaves_alone(store: Store) -> None:
    store.commit([Put("state/mark", b"settled")])
    index = index_of(store, "state/mark")

    assert store.commit([Check("state/mark", index), Put("state/a", b"1")]) == Committed()
    assert index_of(store, "state/mark") == index
    store.commit([Put("state/mark", b"applying")])
    assert isinstance(store.commit([Check("state/mark", index), Put("state/a", b"2")]), Conflict)
    assert isinstance(store.commit([Check("state/none", index), Put("state/a", b"2")]), Conflict)
    assert value_of(store, "state/a") == b"1"


def test_check_0_means_that_there_is_no_such_key(store: Store) -> None:
    assert store.commit([Check("state/a", 0), Put("state/b", b"1")]) == Committed()
    store.commit([Put("state/a", b"")])
    assert isinstance(store.commit([Check("state/a", 0), Put("state/b", b"2")]), Conflict)
    assert value_of(store, "state/b") == b"1"


def test_a_commit_of_checks_alone_answers_too(store: Store) -> None:
    store.commit([Put("state/a", b"")])
    index = index_of(store, "state/a")

    assert store.commit([Check("state/a", index), Check("state/b", 0)]) == Committed()
    assert isinstance(store.commit([Check("state/a", index), Check("state/b", 5)]), Conflict)


def test_checks_look_at_the_state_before_the_commit_wherever_they_stand(store: Store) -> None:
    store.commit([Put("state/a", b"1")])
    index = index_of(store, "state/a")

    assert store.commit([PutIf("state/a", b"2", index), Check("state/a", index)]) == Committed()
    assert isinstance(store.commit([Check("state/a", index), Put("state/a", b"3")]), Conflict)


@pytest.mark.parametrize("bad", ["PutIf", "DeleteIf", "Check", "Held", "Acquire", "Release"])
def test_one_condition_that_does_not_hold_leaves_everything_as_it_was(store: Store, other: Store, bad: str) -> None:
    session, stranger = store.open_session("holder", 30), other.open_session("stranger", 30)
    store.commit([Put("state/a", b"1"), Put("state/b", b"1"), Acquire("sync/lock", b"", session.id)])
    before = store.list("").entries
    index = index_of(store, "state/b")
    condition: Operation = {
        "PutIf": PutIf("state/b", b"2", index + 1000),
        "DeleteIf": DeleteIf("state/b", index + 1000),
        "Check": Check("state/b", index + 1000),
        "Held": Held("sync/lock", stranger.id),
        "Acquire": Acquire("sync/lock", b"stolen", stranger.id),
        "Release": Release("sync/lock", b"stolen", stranger.id),
    }[bad]

    outcome = store.commit([Put("state/new", b"1"), DeleteIf("state/a", index_of(store, "state/a")), condition])

    assert isinstance(outcome, Conflict)
    assert condition.key in outcome.why
    assert store.list("").entries == before
    session.close()
    stranger.close()


def test_all_operations_work_in_one_commit(store: Store) -> None:
    session = store.open_session("holder", 30)
    store.commit([Put("state/changed", b"1"), Put("state/gone", b"1"), Put("state/seen", b"1")])
    store.commit([Acquire("sync/held", b"", session.id), Acquire("sync/released", b"", session.id)])

    outcome = store.commit(
        [
            Put("state/put", b"p"),
            PutIf("state/changed", b"2", index_of(store, "state/changed")),
            PutIf("state/created", b"c", 0),
            DeleteIf("state/gone", index_of(store, "state/gone")),
            Check("state/seen", index_of(store, "state/seen")),
            Check("state/never", 0),
            Acquire("sync/taken", b"t", session.id),
            Release("sync/released", b"r", session.id),
            Held("sync/held", session.id),
        ]
    )

    assert outcome == Committed()
    assert {entry.key: (entry.value, entry.holder) for entry in store.list("").entries} == {
        "state/changed": (b"2", None),
        "state/created": (b"c", None),
        "state/put": (b"p", None),
        "state/seen": (b"1", None),
        "sync/held": (b"", session.id),
        "sync/released": (b"r", None),
        "sync/taken": (b"t", session.id),
    }
    written = {index_of(store, key) for key in ("state/put", "state/changed", "state/created", "sync/taken")}
    assert len(written) == 1, "one commit is one step of the index"
    session.close()


def test_rule_15_writing_what_is_there_already_moves_no_index(store: Store) -> None:
    session = store.open_session("holder", 30)
    store.commit([Put("state/a", b"1"), Put("state/e", b""), Acquire("state/hosts/web", b"up", session.id)])
    before = store.list("state/")
    index = index_of(store, "state/a")

    again: list[Operation] = [
        Put("state/a", b"1"), PutIf("state/a", b"1", index), Put("state/e", b""),
        Acquire("state/hosts/web", b"up", session.id),
    ]  # fmt: skip
    for operation in again:
        assert store.commit([operation]) == Committed()

    assert store.list("state/").entries == before.entries
    assert store.commit([PutIf("state/a", b"2", index)]) == Committed(), "the index read before is still the right one"
    session.close()


def test_rule_15_a_key_is_written_at_most_once_in_a_commit(store: Store) -> None:
    with pytest.raises(ValueError, match="state/a is written twice"):
        store.commit([Put("state/a", b"1"), Put("state/a", b"2")])
    with pytest.raises(ValueError, match="state/a is written twice"):
        store.commit([PutIf("state/a", b"1", 0), DeleteIf("state/a", 3)])
    assert store.get("state/a") is None


def test_a_commit_of_as_many_operations_as_the_limit_says_passes(store: Store) -> None:
    most = store.limits.operations
    assert store.commit([Put(f"state/many/{number:03}", b"x") for number in range(most)]) == Committed()
    assert len(store.list("state/many/").entries) == most
    with pytest.raises(StoreTooLarge, match=f"{most + 1} operations"):
        store.commit([Put(f"state/many/{number:03}", b"y") for number in range(most + 1)])
    assert value_of(store, "state/many/000") == b"x"


def test_a_value_of_as_many_bytes_as_the_limit_says_passes(store: Store) -> None:
    most = store.limits.value_bytes
    value = os.urandom(most)
    assert store.commit([Put("state/large", value)]) == Committed()
    assert value_of(store, "state/large") == value
    with pytest.raises(StoreTooLarge, match="state/large"):
        store.commit([Put("state/large", value + b"!")])


def test_a_commit_of_as_many_bytes_as_the_limit_says_passes(store: Store) -> None:
    each = store.limits.commit_bytes // store.limits.operations
    operations = [
        Put(key, os.urandom(each - len(key)))
        for key in (f"state/large/{number:03}" for number in range(store.limits.operations))
    ]
    assert store.commit(operations) == Committed()
    with pytest.raises(StoreTooLarge, match="bytes in one commit"):
        store.commit([Put(f"state/huge/{number}", os.urandom(200_000)) for number in range(2)])


def test_any_number_of_operations_passes_in_chunks(store: Store) -> None:
    groups = [
        [PutIf(f"state/tasks/_/{number}", os.urandom(9000), 0), PutIf(f"state/tasks/web/{number}", b"x", 0)]
        for number in range(150)
    ]
    chunks = split(groups, store.limits, spare_operations=2, spare_bytes=1000)

    for number, chunk in enumerate(chunks):
        assert store.commit([*chunk, Put("state/clusters/web", str(number).encode())]) == Committed()

    assert len(store.list("state/tasks/").entries) == 300


def test_of_many_writers_at_once_exactly_one_wins_each_round(backend: Backend) -> None:
    rounds, writers = 20, 4
    backend.connect().commit([Put("state/n", b"0")])

    def count(_: int) -> list[int]:
        store, wins = backend.connect(), []
        while True:
            entry = store.get("state/n")
            assert entry is not None
            number = int(entry.value)
            if number >= rounds:
                return wins
            if store.commit([PutIf("state/n", str(number + 1).encode(), entry.index)]) == Committed():
                wins.append(number)

    with ThreadPoolExecutor(writers) as processes:
        assert sorted(itertools.chain(*processes.map(count, range(writers)))) == list(range(rounds))


def test_the_indexes_that_a_commit_says_are_those_of_the_keys(store: Store, backend: Backend) -> None:
    store.commit([Put("state/a", b"1"), Put("state/same", b"1"), Put("state/gone", b"1")])
    gone = DeleteIf("state/gone", index_of(store, "state/gone"))
    outcome = store.commit([Put("state/a", b"2"), PutIf("state/new", b"1", 0), Put("state/same", b"1"), gone])
    assert isinstance(outcome, Committed)
    assert all(index_of(store, key) == index for key, index in outcome.indexes.items())
    if backend.kind == "consul":
        assert outcome.indexes.keys() == {"state/a", "state/new", "state/same"}, "every other one costs a read"
