"""What a reading of the store is worth, and when it is worth nothing."""

import pytest

from reconciler.errors import StoreUnreachable
from reconciler.model import keys
from reconciler.model.manifests import Cluster, Service
from reconciler.model.moved import Moved
from reconciler.model.source_state import SourceCounts
from reconciler.model.task import ClusterHead, Health, Phase, TaskStatus
from reconciler.scheduler.evidence import MOST_COMPARED
from reconciler.scheduler.observe import Observer, observe
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import view_of
from reconciler.store.interface import Listing, Put
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support.clock import HandClock
from tests.support.scheduler_store import PretendAgents, declare, declare_web, make_ours, mark, put, remove
from tests.support.scheduler_world import definition, replace
from tests.unit.scheduler.test_apply import Scheduler


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    make_ours(store)
    return store


class ChangesMarks(MemoryStore):
    """A source goes on applying while we read, some times."""

    def __init__(self, space: MemorySpace, times: int) -> None:
        super().__init__(space)
        self.times = times
        self.readings = 0

    def list(self, prefix: str) -> Listing:
        listing = super().list(prefix)
        if prefix == keys.CONFIG:
            self.readings += 1
            if self.readings <= self.times:
                put(self, keys.source("fleet"), mark("fleet", f"r{self.readings}", settled=True))
        return listing


def test_rule_02_a_reading_during_which_a_mark_changed_is_thrown_away(store: MemoryStore) -> None:
    declare_web(store)
    busy = ChangesMarks(store.space, times=2)
    reading = Observer(busy).read()
    assert busy.readings == 3
    assert reading.scene.snapshot.sources["fleet"].mark.revision == "r2"


def test_rule_02_when_marks_never_hold_still_nothing_is_concluded(store: MemoryStore) -> None:
    with pytest.raises(StoreUnreachable):
        Observer(ChangesMarks(store.space, times=100)).read()


def test_rule_05_a_store_without_its_sentinel_is_held(store: MemoryStore) -> None:
    PretendAgents(store, "h1")
    declare_web(store)
    remove(store, keys.STATE_SENTINEL)
    planned = plan(observe(store, "main"), 0.0)
    assert planned.steps == ()
    assert planned.hold is not None
    assert "state/.store is gone" in planned.hold


def test_rule_05_fewer_objects_than_a_source_says_are_an_incomplete_reading(store: MemoryStore) -> None:
    PretendAgents(store, "h1")
    declare_web(store)
    said = mark("fleet", "r1", settled=True)
    said = replace(said, mark=replace(said.mark, counts=SourceCounts(services=1)))
    put(store, keys.source("fleet"), said)
    planned = plan(observe(store, "main"), 0.0)
    assert planned.steps == ()
    assert planned.hold is not None
    assert planned.hold.startswith("source fleet has 1 services in the store, but only 0 could be read")


def test_more_sources_than_a_transaction_can_compare_are_held_and_it_is_said_what_to_do(store: MemoryStore) -> None:
    PretendAgents(store, "h1")
    declare_web(store)
    for number in range(MOST_COMPARED):
        put(store, keys.source(f"old-{number}"), mark(f"old-{number}", "r1", settled=True))
    assert plan(observe(store, "main"), 0.0).steps
    put(store, keys.source("newest"), mark("newest", "r1", settled=True))
    planned = plan(observe(store, "main"), 0.0)
    assert planned.steps == ()
    assert planned.hold is not None
    assert f"{MOST_COMPARED + 1} sources have to be compared one by one" in planned.hold
    assert "config/.moved is not there" in planned.hold
    put(store, keys.MOVED, Moved(source="newest", id="1"))
    planned = plan(observe(store, "main"), 0.0)
    assert planned.hold is not None
    assert f"newest and {MOST_COMPARED} more are applied by an older `reconciler sync`" in planned.hold
    for number in range(MOST_COMPARED):
        said = mark(f"old-{number}", "r1", settled=True)
        put(store, keys.source(said.source), replace(said, mark=replace(said.mark, told=True)))
    assert plan(observe(store, "main"), 0.0).steps


def test_rule_05_a_value_that_cannot_be_read_holds_only_what_rests_on_it(store: MemoryStore) -> None:
    PretendAgents(store, "h1")
    declare_web(store)
    declare(store, Service(name="db", task_name="db", task_version=1, desired=1), definition("db", 1))
    declare(store, Cluster(name="main", services=("db", "web")), Cluster(name="other", services=("web",)))
    store.commit([Put(keys.service("db"), b'{"name": "db", "desired": "many"}')])
    planned = plan(observe(store, "main"), 0.0)
    assert {step.service for step in planned.steps} == {"web"}
    assert [note.service for note in planned.notes] == ["db"]
    assert "config/services/db in the store is not a Service" in planned.notes[0].reason
    store.commit([Put(keys.cluster("other"), b"[]")])
    assert plan(observe(store, "other"), 0.0).hold is not None
    assert plan(observe(store, "main"), 0.0).hold is None


def test_rule_06_a_host_counts_as_missing_from_when_we_saw_it_and_anew_after_a_failover(store: MemoryStore) -> None:
    agents = PretendAgents(store, "h1", "h2")
    clock = HandClock()
    observer = Observer(store, clock=clock)
    agents.down("h2")
    clock.pass_by(500)
    assert observer.read().scene.hosts["h2"].missing_s == 0
    clock.pass_by(29)
    assert observer.read().scene.hosts["h2"].missing_s == 29
    assert observer.read().scene.hosts["h1"].missing_s == 0
    agents.up("h2")
    observer.read()
    agents.down("h2")
    clock.pass_by(5)
    assert observer.read().scene.hosts["h2"].missing_s == 0
    clock.pass_by(7)
    assert observer.read().scene.hosts["h2"].missing_s == 7
    observer.begin_anew()
    assert observer.read().scene.hosts["h2"].missing_s == 0


def test_rule_16_how_long_a_task_has_failed_is_measured_here_not_read_from_the_host(store: MemoryStore) -> None:
    agents = PretendAgents(store, "h1")
    declare_web(store)
    Scheduler(store).go()
    agents.sick["main-web-1-0"] = TaskStatus(phase=Phase.FAILED, issue=0, health=Health.UNKNOWN, since=1.0)
    agents.tick()
    clock = HandClock()
    observer = Observer(store, clock=clock)
    observer.read()
    clock.pass_by(12)
    assert view_of(observer.read().scene, "main").failed_s == {"main-web-1-0": 12}


def test_a_value_is_decoded_again_only_when_it_changed(store: MemoryStore) -> None:
    declare_web(store, desired=1)
    observer = Observer(store)
    first = observer.read().scene.snapshot
    declare_web(store, desired=2)
    second = observer.read().scene.snapshot
    assert second.definitions["web", 1] is first.definitions["web", 1]
    assert second.services["web"].desired == 2


def test_records_of_a_newer_program_are_read_past_what_is_unknown(store: MemoryStore) -> None:
    store.commit([Put(keys.cluster_head("main"), b'{"cluster":"main","scheduler":"default","seq":7,"new":true}')])
    assert observe(store, "main").head == ClusterHead(cluster="main", scheduler="default", seq=7)


def test_a_cluster_is_seen_as_the_scheduler_that_it_names_sees_it(store: MemoryStore) -> None:
    declare_web(store)
    declare(store, Cluster(name="main", services=("web",), scheduler="mine"))
    assert plan(observe(store, "main"), 0.0).release is False
    assert plan(observe(store, "main", "default"), 0.0).release is True
