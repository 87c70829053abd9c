"""More sources than a transaction of Consul has operations: their number costs a scheduler nothing."""

from collections.abc import Generator

import pytest

from reconciler.model import keys
from reconciler.runtime.clock import SystemClock
from reconciler.scheduler.apply import Applier
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.plan import Plan, plan
from reconciler.scheduler.snapshot import Reading, view_of
from reconciler.store import lease
from reconciler.store.interface import Acquire, Committed, Session, Store
from reconciler.sync.passes import SourceSync
from tests.support.consul import ConsulAgent
from tests.support.scheduler_store import PretendAgents, head, tasks
from tests.support.sync import ListedSource, make_ours, manifest, revision

pytestmark = pytest.mark.consul

SOURCES = 70
DESIRED = 25
"""Their records and what goes with them just fit into one transaction."""


@pytest.fixture
def store(consul: ConsulAgent) -> Generator[Store]:
    made = make_ours(consul.store())
    yield made
    made.close()


@pytest.fixture
def session(store: Store) -> Generator[Session]:
    made = store.open_session("both", 60)
    assert isinstance(store.commit([Acquire(keys.scheduler_lock("c0"), b"me", made.id)]), Committed)
    yield made
    made.close()


def applied(store: Store, session: Session, number: int, text: str, *, desired: int = 1) -> None:
    """A revision of one of many sources, each with a cluster and a service of its own."""
    name = f"source-{number}"
    lock = keys.sync_lock(name)
    assert lease.take(store, lock, b"{}", session.id)
    declared = {"main.json": manifest([f"s{number}"], cluster=f"c{number}", desired=desired)}
    source = ListedSource(name, revision(text, declared))
    sync = SourceSync(store, source, clock=SystemClock(), emit=lambda _: None)
    sync.run(lease.fence(lock, session.id), source.read(), is_confirmed=True)


def look(store: Store) -> tuple[Reading, Plan]:
    reading = Observer(store).read()
    return reading, plan(view_of(reading.scene, "c0", "default"), 0.0)


def act(store: Store, session: Session, reading: Reading, planned: Plan) -> str | None:
    view = view_of(reading.scene, "c0", "default")
    return Applier(store, reading, view, session_id=session.id, now=0.0).apply(planned, lambda: False)


def test_rule_02_seventy_sources_take_no_room_and_none_of_them_may_have_moved(store: Store, session: Session) -> None:
    agents = PretendAgents(store, "h1")
    for number in range(SOURCES):
        applied(store, session, number, "r1", desired=DESIRED if number == 0 else 1)
    reading, planned = look(store)
    applied(store, session, SOURCES - 1, "r2", desired=2)
    refused = act(store, session, reading, planned)
    assert refused is not None
    assert keys.MOVED in refused
    assert tasks(store) == []

    reading, planned = look(store)
    applied(store, session, SOURCES - 2, "a commit that changes nothing of this source")
    assert act(store, session, reading, planned) is None
    assert len(tasks(store)) == DESIRED
    assert {task.issue for task in tasks(store)} == {head(store, "c0").seq}, "it took more than one transaction"

    reading = Observer(store).read()
    applied(store, session, SOURCES, "r1")
    assert Observer(store).read().unmoved != reading.unmoved, "a source that is new is noticed too"
    agents.close()
