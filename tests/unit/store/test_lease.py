"""A keeper's own deadline: what a holder may believe when the store is silent. Time is the test's."""

import pytest

from reconciler.errors import StoreUnreachable
from reconciler.store import lease
from reconciler.store.interface import Acquire, CommitResult, Operation, Session, Unknown
from reconciler.store.lease import SessionKeeper
from reconciler.store.memory import MemorySpace, MemoryStore


class HandClock:
    """Moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class Silent(MemoryStore):
    """A store that can be cut off, and whose answers may come late."""

    is_silent = False
    late_by_s = 0.0

    def renew(self, session_id: str, ttl_s: float) -> bool:
        if self.is_silent:
            raise StoreUnreachable("cut off")
        lives = super().renew(session_id, ttl_s)
        clock = self.space.clock
        assert isinstance(clock, HandClock)
        clock.now += self.late_by_s
        return lives

    def open_session(self, name: str, ttl_s: float) -> Session:
        if self.is_silent:
            raise StoreUnreachable("cut off")
        return super().open_session(name, ttl_s)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(clock: HandClock) -> Silent:
    return Silent(MemorySpace(clock))


def test_there_is_no_session_before_the_first_one_was_opened(store: Silent, clock: HandClock) -> None:
    keeper = SessionKeeper(store, "agent", 6.0, clock=clock)
    assert (keeper.session_id, keeper.remaining_s()) == (None, 0.0)
    assert keeper.tend() == 2.0
    assert keeper.session_id is not None
    assert keeper.remaining_s() == 6.0


def test_a_holder_that_can_not_renew_stops_at_its_own_deadline(store: Silent, clock: HandClock) -> None:
    keeper = SessionKeeper(store, "agent", 6.0, clock=clock)
    keeper.tend()
    held = keeper.session_id
    store.is_silent = True

    clock.now += 2.0
    assert keeper.tend() == 0.5, "it tries more often"
    assert keeper.session_id == held
    clock.now += 3.9
    assert keeper.session_id == held
    clock.now += 0.1
    assert keeper.session_id is None, "the store may have ended it from here on"
    assert keeper.remaining_s() == 0.0


def test_a_deadline_counts_from_the_beginning_of_a_renewal(store: Silent, clock: HandClock) -> None:
    keeper = SessionKeeper(store, "agent", 6.0, clock=clock)
    keeper.tend()
    store.late_by_s = 4.0
    clock.now += 2.0
    keeper.tend()
    assert keeper.remaining_s() == 2.0, "the answer took 4 s of the 6"


def test_a_session_that_still_lives_after_the_deadline_is_used_again(store: Silent, clock: HandClock) -> None:
    keeper = SessionKeeper(store, "agent", 6.0, clock=clock)
    keeper.tend()
    held = keeper.session_id
    assert held is not None
    other = MemoryStore(store.space)
    store.is_silent = True
    clock.now += 5.0
    keeper.tend()
    other.renew(held, 6.0)  # as if the store had got a renewal whose answer was lost
    clock.now += 2.0
    assert keeper.session_id is None
    store.is_silent = False
    keeper.tend()
    assert keeper.session_id == held


def test_a_session_that_is_gone_is_replaced_and_the_owner_told_of_each_change(store: Silent, clock: HandClock) -> None:
    seen: list[str | None] = []
    keeper = SessionKeeper(store, "agent", 6.0, clock=clock, on_change=lambda: seen.append(keeper.session_id))
    keeper.tend()
    keeper.tend()
    first = keeper.session_id
    store.is_silent = True
    clock.now += 7.0
    keeper.tend()
    keeper.tend()
    store.is_silent = False
    keeper.tend()
    assert seen == [first, None, keeper.session_id]
    assert keeper.session_id not in (None, first)


def test_closing_ends_the_session_and_keeping_leaves_it(store: Silent, clock: HandClock) -> None:
    keeper = SessionKeeper(store, "agent", 6.0, clock=clock)
    keeper.tend()
    held = keeper.session_id
    assert held is not None
    keeper.close(keep=True)
    assert keeper.session_id is None
    successor = SessionKeeper(store, "agent", 6.0, clock=clock, resume=held)
    successor.tend()
    assert successor.session_id == held
    successor.close()
    assert store.resume_session(held, "agent", 6.0) is None


class Forgetful(MemoryStore):
    """Commits, but never tells."""

    happens = True

    def commit(self, operations: list[Operation]) -> CommitResult:  # type: ignore[override]
        if self.happens:
            super().commit(operations)
        return Unknown("the answer was lost")


@pytest.mark.parametrize("happens", [True, False])
def test_taking_a_lock_without_an_answer_looks_who_holds_it(happens: bool) -> None:
    store = Forgetful()
    store.happens = happens
    session = store.open_session("agent", 60)
    assert lease.take(store, "sync/x", b"", session.id) is happens


def test_the_fence_names_lock_and_session() -> None:
    store = MemoryStore()
    session = store.open_session("agent", 60)
    store.commit([Acquire("sync/x", b"", session.id)])
    fence = lease.fence("sync/x", session.id)
    assert (fence.key, fence.session) == ("sync/x", session.id)
