"""The daemon: when it looks, who works, what happens at the end. On the memory store, with real threads."""

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import mode

import pytest
from prometheus_client import REGISTRY

from reconciler.errors import RevisionRefused, SourceError, StoreError
from reconciler.manifests.source import Revision
from reconciler.model import keys
from reconciler.model.events import Event
from reconciler.runtime.clock import SystemClock
from reconciler.store.interface import DeleteIf, Put, Release, Store
from reconciler.store.memory import MemorySpace, MemoryStore
from reconciler.sync import loop
from reconciler.sync.lock import holding
from reconciler.sync.loop import SyncDaemon
from reconciler.sync.once import sync_once
from tests.support.sync import (
    ListedSource,
    WatchedStore,
    change,
    config,
    hold,
    make_ours,
    manifest,
    revision,
    state,
    values,
)
from tests.support.wait import wait_until

R1 = revision("r1", {"main.json": manifest(["web"])})
R2 = revision("r2", {"main.json": manifest(["web", "api"])})
SELDOM_S = 600.0

Start = Callable[..., SyncDaemon]


@pytest.fixture
def space() -> MemorySpace:
    space = MemorySpace()
    make_ours(MemoryStore(space))
    return space


@pytest.fixture
def store(space: MemorySpace) -> Store:
    """How the test itself looks at it."""
    return MemoryStore(space)


@pytest.fixture
def start(space: MemorySpace, events: list[Event]) -> Iterator[Start]:
    """Starts daemons; each has a connection of its own unless it is given one."""
    daemons: list[SyncDaemon] = []

    def make(source: ListedSource, store: Store | None = None, *, poll_s: float = SELDOM_S) -> SyncDaemon:
        daemon = SyncDaemon(store or MemoryStore(space), source, emit=events.append, poll_s=poll_s, session_ttl_s=1.0)
        daemons.append(daemon)
        daemon.start()
        return daemon

    yield make
    for daemon in daemons:
        daemon.stop()


def applied(store: Store) -> str:
    """The revision that is there as a whole; empty if none is."""
    entry = store.get(keys.source("fleet"))
    if entry is None:
        return ""
    recorded = state(store, "fleet")
    return recorded.mark.revision if recorded.mark.settled else ""


def holder(store: Store) -> str | None:
    entry = store.get(keys.sync_lock("fleet"))
    return entry.holder if entry else None


