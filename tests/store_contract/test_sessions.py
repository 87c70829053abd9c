"""What every store promises of sessions and locks: one holder, a fence, an end neither too early nor much too late."""

import time

import pytest

from reconciler.store.interface import Acquire, Committed, Conflict, Entry, Held, Put, PutIf, Release, Session, Store
from tests.store_contract.conftest import Backend
from tests.support.wait import wait_until

LOCK = "schedulers/default"
TTL_S = 1.5


def lock_of(store: Store) -> Entry:
    entry = store.get(LOCK)
    assert entry is not None
    return entry


def wait_free(store: Store, timeout_s: float) -> None:
    """Wait as a standby does: blocked on the key."""
    deadline = time.monotonic() + timeout_s
    while (entry := lock_of(store)).holder is not None:
        left_s = deadline - time.monotonic()
        assert left_s > 0, f"still held by {entry.holder}"
        store.wait(LOCK, entry.index, left_s)


def test_one_holds_a_lock_and_others_see_who_and_what(store: Store, other: Store) -> None:
    mine, yours = store.open_session("mine", 30), other.open_session("yours", 30)

    assert store.commit([Acquire(LOCK, b'{"holder": "mine"}', mine.id)]) == Committed()

    outcome = other.commit([Acquire(LOCK, b'{"holder": "yours"}', yours.id)])
    assert isinstance(outcome, Conflict)
    assert LOCK in outcome.why
    entry = other.get(LOCK)
    assert entry is not None
    assert (entry.value, entry.holder) == (b'{"holder": "mine"}', mine.id)
    mine.close()
    yours.close()


def test_a_lock_that_was_given_up_is_free_at_once(store: Store, other: Store) -> None:
    mine, yours = store.open_session("mine", 30), other.open_session("yours", 30)
    store.commit([Acquire(LOCK, b"mine", mine.id)])

    assert store.commit([Release(LOCK, b"was mine", mine.id)]) == Committed()

    assert (lock_of(other).value, lock_of(other).holder) == (b"was mine", None)
    assert other.commit([Acquire(LOCK, b"yours", yours.id)]) == Committed()
    assert isinstance(store.commit([Release(LOCK, b"", mine.id)]), Conflict), "it is not mine any more"
    mine.close()
    yours.close()


def test_a_session_that_is_closed_gives_up_all_it_holds_at_once(store: Store, other: Store) -> None:
    mine, yours = store.open_session("mine", 30), other.open_session("yours", 30)
    store.commit([Acquire(LOCK, b"mine", mine.id), Acquire("state/hosts/web", b"host", mine.id)])
    index = lock_of(store).index

    mine.close()

    assert lock_of(other) == Entry(LOCK, b"mine", lock_of(other).index, None)
    assert lock_of(other).index > index, "a watch must see it"
    assert [entry.holder for entry in other.list("state/hosts/").entries] == [None]
    assert other.commit([Acquire(LOCK, b"yours", yours.id)]) == Committed(), "no lock delay"
    assert mine.renew() is False
    mine.close()
    yours.close()


def test_rule_06_a_record_held_by_a_session_stays_held_through_acquire(store: Store) -> None:
    mine = store.open_session("mine", 30)
    store.commit([Put("state/hosts/web", b"written before")])

    assert store.commit([Acquire("state/hosts/web", b"1", mine.id)]) == Committed()
    assert store.commit([Acquire("state/hosts/web", b"2", mine.id)]) == Committed()
    assert [(entry.value, entry.holder) for entry in store.list("state/hosts/").entries] == [(b"2", mine.id)]
    mine.close()


def test_a_plain_write_leaves_the_holder(store: Store) -> None:
    mine = store.open_session("mine", 30)
    store.commit([Acquire(LOCK, b"1", mine.id)])

    store.commit([Put(LOCK, b"2")])
    assert (lock_of(store).value, lock_of(store).holder) == (b"2", mine.id)
    store.commit([PutIf(LOCK, b"3", lock_of(store).index)])
    assert (lock_of(store).value, lock_of(store).holder) == (b"3", mine.id)
    mine.close()


def test_a_session_that_never_was_can_hold_nothing(store: Store) -> None:
    nobody = "11111111-2222-3333-4444-555555555555"
    assert isinstance(store.commit([Acquire(LOCK, b"", nobody)]), Conflict)
    assert isinstance(store.commit([Held(LOCK, nobody)]), Conflict)
    assert store.get(LOCK) is None
    assert store.resume_session(nobody, "nobody", 30) is None


