"""``hosts forget``: only what is gone is forgotten."""

import contextlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from reconciler.cli.main import reconciler
from reconciler.errors import RevisionRefused, UsageError
from reconciler.model import keys
from reconciler.model.task import HostStatus, Task
from reconciler.operations import hosts, overrides
from reconciler.operations.overrides import Said
from reconciler.runtime.clock import SystemClock
from reconciler.scheduler.cluster_view import ClusterView
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.outage import judge
from reconciler.scheduler.snapshot import view_of
from reconciler.store.connect import open_store
from reconciler.store.memory import MemoryStore
from tests.support.scheduler_store import PretendAgents, declare_web, make_ours, put
from tests.support.scheduler_world import state

ABOUT_H1 = (keys.host_state("h1"), keys.status("h1"), keys.host_override("h1"))


@pytest.fixture
def store() -> MemoryStore:
    """Two hosts without agents, each of which has a task."""
    store = MemoryStore()
    make_ours(store)
    for name in ("h1", "h2"):
        put(store, keys.host_state(name), state(name))
        put(store, keys.status(name), HostStatus(host=name, tasks={}))
    return store


def issue(store: MemoryStore, host: str, instance: int) -> None:
    task = Task(
        id=f"main-web-1-{instance}",
        cluster="main",
        service="web",
        task_name="web",
        task_version=1,
        instance=instance,
        host=host,
        issue=1,
        digest="",
        issued_at=0.0,
    )
    put(store, keys.task_by_id(task.id), task)


def view(store: MemoryStore) -> ClusterView:
    declare_web(store, desired=2)
    return view_of(Observer(store).read().scene, "main", "default")


def test_what_a_host_left_in_the_store_goes_and_with_it_what_was_said_by_hand(store: MemoryStore) -> None:
    overrides.drain(store, "h1", Said(by="ann", reason="broken", now=SystemClock().wall()))
    put(store, keys.placeholder("h1"), {})
    assert hosts.forget(store, "h1").removed == tuple(sorted(ABOUT_H1))
    assert store.get_all((*ABOUT_H1, keys.tasks_of_host("h1"))) == {}
    assert store.get(keys.host_state("h2")) is not None
    with pytest.raises(UsageError, match="no host h1"):
        hosts.forget(store, "h1")


def test_a_host_whose_agent_is_there_is_not_forgotten(store: MemoryStore) -> None:
    PretendAgents(store, "h3")
    with pytest.raises(RevisionRefused, match="host h3 is there"):
        hosts.forget(store, "h3", is_gone=True)
    assert store.get(keys.host_state("h3")) is not None


def test_while_tasks_are_issued_there_somebody_has_to_say_that_it_is_gone_and_then_the_rest_is_replaced(
    store: MemoryStore,
) -> None:
    issue(store, "h1", 0)
    issue(store, "h2", 1)
    with pytest.raises(RevisionRefused, match="1 tasks are issued to host h1: main-web-1-0"):
        hosts.forget(store, "h1")
    assert judge(view(store)).brake is not None, "both are missing, so nothing is replaced"
    assert hosts.forget(store, "h1", is_gone=True).tasks == ("main-web-1-0",)
    assert judge(view(store)).brake is None


@pytest.mark.parametrize("order", [["--format", "json", "forget", "h1"], ["forget", "h1", "--format", "json"]])
def test_the_format_may_stand_before_forget_or_after_it(tmp_path: Path, order: list[str]) -> None:
    url = f"sqlite://{tmp_path}/store.db"
    with contextlib.closing(open_store(url, environ={})) as store:
        put(store, keys.host_state("h1"), state("h1"))
    done = CliRunner().invoke(reconciler, ["hosts", "--store", url, *order])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["removed"] == [keys.host_state("h1")]
