"""The gate: when a revision has failed, what takes its place, and what it is never blamed for. On a fake clock."""

from collections.abc import Callable

import msgspec
import pytest

from reconciler.errors import RevisionRefused, SourceError, StoreUnreachable
from reconciler.manifests.source import Revision
from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.events import Event
from reconciler.model.intents import Rollback, SourceIntent, Suspension
from reconciler.model.locations import in_environment
from reconciler.model.source_state import SourceState, Trial
from reconciler.operations import overrides, source_intents
from reconciler.operations.overrides import Said
from reconciler.store.interface import Put, Store
from reconciler.store.memory import MemorySpace, MemoryStore
from reconciler.sync import gate, loop, once
from reconciler.sync.brake import DeletionLimit
from reconciler.sync.gate import LOOK_S, STEADY_S, Gate, Look, Pair
from reconciler.sync.loop import SyncDaemon
from reconciler.sync.passes import SourceSync
from tests.support.sync import (
    Killed,
    ListedSource,
    WatchedStore,
    config,
    hold,
    make_ours,
    manifest,
    revision,
    state,
)
from tests.support.wait import wait_until

LIMIT_S = 60.0
GOOD = revision("good", {"main.json": manifest(["web", "api"])})
BAD = revision("bad", {"main.json": manifest(["web", "api"], version=2, command="sleep 2")})
BROKEN = revision("broken", {"main.json": "{"})
SICK = Look(waiting=("main/web: 0 of 1 healthy (check says no)",), is_running=True)
PAUSED = Look(waiting=("main/web: 0 of 1 healthy (no host has room)",))
GIVEN_UP = Look(failed=("main/web: version 2 was given up: exit code 3",), waiting=("main/web: 0 of 1 healthy",))
WELL = Look()


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now


class World:
    """A store, a source, and one process that syncs it while the test says how services are."""

    def __init__(self, store: Store, *revisions: Revision) -> None:
        self.store = store
        self.source = ListedSource("fleet", *revisions)
        self.clock = FakeClock()
        self.seen = WELL
        self.asked: list[frozenset[Pair]] = []
        self.events: list[Event] = []
        self.fence = hold(store, "fleet")
        self.sync = self.process()

    def process(self, store: Store | None = None, *, limit_s: float | None = LIMIT_S, **more: object) -> SourceSync:
        return SourceSync(
            store or self.store,
            self.source,
            clock=self.clock,
            emit=self.events.append,
            health_gate=Gate(self.judge, limit_s),
            **more,  # type: ignore[arg-type]
        )

    def become(self, environment: str) -> None:
        """From now on the process is one for this environment."""
        self.source.environment = environment
        self.source.location = in_environment(ListedSource.location, environment)
        self.sync = self.process()

    def judge(self, pairs: frozenset[Pair]) -> Look:
        self.asked.append(pairs)
        return self.seen

    def sync_now(self, intent: SourceIntent | None = None) -> None:
        self.sync.run(self.fence, self.source.read(), is_confirmed=True, intent=intent)

    def push(self, new: Revision) -> None:
        self.source.revisions.append(new)
        self.sync_now()

    def watch(self, look: Look, for_s: float, intent: SourceIntent | None = None) -> None:
        """Look again and again while services are so."""
        self.seen = look
        for _ in range(round(for_s / LOOK_S)):
            self.clock.now += LOOK_S
            if self.sync.trials.look():
                self.sync_now(intent)

    @property
    def state(self) -> SourceState:
        return state(self.store, "fleet")

    @property
    def version(self) -> int:
        return int(config(self.store)["config/services/web"]["task_version"])

    @property
    def past(self) -> list[tuple[str, str]]:
        return [(each.revision, each.result) for each in self.state.history]


@pytest.fixture
def world(store: Store) -> World:
    """The good revision has shown itself; the bad one is applied."""
    world = World(store, GOOD)
    world.sync_now()
    world.watch(WELL, STEADY_S + 2 * LOOK_S)
    assert world.state.trial is None
    world.push(BAD)
    assert (world.version, world.state.trial) == (2, Trial(revision="bad", good="good", limit_s=LIMIT_S))
    return world


