"""What every store promises to those who read."""

import pytest

from reconciler.store.interface import Committed, DeleteIf, Put, Store


def test_a_key_that_is_not_there_is_none(store: Store) -> None:
    assert store.get("config/clusters/nothing") is None


def test_a_value_comes_back_byte_for_byte(store: Store, other: Store) -> None:
    values = {"state/empty": b"", "state/all-bytes": bytes(range(256)) * 3, "state/text": "grüße\n".encode()}
    assert store.commit([Put(key, value) for key, value in values.items()]) == Committed()

    for key, value in values.items():
        entry = other.get(key)
        assert entry is not None
        assert (entry.key, entry.value, entry.holder) == (key, value, None)
    assert {entry.key: entry.value for entry in other.list("state/").entries} == values


def test_keys_may_hold_whatever_names_may_hold(store: Store) -> None:
    keys = ["config/.store", "state/a b", "state/a%2Fb", "state/ä", "state/a?b=c&d#e", "state/a+b", "state/x:y@z,w"]
    for key in keys:
        store.commit([Put(key, key.encode())])
    for key in keys:
        entry = store.get(key)
        assert entry is not None, key
        assert entry.value == key.encode()
    assert {entry.key for entry in store.list("state/").entries} == set(keys[1:])


def test_a_listing_holds_all_under_the_prefix_in_key_order_and_nothing_else(store: Store) -> None:
    inside = [
        "state/tasks/web/1",
        "state/tasks/web/1-1",
        "state/tasks/web/10",
        "state/tasks/web/2",
        "state/tasks/web/B",
    ]
    outside = ["state/tasks/web", "state/tasks/web-2/1", "state/tasks/we/1", "state/tasks/web0", "state/statu"]
    for key in reversed(inside + outside):
        store.commit([Put(key, b"x")])

    assert [entry.key for entry in store.list("state/tasks/web/").entries] == sorted(inside)
    assert [entry.key for entry in store.list("").entries] == sorted(inside + outside)


def test_an_empty_listing_has_an_index_to_wait_after(store: Store) -> None:
    listing = store.list("config/services/")

    assert listing.entries == ()
    assert listing.index > 0


def test_a_read_sees_every_commit_that_was_answered_before(store: Store, other: Store) -> None:
    for number in range(50):
        writer, reader = (store, other) if number % 2 else (other, store)
        writer.commit([Put("state/n", str(number).encode()), Put(f"state/many/{number}", b"")])
        entry = reader.get("state/n")
        assert entry is not None
        assert entry.value == str(number).encode()
        assert len(reader.list("state/many/").entries) == number + 1


def test_indexes_only_grow_and_tell_what_changed(store: Store) -> None:
    store.commit([Put("state/a", b"1"), Put("state/b", b"1")])
    first = {entry.key: entry.index for entry in store.list("state/").entries}
    store.commit([Put("state/b", b"2")])
    listing = store.list("state/")
    second = {entry.key: entry.index for entry in listing.entries}

    assert second["state/a"] == first["state/a"]
    assert second["state/b"] > first["state/b"]
    assert listing.index >= second["state/b"]


def test_an_index_is_not_used_again_for_a_key_that_was_deleted(store: Store) -> None:
    seen: set[int] = set()
    for _ in range(3):
        store.commit([Put("state/a", b"1")])
        entry = store.get("state/a")
        assert entry is not None
        assert entry.index not in seen
        seen.add(entry.index)
        store.commit([DeleteIf("state/a", entry.index)])


@pytest.mark.parametrize(
    "key", ["", "/", "/state", "state/", "state//a", "state/a\n", "state/\x00", "a/../b", "a/./b", ".."]
)
def test_a_key_that_would_become_another_one_is_refused(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        store.get(key)
    with pytest.raises(ValueError, match="not a key"):
        store.commit([Put(key, b"")])


@pytest.mark.parametrize("prefix", ["state", "/", "state//", "//"])
def test_a_prefix_that_would_name_its_neighbours_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(ValueError):
        store.list(prefix)


def test_its_url_says_where_it_is(store: Store) -> None:
    assert store.url.startswith(("memory:", "sqlite:///", "consul://127.0.0.1:"))


def test_several_keys_and_prefixes_come_in_one_answer(store: Store, other: Store) -> None:
    there = ["state/tasks/h/1", "state/tasks/h/2", "state/tasks/h2/1", "state/status/h", "state/status/h2"]
    store.commit([Put(key, key.encode()) for key in there])

    found = other.get_all(["state/tasks/h/", "state/nothing/", "state/status/h", "state/missing", "config/.store"])
    assert found == {key: other.get(key) for key in ("state/tasks/h/1", "state/tasks/h/2", "state/status/h")}
    many = other.get_all([f"state/missing-{number}" for number in range(70)] + there)
    assert sorted(many) == sorted(there)
    assert other.get_all([]) == {}
    with pytest.raises(ValueError, match="not a key"):
        store.get_all(["state/tasks/h/", "state//a"])


def test_a_listing_is_brought_up_to_date(store: Store, other: Store) -> None:
    large = [Put(f"state/status/{number}", b"1" * 1000) for number in range(70)]
    for start in (0, 60):
        store.commit(large[start : start + 60])
    known = store.list("state/status/")
    assert store.list_again("state/status/", known).entries == known.entries

    gone = known.entries[3]
    other.commit(
        [
            Put("state/status/1", b"2" * 1000),
            Put("state/status/69", b"changed"),
            Put("state/status/new", b"new"),
            Put("state/elsewhere", b"x"),
            DeleteIf(gone.key, gone.index),
        ]
    )
    fresh = store.list_again("state/status/", known)
    assert fresh.entries == store.list("state/status/").entries
    assert store.list_again("state/status/", fresh).entries == fresh.entries
    assert store.list_again("state/none/", store.list("state/none/")).entries == ()
