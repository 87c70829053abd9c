"""What happened, read from heads and statuses: all that is there first, then what is new, each thing once."""

import msgspec
import pytest

from reconciler.model import keys
from reconciler.model.task import ClusterHead, Decision, Health, HostStatus, Phase, Task, TaskStatus
from reconciler.queries import events
from reconciler.queries.events import EventReader, chosen
from reconciler.store.interface import Put, Store
from reconciler.store.memory import MemoryStore
from tests.support.scheduler_store import put
from tests.support.sync import WatchedStore, make_ours


@pytest.fixture
def store() -> Store:
    return make_ours(MemoryStore())


def decided(store: Store, *numbers: int, cluster: str = "main") -> None:
    """The head after these transactions."""
    decisions = tuple(
        Decision(seq=number, at=100.0 + number, what=f"start web-{number}", why="3 desired", service="web")
        for number in numbers
    )
    head = ClusterHead(cluster=cluster, scheduler="default", seq=max(numbers), decisions=decisions)
    put(store, keys.cluster_head(cluster), head)


def reported(store: Store, host: str = "h1", **tasks: TaskStatus) -> None:
    put(
        store,
        keys.status(host),
        HostStatus(host=host, tasks={f"main-web-1-{name}": each for name, each in tasks.items()}),
    )


def issued(store: Store, number: str) -> None:
    task = Task(
        id=f"main-web-1-{number}", cluster="main", service="web", task_name="web", task_version=1, instance=0,
        host="h1", issue=1, digest="d", issued_at=1.0,
    )  # fmt: skip
    put(store, keys.task_by_id(task.id), task)


def running(health: Health = Health.PASSING, since: float = 104.5, **more: object) -> TaskStatus:
    return TaskStatus(phase=Phase.RUNNING, issue=1, health=health, since=since, **more)  # type: ignore[arg-type]


def test_decisions_and_states_stand_in_the_order_in_which_they_happened(store: Store) -> None:
    decided(store, 1, 5)
    issued(store, "a")
    reported(
        store, a=running(), z=TaskStatus(phase=Phase.FAILED, issue=1, exit_code=3, reason="no database", since=104.0)
    )
    first, failed, passing, last = EventReader(store).read(200.0)
    assert (first.kind, first.cluster, first.service, first.what, first.why, first.at) == (
        "decision", "main", "web", "start web-1", "3 desired", 101.0,
    )  # fmt: skip
    assert (failed.what, failed.why) == ("main-web-1-z on h1 is failed, exit code 3", "no database")
    assert (failed.cluster, failed.task, failed.host) == ("", "main-web-1-z", "h1"), "its record is gone"
    assert (passing.kind, passing.cluster, passing.service, passing.what) == (
        "task", "main", "web", "main-web-1-a on h1 is running, passing",
    )  # fmt: skip
    assert last.what == "start web-5"


def test_after_that_only_what_is_new_is_said(store: Store) -> None:
    decided(store, 1, 2)
    issued(store, "a")
    reported(store, a=running())
    reader = EventReader(store)
    assert len(reader.read(200.0)) == 3
    assert reader.read(200.0) == []
    decided(store, 2, 3)
    reported(store, a=running(reason="other words for the same"))
    assert [event.what for event in reader.read(200.0)] == ["start web-3"]
    reported(store, a=running(Health.CRITICAL, reason="GET / answered 500"))
    [sick] = reader.read(200.0)
    assert (sick.what, sick.why, sick.service) == (
        "main-web-1-a on h1 is running, critical",
        "GET / answered 500",
        "web",
    )
    reported(store)
    [gone] = reader.read(200.0)
    assert (gone.what, gone.service, gone.at) == ("main-web-1-a on h1 is gone", "web", 200.0)


def test_they_can_be_chosen_by_cluster_service_and_time(store: Store) -> None:
    decided(store, 1, 5)
    decided(store, 3, cluster="other")
    found = EventReader(store).read(200.0)
    assert len(found) == 3
    assert [each.at for each in chosen(found, cluster="main", service=None, since=None)] == [101.0, 105.0]
    assert [each.at for each in chosen(found, cluster=None, service="web", since=102.0)] == [103.0, 105.0]
    assert chosen(found, cluster=None, service="api", since=None) == []


def test_what_is_told_of_several_services_is_found_by_each_of_them(store: Store) -> None:
    of_both = Decision(
        seq=1, at=1.0, what="start 2 tasks on h1 (a to b)", why="first placement", services=("api", "web")
    )
    of_many = msgspec.structs.replace(of_both, seq=2, what="start 99 tasks on h2 (c to d)", services=("api", "…"))
    head = ClusterHead(cluster="main", scheduler="default", seq=2, decisions=(of_both, of_many))
    put(store, keys.cluster_head("main"), head)
    found = EventReader(store).read(200.0)

    def named(service: str) -> list[str]:
        return [each.what for each in chosen(found, cluster=None, service=service, since=None)]

    assert named("web") == [of_both.what, of_many.what], "the second one tells of more than it names"
    assert named("db") == [of_many.what]
    assert found[0].services == ("api", "web")


def test_records_are_looked_up_one_by_one_when_they_are_few(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = WatchedStore(store)
    reader = EventReader(watched)
    reader.read(200.0)
    watched.listed.clear()
    issued(store, "a")
    reported(store, a=running())
    assert [event.service for event in reader.read(200.0)] == ["web"]
    assert keys.TASKS_BY_ID not in watched.listed, "one new task among many costs one record"
    monkeypatch.setattr(events, "FEW", 0)
    issued(store, "b")
    reported(store, a=running(), b=running())
    assert [event.service for event in reader.read(200.0)] == ["web"]


def test_what_can_not_be_read_is_passed_over(store: Store) -> None:
    store.commit([Put(keys.status("h9"), b"not json"), Put(keys.cluster_head("x"), b"{}")])
    decided(store, 1)
    assert len(EventReader(store).read(200.0)) == 1