class TestARevisionThatFails:
    def test_rule_13_is_taken_back_as_a_whole_quarantined_with_the_reason_and_the_next_commit_resumes(
        self, world: World
    ) -> None:
        world.watch(SICK, LIMIT_S - 2 * LOOK_S)
        assert world.version == 2
        world.watch(SICK, 3 * LOOK_S)
        after = world.state
        assert (world.version, after.mark.revision, after.seen, after.trial) == (1, "good", "bad", None)
        assert after.quarantine is not None
        assert (after.quarantine.revision, after.quarantine.skips) == ("good", ("bad",))
        assert "check says no" in after.quarantine.reason
        assert "check says no" in after.problems[0]
        assert world.past == [("good", "applied"), ("bad", "applied"), ("bad", "quarantined"), ("good", "rolled back")]
        assert after.history[0].detail == "became healthy"
        assert "check says no" in after.history[2].detail

        world.watch(SICK, 10 * LIMIT_S)
        world.sync_now()
        assert world.state == after, "going back is not tried itself, nor is the same revision tried again"

        world.push(revision("fixed", {"main.json": manifest(["web", "api"], version=3)}))
        assert (world.version, world.state.trial and world.state.trial.good) == (3, "good")
        world.watch(WELL, STEADY_S + 2 * LOOK_S)
        assert (world.state.mark.revision, world.state.quarantine, world.state.problems) == ("fixed", None, ())

    def test_what_becomes_healthy_still_says_whose_override_it_ended(self, world: World) -> None:
        overrides.scale(world.store, "web", 2, Said(by="ann", reason="load test", now=world.clock.wall()))
        world.push(revision("more", {"main.json": manifest(["web", "api"], version=3, desired=4)}))
        world.watch(WELL, STEADY_S + 2 * LOOK_S)
        (last,) = [each for each in world.state.history if each.revision == "more"]
        assert last.detail == "ends the override scale web 2, by ann; became healthy"

    def test_rule_13_what_the_scheduler_gave_up_is_not_waited_for(self, world: World) -> None:
        world.watch(GIVEN_UP, LOOK_S)
        assert world.version == 1
        assert "exit code 3" in world.state.problems[0]

    def test_may_have_created_more_than_the_brake_lets_go_at_once(self, world: World) -> None:
        world.sync = world.process(limit=DeletionLimit(0, 0.0))
        many = manifest([f"s{number}" for number in range(20)] + ["web", "api"], version=3)
        world.push(revision("many", {"main.json": many}))
        world.watch(GIVEN_UP, LOOK_S)
        assert world.state.mark.revision == "good"
        assert world.state.mark.counts.services == 2

    def test_stays_when_there_was_none_before_it_and_is_reported(self, store: Store) -> None:
        world = World(store, BAD)
        world.sync_now()
        world.watch(SICK, LIMIT_S + 2 * LOOK_S)
        failed = world.state
        assert (failed.mark.revision, failed.quarantine) == ("bad", None)
        assert failed.trial is not None
        assert "check says no" in failed.trial.failed[0]
        assert world.past == [("bad", "applied"), ("bad", "unhealthy")]
        world.watch(SICK, LIMIT_S)
        assert world.state == failed, "nothing is written again and again"
        world.watch(WELL, STEADY_S + 2 * LOOK_S)
        assert world.state.trial is None, "better late than never"

    def test_goes_back_also_while_git_is_away(self, world: World) -> None:
        world.seen = GIVEN_UP
        world.clock.now += LOOK_S
        assert world.sync.trials.look()
        world.sync.run(world.fence, None, SourceError("git is away"), is_confirmed=True)
        assert (world.version, world.state.mark.revision, world.state.problems[0]) == (1, "good", "git is away")
        world.sync_now()
        assert (world.version, world.state.problem_count) == (1, 1)

    def test_stays_with_the_reason_while_the_good_one_cannot_be_had(self, world: World) -> None:
        world.sync = world.process()
        world.sync_now()
        world.source.revisions = [BAD]
        world.sync._revisions.good = None
        world.watch(GIVEN_UP, 5 * LOOK_S)
        stuck = world.state
        assert (world.version, stuck.mark.revision, stuck.quarantine) == (2, "bad", None)
        assert stuck.trial is not None
        assert "exit code 3" in stuck.trial.failed[0]
        assert any("can't be had" in each for each in stuck.problems)
        world.source.revisions = [GOOD, BAD]
        world.sync_now()
        assert (world.version, world.state.mark.revision) == (1, "good")

    def test_a_trial_goes_on_when_for_a_time_no_revision_can_be_read(self, world: World) -> None:
        world.sync = world.process()
        world.source.revisions = []
        world.sync.run(world.fence, None, SourceError("git is away"), is_confirmed=True)
        assert world.state.trial == Trial(revision="bad", good="good", limit_s=LIMIT_S)
        world.source.revisions = [GOOD, BAD]
        world.sync_now()
        world.watch(GIVEN_UP, LOOK_S)
        assert world.version == 1

    def test_goes_back_also_while_the_newest_commit_is_broken(self, world: World) -> None:
        world.push(BROKEN)
        assert world.state.trial is not None
        world.watch(GIVEN_UP, LOOK_S)
        after = world.state
        assert (world.version, after.mark.revision, after.seen) == (1, "good", "broken")
        assert after.problem_count == 2
        world.sync_now()
        assert (world.version, world.state.mark.revision) == (1, "good")

    def test_what_is_stored_of_a_check_is_short(self, world: World) -> None:
        world.watch(Look(failed=("x" * 10_000,) * 50), LOOK_S)
        assert world.version == 1
        assert len(encode(world.state)) < 6_000


