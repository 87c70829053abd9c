"""Who tells, and what is told again: processes that die, stand by, or find their record gone. Steps taken by hand."""

from collections.abc import Callable

import pytest

from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.notifications import Notifications, Webhook
from reconciler.model.source_state import PastRevision, SourceState, SyncMark
from reconciler.notify.receivers import About, Audience, read_place, receivers
from reconciler.store.interface import DeleteIf, Held, Put, Store
from reconciler.store.memory import MemorySpace, MemoryStore
from reconciler.sync.gate import LOOK_S, STEADY_S, Look
from reconciler.sync.reporter import SELDOM_S, ReporterDaemon, Survey
from tests.support.clock import HandClock
from tests.support.receiver import ReceiverServer
from tests.support.sync import hold, make_ours

ABOUT = About(source="fleet", context="reconciler/fleet")
ON_ITS_WAY = Look(waiting=("main/web: 0 of 1 healthy",), is_running=True)


class World:
    """A store in which a source applies revisions, and how its one service is."""

    def __init__(self, receiver: ReceiverServer) -> None:
        self.receiver = receiver
        self.store: Store = make_ours(MemoryStore(MemorySpace()))
        self.fence: Held | None = hold(self.store, "fleet")
        self.clock = HandClock()
        self.health = ON_ITS_WAY
        self.own: SourceState | None = None

    def applies(self, revision: str) -> None:
        past = PastRevision(revision=revision, result="applied", at=0.0, subject=f"Change {revision}")
        mark = SyncMark(settled=True, revision=revision)
        own = SourceState(source="fleet", kind="git", location="x", mark=mark, seen=revision, history=(past,))
        self.own = own
        self.store.commit([Put(keys.source("fleet"), encode(own))])

    def survey(self) -> Survey:
        prints = {("main", "web"): self.own.mark.revision if self.own else ""}
        return Survey(own=self.own, prints=prints, look=lambda _: self.health)

    def process(self) -> "Process":
        return Process(self)

    @property
    def heard(self) -> list[str]:
        return [each.body.decode() for each in self.receiver.requests]


class Process:
    """One process that would tell, if it is its turn."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fence: Callable[[], Held | None] = lambda: world.fence
        hook = Webhook(name="chat", url="env:HOOK", content="text", body="${short} ${event}")
        self.daemon = ReporterDaemon(
            world.store,
            Audience(ABOUT, receivers(Notifications(webhooks=(hook,)), ABOUT), ""),
            held=self.held,
            survey=world.survey,
            read_secret=read_place({"HOOK": world.receiver.url}),
            clock=world.clock,
        )

    def held(self) -> Held | None:
        return self.fence()

    def decides(self) -> float | None:
        return self.daemon._step()

    def tells(self) -> None:
        self.world.clock.pass_by(1.0)
        for courier in self.daemon._couriers:
            courier._step()

    def works(self, rounds: int = 3) -> None:
        for _ in range(rounds):
            self.decides()
            self.tells()
        self.decides()


@pytest.fixture
def world(receiver: ReceiverServer) -> World:
    return World(receiver)


def test_a_revision_is_told_of_once_by_whoever_works(world: World) -> None:
    world.applies("a")
    first = world.process()
    first.works()
    assert world.heard == ["a started"]
    world.health = Look()
    first.decides()
    world.clock.pass_by(STEADY_S)
    second = world.process()
    second.works()  # which has not seen yet that all was healthy for a while
    assert world.heard == ["a started"]
    world.clock.pass_by(STEADY_S)
    second.works()
    assert world.heard == ["a started", "a healthy"]
    commits = world.store.get(keys.reports("fleet"))
    world.process().works()
    second.works()
    assert world.heard == ["a started", "a healthy"]
    assert world.store.get(keys.reports("fleet")) == commits  # nothing is written either


def test_killed_between_the_answer_and_noting_it_only_that_is_said_again(world: World) -> None:
    world.applies("a")
    first = world.process()
    first.decides()
    first.tells()
    world.process().works()
    assert world.heard == ["a started", "a started"]


def test_killed_before_anything_was_sent_the_next_one_says_it(world: World) -> None:
    world.applies("a")
    world.process().decides()
    world.applies("b")
    world.process().works()
    assert world.heard == ["a started", "a superseded", "b started"]


def test_who_loses_the_lock_says_nothing_more(world: World) -> None:
    world.applies("a")
    first = world.process()
    first.decides()
    first.fence = lambda: None
    first.tells()
    assert world.heard == []
    first.decides()
    # one that does not know yet can write nothing
    late = world.process()
    late.fence = lambda: Held(keys.sync_lock("fleet"), "a-session-that-is-gone")
    world.applies("b")
    late.decides()
    late.tells()
    assert world.heard == []


@pytest.mark.parametrize("how", ["deleted", "unreadable"])
def test_a_record_that_is_lost_is_begun_anew(world: World, how: str) -> None:
    world.applies("a")
    teller = world.process()
    teller.works()
    for revision in ("b", "c"):
        world.applies(revision)
        teller.works()
    entry = world.store.get(keys.reports("fleet"))
    assert entry is not None
    world.store.commit([DeleteIf(entry.key, entry.index) if how == "deleted" else Put(entry.key, b"{]")])
    world.applies("d")
    teller.works()
    assert world.heard[-1] == "d started"


def test_what_takes_long_is_looked_at_more_rarely(world: World) -> None:
    world.applies("a")
    teller = world.process()
    assert teller.decides() == LOOK_S
    for _ in range(3000):
        world.clock.pass_by(teller.decides() or 0.0)
    world.clock.pass_by(SELDOM_S)
    assert teller.decides() == SELDOM_S
    world.clock.pass_by(SELDOM_S)
    world.health = Look()
    assert teller.decides() == LOOK_S
    world.clock.pass_by(STEADY_S)
    assert teller.decides() is None


def test_while_nobody_can_say_how_services_are_nothing_is_said_of_them(world: World) -> None:
    world.applies("a")
    teller = world.process()
    survey = world.survey
    teller.daemon._survey = lambda: Survey(own=world.own, prints={}, look=survey().look, doubt="a value is unreadable")
    assert teller.decides() == LOOK_S
    teller.tells()
    assert world.heard == []