def test_the_fence_lets_the_holder_write_and_nobody_else(store: Store, other: Store) -> None:
    mine, yours = store.open_session("mine", 30), other.open_session("yours", 30)
    store.commit([Acquire(LOCK, b"", mine.id)])

    assert store.commit([Held(LOCK, mine.id), Put("state/a", b"mine")]) == Committed()
    outcome = other.commit([Held(LOCK, yours.id), Put("state/a", b"yours")])
    assert isinstance(outcome, Conflict)
    assert LOCK in outcome.why
    assert isinstance(other.commit([Held("schedulers/none", yours.id), Put("state/a", b"yours")]), Conflict)
    assert [entry.value for entry in store.list("state/").entries] == [b"mine"]
    mine.close()
    yours.close()


def test_the_fence_stops_a_holder_whose_session_ended_even_when_nobody_took_over(store: Store, other: Store) -> None:
    mine = store.open_session("mine", TTL_S)
    store.commit([Acquire(LOCK, b"", mine.id)])
    wait_free(other, TTL_S + other.limits.session_slack_s)

    assert isinstance(store.commit([Held(LOCK, mine.id), Put("state/a", b"late")]), Conflict)
    assert isinstance(store.commit([Acquire(LOCK, b"", mine.id)]), Conflict)
    assert store.get("state/a") is None
    assert mine.renew() is False


@pytest.mark.parametrize("ttl_s", [TTL_S, 3.0])
def test_rule_15_an_unrenewed_lock_ends_after_its_ttl_and_within_the_slack(
    store: Store, other: Store, ttl_s: float
) -> None:
    began = time.monotonic()
    mine = store.open_session("mine", ttl_s)
    store.commit([Acquire(LOCK, b"mine", mine.id)])

    wait_free(other, ttl_s + other.limits.session_slack_s)

    lasted_s = time.monotonic() - began
    assert ttl_s <= lasted_s <= ttl_s + other.limits.session_slack_s + 1
    assert lock_of(other).value == b"mine", "the record stays"
    yours = other.open_session("yours", 30)
    assert other.commit([Acquire(LOCK, b"yours", yours.id)]) == Committed()
    yours.close()


def test_rule_15_a_renewed_lock_lives_on_and_ends_a_ttl_after_the_last_renewal(store: Store, other: Store) -> None:
    mine = store.open_session("mine", TTL_S)
    store.commit([Acquire(LOCK, b"mine", mine.id)])
    began = renewed = time.monotonic()
    while time.monotonic() - began < 2.5 * TTL_S:
        other.wait(LOCK, lock_of(other).index, TTL_S / 4)
        renewed = time.monotonic()
        assert mine.renew() is True
        assert lock_of(other).holder == mine.id

    wait_free(other, TTL_S + other.limits.session_slack_s)

    assert time.monotonic() - renewed >= TTL_S


def test_renewing_is_not_a_change(store: Store, other: Store) -> None:
    mine = store.open_session("mine", 30)
    store.commit([Acquire(LOCK, b"mine", mine.id)])
    before = other.list("")
    for _ in range(5):
        assert mine.renew() is True
    assert other.list("") == before
    mine.close()


def test_rule_06_a_successor_goes_on_with_its_predecessors_session(store: Store, other: Store) -> None:
    predecessor = store.open_session("agent web", TTL_S)
    store.commit([Acquire("state/hosts/web", b"here", predecessor.id)])
    index = [entry.index for entry in store.list("state/hosts/").entries]
    store.close()

    successor = other.resume_session(predecessor.id, "agent web", 2 * TTL_S)

    assert successor is not None
    assert (successor.id, successor.ttl_s) == (predecessor.id, 2 * TTL_S)
    assert successor.renew() is True
    entries = other.list("state/hosts/").entries
    assert [(entry.holder, entry.index) for entry in entries] == [(successor.id, index[0])], "the host was never away"
    renewed = time.monotonic()
    assert successor.renew() is True
    while other.list("state/hosts/").entries[0].holder is not None:
        other.wait("state/hosts/", other.list("state/hosts/").index, 1)
    assert time.monotonic() - renewed >= 2 * TTL_S, "it lives by the new TTL"


def test_a_session_that_ended_can_not_be_resumed(store: Store, other: Store) -> None:
    predecessor = store.open_session("agent web", 30)
    predecessor.close()
    assert other.resume_session(predecessor.id, "agent web", 30) is None


def test_sessions_do_not_disturb_each_other(backend: Backend) -> None:
    store = backend.connect()
    short, long = store.open_session("short", TTL_S), store.open_session("long", 30)
    store.commit([Acquire("sync/short", b"", short.id), Acquire("sync/long", b"", long.id)])

    def holders() -> list[str | None]:
        return [entry.holder for entry in store.list("sync/").entries]

    wait_until(lambda: holders() == [long.id, None], what="the short session to end")
    assert long.renew() is True
    long.close()
    assert holders() == [None, None]


def test_closing_never_raises(backend: Backend) -> None:
    store = backend.connect()
    session: Session = store.open_session("mine", TTL_S)
    store.close()
    session.close()