class TestWhatItIsNotBlamedFor:
    def test_rule_13_the_clock_stands_still_while_nobody_can_know(self, world: World) -> None:
        world.watch(SICK, LIMIT_S / 2)
        world.watch(PAUSED, 10 * LIMIT_S)
        world.watch(SICK, LIMIT_S / 2 - 2 * LOOK_S)
        assert world.version == 2
        world.watch(SICK, 3 * LOOK_S)
        assert world.version == 1

    def test_rule_13_time_in_which_nobody_looked_does_not_count(self, world: World) -> None:
        world.watch(SICK, LOOK_S)
        world.clock.now += 10 * LIMIT_S
        world.watch(SICK, LOOK_S)
        assert world.version == 2

    def test_rule_13_only_services_that_run_something_new_are_looked_at(self, world: World) -> None:
        scaled = manifest(["web", "api"], version=2, command="sleep 2", desired=3)
        world.asked.clear()
        world.watch(WELL, STEADY_S + 2 * LOOK_S)
        assert set(world.asked) == {frozenset({("main", "web"), ("main", "api")})}
        world.asked.clear()
        world.push(revision("scaled", {"main.json": scaled}))
        world.watch(GIVEN_UP, STEADY_S + 2 * LOOK_S)
        assert (world.asked, world.state.mark.revision, world.state.trial) == ([], "scaled", None)

    def test_being_healthy_for_a_moment_is_not_enough(self, world: World) -> None:
        world.watch(WELL, STEADY_S - LOOK_S)
        world.watch(SICK, LOOK_S)
        world.watch(WELL, STEADY_S - LOOK_S)
        assert world.state.trial is not None
        world.watch(SICK, LIMIT_S)
        assert world.version == 1


class TestANewerCommit:
    def test_rule_13_inherits_the_last_good_one_and_what_was_not_shown(self, world: World) -> None:
        world.watch(SICK, LIMIT_S / 2)
        more = manifest(["web", "api", "db"], version=2, command="sleep 2")
        world.push(revision("newer", {"main.json": more}))
        world.asked.clear()
        world.watch(SICK, LIMIT_S / 2 + LOOK_S)
        assert world.version == 2, "it has all of the time"
        assert world.asked[0] == {("main", "web"), ("main", "api"), ("main", "db")}
        world.watch(SICK, LIMIT_S / 2)
        assert world.state.mark.revision == "good"
        assert world.state.quarantine is not None
        assert world.state.quarantine.skips == ("newer",)

    def test_that_changes_no_object_does_not_begin_anew(self, world: World) -> None:
        for number in range(10):
            world.watch(SICK, LIMIT_S / 6)
            if world.version == 1:
                return
            world.push(msgspec.structs.replace(BAD, id=f"docs{number}"))
        raise AssertionError("it was tried for ever")

    def test_that_puts_back_what_was_good_is_good(self, world: World) -> None:
        world.push(msgspec.structs.replace(GOOD, id="reverted"))
        world.watch(GIVEN_UP, STEADY_S + 2 * LOOK_S)
        assert (world.state.mark.revision, world.state.trial) == ("reverted", None)

    def test_a_second_bad_one_goes_back_as_far_and_neither_comes_again(self, world: World) -> None:
        world.watch(GIVEN_UP, LOOK_S)
        worse = revision("worse", {"main.json": manifest(["web", "api"], version=3)})
        world.push(worse)
        world.watch(GIVEN_UP, LOOK_S)
        assert (world.version, world.state.mark.revision) == (1, "good")
        world.source.revisions = [GOOD, worse, BAD]
        world.sync_now()
        assert (world.version, world.state.mark.revision) == (1, "good")


