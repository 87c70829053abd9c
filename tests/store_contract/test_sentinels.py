"""Rule 5: nothing is concluded from a store that is not certainly ours and all there."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from reconciler.errors import StoreNotOurs
from reconciler.model import keys
from reconciler.store import sentinel
from reconciler.store.interface import Committed, DeleteIf, Listing, Put, Store
from tests.store_contract.conftest import Backend


def remove(store: Store, key: str) -> None:
    entry = store.get(key)
    assert entry is not None
    assert store.commit([DeleteIf(key, entry.index)]) == Committed()


def test_rule_05_the_first_process_makes_an_empty_store_ours(store: Store, other: Store) -> None:
    assert sentinel.ensure(store, "id-1") == "id-1"
    assert sentinel.ensure(other, "id-2") == "id-1"
    assert sentinel.read(other) == "id-1"
    assert {entry.key for entry in store.list("").entries} == {keys.CONFIG_SENTINEL, keys.STATE_SENTINEL}
    assert {entry.value for entry in store.list("").entries} == {b'{"store_id":"id-1"}'}


def test_rule_05_processes_that_start_at_once_agree(backend: Backend) -> None:
    ready = threading.Barrier(6)

    def start(number: int) -> str:
        store = backend.connect()
        ready.wait(10)
        return sentinel.ensure(store, f"id-{number}")

    with ThreadPoolExecutor(6) as processes:
        found = list(processes.map(start, range(6)))
    assert found == [sentinel.read(backend.connect())] * 6


def test_rule_05_one_that_begins_and_writes_between_two_reads_of_another_is_no_stranger(
    store: Store, other: Store
) -> None:
    class SlowReader:
        """Looks for the sentinels, and while it goes on somebody else begins and writes."""

        looked = False

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def list(self, prefix: str) -> Listing:
            if not self.looked:
                self.looked = True
                sentinel.ensure(other, "id-1")
                other.commit([Put("sync/apply", b"a lock")])
            return store.list(prefix)

    assert sentinel.ensure(SlowReader(), "id-2") == "id-1"  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix", keys.OURS)
def test_rule_05_a_store_that_holds_something_already_is_not_taken(store: Store, prefix: str) -> None:
    store.commit([Put(f"{prefix}app/setting-{number}", b"somebody else's") for number in range(5)])
    with pytest.raises(StoreNotOurs) as caught:
        sentinel.ensure(store, "id-1")
    assert f"{prefix}app/setting-0" in str(caught.value), "it says what it found"
    assert "and 2 more" in str(caught.value)
    assert "reconciler store init" in str(caught.value), "and how to go on"
    assert "/reconciler" in str(caught.value) or "another file" in str(caught.value)
    assert store.get(keys.CONFIG_SENTINEL) is None
    assert store.get(keys.STATE_SENTINEL) is None


def test_other_programs_keys_beside_ours_do_not_matter(store: Store) -> None:
    store.commit([Put("traefik/config", b"x"), Put("configuration", b"x"), Put("state-of-the-art/x", b"x")])
    assert sentinel.ensure(store, "id-1") == "id-1"


def test_rule_05_an_empty_store_is_not_ours(store: Store) -> None:
    with pytest.raises(StoreNotOurs, match="holds no store of this program"):
        sentinel.read(store)


@pytest.mark.parametrize("gone", [keys.CONFIG_SENTINEL, keys.STATE_SENTINEL])
def test_rule_05_a_sentinel_that_is_gone_means_hold(store: Store, gone: str) -> None:
    sentinel.ensure(store, "id-1")
    remove(store, gone)
    for call in (sentinel.read, lambda each: sentinel.ensure(each, "id-2")):
        with pytest.raises(StoreNotOurs, match=f"{gone} is gone"):
            call(store)
    assert store.get(gone) is None, "nobody puts it back unasked"


def test_rule_05_a_wiped_store_is_not_taken_for_a_new_one_while_anything_is_left(store: Store) -> None:
    sentinel.ensure(store, "id-1")
    store.commit([Put("state/tasks/_/web-1", b"{}")])
    remove(store, keys.CONFIG_SENTINEL)
    remove(store, keys.STATE_SENTINEL)
    with pytest.raises(StoreNotOurs, match="not empty"):
        sentinel.ensure(store, "id-2")
    with pytest.raises(StoreNotOurs):
        sentinel.read(store)


def test_rule_05_two_sentinels_that_differ_mean_hold(store: Store) -> None:
    sentinel.ensure(store, "id-1")
    store.commit([Put(keys.CONFIG_SENTINEL, b'{"store_id":"id-2"}')])
    with pytest.raises(StoreNotOurs, match="config/ belongs to store id-2, state/ to store id-1"):
        sentinel.read(store)


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff", b'{"store_id": 7}'])
def test_a_sentinel_that_is_none_says_which_key_it_is(store: Store, value: bytes) -> None:
    store.commit([Put(keys.CONFIG_SENTINEL, value), Put(keys.STATE_SENTINEL, value)])
    with pytest.raises(StoreNotOurs, match=r"config/\.store"):
        sentinel.read(store)


def test_what_a_newer_program_added_to_a_sentinel_is_passed_over(store: Store) -> None:
    value = b'{"store_id":"id-1","made_by":"0.9"}'
    store.commit([Put(keys.CONFIG_SENTINEL, value), Put(keys.STATE_SENTINEL, value)])
    assert sentinel.read(store) == "id-1"


def test_an_operator_makes_a_store_ours_on_purpose(store: Store) -> None:
    store.commit([Put("config/services/web", b"restored")])
    assert sentinel.initialise(store, "id-1") == "id-1"
    assert sentinel.read(store) == "id-1"
    assert store.get("config/services/web") is not None


def test_on_purpose_keeps_the_id_that_running_tasks_are_labelled_with(store: Store) -> None:
    sentinel.ensure(store, "id-1")
    assert sentinel.initialise(store, "id-2") == "id-1"
    remove(store, keys.STATE_SENTINEL)
    assert sentinel.initialise(store, "id-3") == "id-1"
    store.commit([Put(keys.CONFIG_SENTINEL, b'{"store_id":"id-4"}')])
    assert sentinel.initialise(store, "id-5") == "id-1", "the state's id counts"
    assert sentinel.read(store) == "id-1"
    store.commit([Put(keys.CONFIG_SENTINEL, b"?"), Put(keys.STATE_SENTINEL, b"?")])
    assert sentinel.initialise(store, "id-6") == "id-6"