class TestWhenItLooks:
    def test_a_new_revision_is_applied_at_the_next_poll(self, store: Store, start: Start) -> None:
        source = ListedSource("fleet", R1)
        start(source, poll_s=0.05)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        source.revisions.append(R2)
        wait_until(lambda: applied(store) == "r2", what="the second revision")
        assert "config/services/api" in config(store)

    def test_a_source_that_says_it_moved_is_read_at_once(self, store: Store, start: Start) -> None:
        source = ListedSource("fleet", R1)
        start(source)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        source.revisions.append(R2)
        source.wake()
        wait_until(lambda: applied(store) == "r2", what="the second revision")

    def test_what_is_edited_by_hand_is_put_right_at_once_without_reading_the_source(
        self, store: Store, start: Start
    ) -> None:
        source = ListedSource("fleet", R1)
        start(source)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        before = values(store, keys.CONFIG)
        reads = source.reads
        store.commit([Put("config/services/web", change(before["config/services/web"], desired=7))])
        wait_until(lambda: values(store, keys.CONFIG) == before, what="the edit was undone")
        assert source.reads == reads

    def test_a_change_that_no_watch_announced_is_found_all_the_same(
        self, space: MemorySpace, store: Store, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "RESYNC_S", 0.1)

        class Deaf(WatchedStore):
            def wait(self, prefix: str, after: int, timeout_s: float) -> int:
                return self.inner.wait("nothing/", after, timeout_s)

        start(ListedSource("fleet", R1), Deaf(MemoryStore(space)))
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        before = values(store, keys.CONFIG)
        store.commit([Put("config/services/web", change(before["config/services/web"], desired=7))])
        wait_until(lambda: values(store, keys.CONFIG) == before, what="the edit was undone")

    def test_while_nothing_is_new_it_writes_parses_and_lists_nothing(
        self, space: MemorySpace, store: Store, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = ListedSource("fleet", R1)
        watched = WatchedStore(MemoryStore(space))
        daemon = start(source, watched, poll_s=0.01)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        reads = source.reads
        wait_until(lambda: source.reads > reads + 10, what="its own writes no longer wake it")
        asked: list[int] = []
        read = source.read
        monkeypatch.setattr(source, "read", lambda: asked.append(watched.reads) or read())  # type: ignore[func-returns-value]
        commits, parsed, listed = len(watched.commits), daemon.parsed_files, len(watched.listed)
        wait_until(lambda: len(asked) > 30, what="thirty more polls")
        assert (len(watched.commits), daemon.parsed_files, len(watched.listed)) == (commits, parsed, listed)
        each = mode(now - then for then, now in pairwise(asked))  # some step may not have been due to read the source
        assert each == 2, "who holds the lock, and what operators said"

    def test_rule_03_a_rewritten_history_is_read_twice_before_it_is_believed(
        self, store: Store, start: Start, events: list[Event], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "LOOK_AGAIN_S", 0.2)
        source = ListedSource("fleet", R1)
        start(source)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        source.dropped.append("r1")
        source.revisions.append(R2)
        reads = source.reads
        source.wake()
        wait_until(lambda: applied(store) == "r2", what="the rewritten history")
        assert source.reads >= reads + 2
        assert any("history was rewritten" in event.message for event in events)


class TestWhatGoesWrong:
    def test_a_source_that_fails_is_recorded_tried_again_and_recovers(self, store: Store, start: Start) -> None:
        source = ListedSource("fleet", R1)
        source.failure = SourceError("example.org is down")
        daemon = start(source, poll_s=0.05)
        wait_until(lambda: daemon.loops[0].last_error == "example.org is down", what="the loop to say so")
        assert state(store, "fleet").problems == ("example.org is down",)
        assert set(config(store)) == set()
        source.failure = None
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        wait_until(lambda: daemon.loops[0].last_error is None, what="the loop to be well again")
        assert state(store, "fleet").problems == ()

    def test_one_failing_source_does_not_delay_another(self, store: Store, start: Start) -> None:
        """Argo CD, Flux: one failing source starved the others."""
        broken = ListedSource("broken")
        broken.failure = SourceError("down")
        start(broken)
        start(ListedSource("fleet", R1))
        wait_until(lambda: applied(store) == "r1", what="the one that works")

    def test_a_source_that_is_stuck_shows_by_the_age_of_its_last_compare(self, start: Start) -> None:
        """Argo CD, Flux, Fleet: slow, starved or silently stuck."""

        def compared_at() -> float | None:
            return REGISTRY.get_sample_value(
                "reconciler_sync_last_compare_timestamp_seconds", {"source": "stuck-source"}
            )

        source = ListedSource("stuck-source", R1)
        daemon = start(source, poll_s=0.05)
        wait_until(compared_at, what="the first compare")
        source.failure = SourceError("example.org is down")
        wait_until(lambda: daemon.loops[0].last_error, what="the loop to say so")
        last, reads = compared_at(), source.reads
        wait_until(lambda: source.reads > reads, what="it to be tried again")
        assert compared_at() == last
        source.failure = None
        wait_until(lambda: (compared_at() or 0) > (last or 0), what="the next compare")

    def test_a_store_that_goes_away_and_comes_back(self, space: MemorySpace, store: Store, start: Start) -> None:
        source = ListedSource("fleet", R1)
        watched = WatchedStore(MemoryStore(space))
        daemon = start(source, watched, poll_s=0.05)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        watched.is_away = True
        source.revisions.append(R2)
        wait_until(lambda: daemon.loops[0].last_error is not None, what="the loop to say so")
        watched.is_away = False
        wait_until(lambda: applied(store) == "r2", what="the second revision")

    def test_a_repair_that_fails_is_tried_again(self, space: MemorySpace, store: Store, start: Start) -> None:
        source = ListedSource("fleet", R1)
        watched = WatchedStore(MemoryStore(space))
        start(source, watched)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        before = values(store, keys.CONFIG)
        failed = threading.Event()

        def refuse(number: int, operations: object, go: Callable[[], object]) -> object:
            if failed.is_set():
                return go()
            failed.set()
            raise StoreError("out of order for once")

        watched.on_commit = refuse  # type: ignore[assignment]
        store.commit([Put("config/services/web", change(before["config/services/web"], desired=7))])
        wait_until(lambda: values(store, keys.CONFIG) == before, what="the edit was undone")
        assert failed.is_set()


class TestSeveral:
    def test_the_second_stands_by_and_reads_nothing(self, store: Store, start: Start, events: list[Event]) -> None:
        start(ListedSource("fleet", R1))
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        second = ListedSource("fleet", R1, R2)
        start(second, poll_s=0.02)
        wait_until(lambda: any("standing by" in event.message for event in events), what="the second to stand by")
        assert second.reads == 0
        assert applied(store) == "r1"

    def test_rule_03_when_the_first_stops_the_second_takes_over_at_once_and_reads_anew(
        self, store: Store, start: Start, events: list[Event]
    ) -> None:
        first = start(ListedSource("fleet", R1))
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        second = ListedSource("fleet", R1, R2)
        start(second)
        wait_until(lambda: any("standing by" in event.message for event in events), what="the second to stand by")
        first.stop()
        wait_until(lambda: applied(store) == "r2", what="the second to take over")

    def test_when_the_first_is_cut_off_the_second_takes_over_and_the_first_stands_by_afterwards(
        self, space: MemorySpace, store: Store, start: Start, events: list[Event]
    ) -> None:
        cut_off = WatchedStore(MemoryStore(space))
        first = ListedSource("fleet", R1)
        start(first, cut_off, poll_s=0.05)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        old = holder(store)
        start(ListedSource("fleet", R1, R2))
        cut_off.is_away = True
        wait_until(lambda: applied(store) == "r2", what="the second to take over")
        assert holder(store) != old
        cut_off.is_away = False
        commits = len(cut_off.commits)
        wait_until(lambda: any("standing by" in event.message for event in events), what="the first to stand by")
        assert applied(store) == "r2"
        assert all(
            operation.key == keys.sync_lock("fleet")
            for operations in cut_off.commits[commits:]
            for operation in operations
        ), "it may ask for the lock, and nothing else"

    @pytest.mark.parametrize("told", ["the one that works", "one that stands by"])
    def test_rule_17_whoever_hears_of_a_push_the_one_that_works_reads_at_once(
        self, store: Store, start: Start, events: list[Event], told: str
    ) -> None:
        source = ListedSource("fleet", R1)
        first = start(source)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        standby = ListedSource("fleet", R1, R2)
        second = start(standby)
        wait_until(lambda: any("standing by" in event.message for event in events), what="the second to stand by")
        wait_until(lambda: first._notice is not None, what="the first to watch for notices")
        source.revisions.append(R2)
        (first if told == "the one that works" else second).notify()
        wait_until(lambda: applied(store) == "r2", what="the second revision")
        assert standby.reads == 0

    def test_a_lock_that_somebody_removed_is_taken_again(self, store: Store, start: Start) -> None:
        source = ListedSource("fleet", R1)
        start(source, poll_s=0.05)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        entry = store.get(keys.sync_lock("fleet"))
        assert entry is not None
        store.commit([Put(entry.key, b"{}")])
        now = store.get(entry.key)
        assert now is not None
        store.commit([DeleteIf(now.key, now.index)])
        wait_until(lambda: holder(store) is not None, what="the lock")
        source.revisions.append(R2)
        wait_until(lambda: applied(store) == "r2", what="the second revision")


class TestStopping:
    def test_the_lock_is_free_at_once(self, store: Store, start: Start) -> None:
        daemon = start(ListedSource("fleet", R1))
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        daemon.stop()
        assert holder(store) is None

    def test_a_read_that_hangs_does_not_hold_it_up_and_is_no_problem_of_the_source(
        self, store: Store, start: Start
    ) -> None:
        class Hanging(ListedSource):
            def __init__(self) -> None:
                super().__init__("fleet", R1)
                self.closed = threading.Event()
                self.hangs = False

            def read(self) -> Revision:
                if self.hangs:
                    self.reads += 1
                    assert self.closed.wait(60)
                    raise SourceError("stopping")
                return super().read()

            def close(self) -> None:
                self.closed.set()
                super().close()

        source = Hanging()
        daemon = start(source)
        wait_until(lambda: applied(store) == "r1", what="the first revision")
        source.hangs = True
        reads = source.reads
        source.wake()
        wait_until(lambda: source.reads > reads, what="the read to hang")
        daemon.stop()
        assert state(store, "fleet").problems == ()
        assert holder(store) is None

    def test_stopping_before_it_ever_had_a_session(self, space: MemorySpace, start: Start) -> None:
        away = WatchedStore(MemoryStore(space))
        away.is_away = True
        start(ListedSource("fleet", R1), away).stop()


class TestOnce:
    def test_one_pass_says_what_it_did(self, store: Store, events: list[Event]) -> None:
        outcome = sync_once(store, ListedSource("fleet", R1), emit=events.append)
        assert str(outcome) == "revision r1: 3 created, 0 updated, 0 deleted, 0 unchanged"
        again = sync_once(store, ListedSource("fleet", R1), emit=events.append)
        assert str(again) == "revision r1: 0 created, 0 updated, 0 deleted, 3 unchanged"
        assert holder(store) is None

    def test_a_refusal_is_an_error_with_every_problem(self, store: Store, events: list[Event]) -> None:
        files = {"a.yml": "\t", "b.yml": "services: 1"}
        with pytest.raises(RevisionRefused) as caught:
            sync_once(store, ListedSource("fleet", revision("r1", files)), emit=events.append)
        assert caught.value.exit_code == 1
        assert "a.yml:1:1" in str(caught.value)
        assert "b.yml:1" in str(caught.value)
        assert state(store, "fleet").seen == "r1"

    def test_a_source_that_fails_is_an_error_and_recorded(self, store: Store, events: list[Event]) -> None:
        source = ListedSource("fleet", R1)
        source.failure = SourceError("example.org is down")
        with pytest.raises(SourceError):
            sync_once(store, source, emit=events.append)
        assert state(store, "fleet").problems == ("example.org is down",)

    def test_a_rewritten_history_is_believed_since_nobody_looks_again(self, store: Store, events: list[Event]) -> None:
        sync_once(store, ListedSource("fleet", R1), emit=events.append)
        source = ListedSource("fleet", R2)
        source.dropped.append("r1")
        sync_once(store, source, emit=events.append)
        assert applied(store) == "r2"

    def test_it_waits_for_the_one_that_works_but_not_for_ever(self, store: Store, events: list[Event]) -> None:
        fence = hold(store, "fleet")
        source = ListedSource("fleet", R1)
        with pytest.raises(StoreError, match="another process has been working on source fleet"):
            sync_once(store, source, emit=events.append, lock_wait_s=0.2)
        assert source.reads == 0
        done = threading.Event()
        thread = threading.Thread(target=lambda: (sync_once(store, source, emit=events.append), done.set()))
        thread.start()
        entry = store.get(fence.key)
        assert entry is not None
        store.commit([Release(fence.key, b"{}", fence.session)])
        wait_until(done.is_set, what="the one that waited")
        thread.join()
        assert applied(store) == "r1"

    def test_a_lock_is_free_again_whatever_happens(self, store: Store) -> None:
        def fail_while_holding() -> None:
            with holding(store, "fleet", wait_s=5, clock=SystemClock()) as fence:
                assert holder(store) == fence.session
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail_while_holding()
        assert holder(store) is None