class TestOperators:
    def test_resume_tries_a_quarantined_revision_again_and_only_once(self, world: World) -> None:
        world.watch(GIVEN_UP, LOOK_S)
        assert "again" in source_intents.resume(world.store, "fleet", world.clock.wall())
        entry = world.store.get(keys.source_intent("fleet"))
        assert entry is not None
        intent = msgspec.json.decode(entry.value, type=SourceIntent)
        world.sync_now(intent)
        assert world.version == 2
        world.watch(GIVEN_UP, LOOK_S, intent)
        world.sync_now(intent)
        assert (world.version, world.state.quarantine and world.state.quarantine.skips) == (1, ("bad",))

    def test_what_they_went_back_to_is_not_tried(self, world: World) -> None:
        back = SourceIntent(
            source="fleet", rollback=Rollback(revision="good", skips=("bad",), by="ann", reason="", since=1.0)
        )
        world.sync_now(back)
        world.watch(GIVEN_UP, LIMIT_S, back)
        assert (world.version, world.state.trial, world.state.quarantine) == (1, None, None)
        assert world.past[-1] == ("good", "rolled back")

    def test_a_gate_that_is_switched_off_lets_what_was_begun_come_to_its_end(self, world: World) -> None:
        world.sync = world.process(limit_s=None)
        world.sync_now()
        world.watch(GIVEN_UP, LOOK_S)
        assert world.version == 1
        world.push(revision("next", {"main.json": manifest(["web", "api"], version=3)}))
        assert (world.version, world.state.trial) == (3, None)


class TestTakeover:
    def test_rule_13_another_process_goes_on_with_the_time_that_is_left(self, world: World) -> None:
        world.watch(SICK, LIMIT_S - 5 * LOOK_S)
        world.clock.now = 5.0  # another machine's clock
        world.sync = world.process()
        world.sync_now()
        world.watch(SICK, 4 * LOOK_S)
        assert world.version == 2, "never sooner than the first would have"
        world.watch(SICK, LIMIT_S / 20 + 2 * LOOK_S)
        assert world.version == 1

    def test_killed_at_any_write_of_going_back_the_next_one_completes_it(
        self, new_store: Callable[[], Callable[[], Store]]
    ) -> None:
        survived = False
        for at in range(1, 20):
            world = World(new_store()(), GOOD)
            world.sync_now()
            world.watch(WELL, STEADY_S + 2 * LOOK_S)
            world.push(BAD)

            def die(number: int, _: object, carry_out: Callable[[], object], *, at: int = at) -> object:
                if number == at:
                    raise Killed
                return carry_out()

            world.sync = world.process(WatchedStore(world.store, die, operations=4))  # type: ignore[arg-type]
            try:
                world.sync_now()
                world.watch(GIVEN_UP, LOOK_S)
                survived = True
            except Killed:
                world.sync = world.process()
                world.sync_now()
                world.watch(GIVEN_UP, 2 * LOOK_S)
            assert (world.version, world.state.mark.settled, world.state.mark.revision) == (1, True, "good")
            assert world.state.quarantine is not None
            assert world.past[-2:] == [("bad", "quarantined"), ("good", "rolled back")], world.past
            if survived:
                return
        raise AssertionError("it never came to its end")

    def test_a_process_for_another_environment_judges_nothing(self, store: Store) -> None:
        settings = {"reconciler.yaml": "environments: {prod: {}, staging: {}}\n"}
        good, bad = (
            revision(each.id, {name: content.decode() for name, content in each.files.items()} | settings)
            for each in (GOOD, BAD)
        )
        world = World(store, good)
        world.become("prod")
        world.sync_now()
        world.watch(WELL, STEADY_S + 2 * LOOK_S)
        world.push(bad)
        trial = world.state.trial
        assert trial is not None
        world.asked.clear()
        world.become("staging")  # somebody gave it the name of the other one
        world.sync_now()
        assert "is for environment prod" in world.state.problems[0]
        world.watch(WELL, STEADY_S + 2 * LOOK_S)
        world.watch(GIVEN_UP, LIMIT_S)
        assert (world.asked, world.state.trial, world.state.quarantine) == ([], trial, None)
        world.become("prod")
        world.sync_now()
        world.watch(GIVEN_UP, 2 * LOOK_S)
        assert world.past[-2:] == [("bad", "quarantined"), ("good", "rolled back")]


class TestTheDaemon:
    def test_rule_13_looks_by_itself_writes_nothing_while_suspended_and_is_not_held_up_when_it_cannot_look(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "LOOK_S", 0.02)
        monkeypatch.setattr(gate, "STEADY_S", 0.05)
        space = MemorySpace()
        make_ours(MemoryStore(space))
        store, source, events = MemoryStore(space), ListedSource("fleet", GOOD), list[Event]()
        looks: list[Look | None] = [WELL]

        def judge(_: frozenset[Pair]) -> Look:
            if looks[-1] is None:
                raise StoreUnreachable("by the test")
            return looks[-1]

        def applied() -> tuple[str, bool]:
            now = state(store, "fleet") if store.get(keys.source("fleet")) else None
            return (now.mark.revision, now.trial is not None) if now else ("", False)

        daemon = SyncDaemon(
            MemoryStore(space), source, emit=events.append, poll_s=0.1, health_gate=Gate(judge, LIMIT_S)
        )
        daemon.start()
        try:
            wait_until(lambda: applied() == ("good", False), what="the first revision to be good")
            looks.append(None)
            source.revisions.append(BAD)
            source.wake()
            wait_until(lambda: applied() == ("bad", True), what="the bad revision")
            source.revisions.append(msgspec.structs.replace(BAD, id="bad too"))
            source.wake()
            wait_until(lambda: applied() == ("bad too", True), what="the next one, though nobody can look")
            source_intents.suspend(store, "fleet", Suspension(by="ann", reason="wait", since=1.0))
            wait_until(lambda: any("suspended by ann" in each.message for each in events), what="it to hold still")
            looks.append(GIVEN_UP)
            assert applied() == ("bad too", True)
            source_intents.resume(store, "fleet", 2.0)
            wait_until(lambda: applied() == ("good", False), what="the bad revision to be taken back")
        finally:
            daemon.stop()


class TestOnce:
    def open(self, revisions: list[Revision], look: Callable[[], Look]) -> tuple[Store, ListedSource, Gate]:
        store = MemoryStore(MemorySpace())
        make_ours(store)
        return store, ListedSource("fleet", *revisions), Gate(lambda _: look(), LIMIT_S)

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(once, "LOOK_S", 0.01)
        monkeypatch.setattr(gate, "STEADY_S", 0.05)

    def test_once_ends_with_the_reasons_when_the_revision_was_taken_back(self) -> None:
        looks = [WELL]
        store, source, health_gate = self.open([GOOD], lambda: looks[0])
        events: list[Event] = []
        once.sync_once(store, source, emit=events.append, health_gate=health_gate)
        assert state(store, "fleet").trial is None
        looks[0] = GIVEN_UP
        source.revisions.append(BAD)
        for _ in range(2):
            with pytest.raises(RevisionRefused, match="exit code 3"):
                once.sync_once(store, source, emit=events.append, health_gate=health_gate)
            assert state(store, "fleet").mark.revision == "good"

    def test_once_says_when_nobody_knows_in_time(self) -> None:
        store, source, health_gate = self.open([GOOD], lambda: PAUSED)
        with pytest.raises(RevisionRefused, match="no host has room"):
            once.sync_once(store, source, emit=lambda _: None, health_gate=health_gate, wait_s=0.1)

    def test_once_does_nothing_for_a_source_that_is_suspended_meanwhile(self) -> None:
        looked = 0

        def look() -> Look:
            nonlocal looked
            looked += 1
            suspended = SourceIntent(source="fleet", suspended=Suspension(by="ann", reason="wait", since=1.0))
            store.commit([Put(keys.source_intent("fleet"), encode(suspended))])
            return GIVEN_UP

        store, source, health_gate = self.open([GOOD, BAD], lambda: WELL)
        once.sync_once(store, source, emit=lambda _: None, health_gate=health_gate)
        source.revisions.append(revision("worse", {"main.json": manifest(["web"], version=9)}))
        with pytest.raises(RevisionRefused, match="suspended by ann"):
            once.sync_once(store, source, emit=lambda _: None, health_gate=Gate(lambda _: look(), LIMIT_S))
        assert (looked, state(store, "fleet").mark.revision) == (1, "worse")
