"""What failed tasks leave is kept for a while, and is nothing to anybody but people who read it."""

import pytest

from reconciler.agent.actions import TakeDown
from reconciler.agent.host_view import Seen
from reconciler.agent.lifecycle import TaskKey
from reconciler.agent.remains import due
from reconciler.executors.interface import Keep, Observed, Ref
from reconciler.model.task import Phase, Task
from tests.support.planned_host import OURS, PlannedHost, definition

NONE_KEPT = Keep(ended_s=0)


def failed(host: PlannedHost) -> tuple[Task, Ref]:
    """A task that was given up after its last death."""
    task = host.issue(7, port=20001)
    host.settle()
    for _ in range(5):
        (ref,) = host.running()
        host.end(ref, 3)
        host.look()
        host.wait(30)
    assert host.phase(task) is Phase.FAILED
    return task, ref


def left(issue: int, ended_at: float, *, instance: int = 1) -> tuple[TaskKey, list[Seen]]:
    ref = Ref(f"c-web-1-{instance}", issue, "main")
    container = Observed(ref=ref, owner=OURS, digest="d", attempt=1, running=False, ended_at=ended_at)
    return TaskKey(ref.task_id, issue), [Seen("docker", container)]


def test_a_failed_task_that_is_replaced_leaves_its_container_and_holds_nothing() -> None:
    host = PlannedHost()
    task, ref = failed(host)
    host.take_back(task)
    host.look()
    host.look()
    (work,) = host.work
    assert isinstance(work, TakeDown)
    assert not work.remove, "it is told to stop all the same: its secrets go, and what runs beside it"
    made = host.settle()
    assert [place for place, _ in host.containers.items()] == [("bash", ref)]
    assert made.remains.keys() == {TaskKey(task.id, 7)}
    assert task.id not in host.published.tasks, "its port is free"  # type: ignore[union-attr]
    again = host.issue(8)
    host.settle()
    assert host.phase(again) is Phase.RUNNING, "the next issue of its id waits for nothing"


def test_what_was_well_when_it_was_stopped_leaves_nothing() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    host.take_back(task)
    host.settle()
    host.wait(30)
    assert host.containers == {}


def test_none_is_kept_where_none_is_wanted() -> None:
    host = PlannedHost(keep=NONE_KEPT)
    task, _ = failed(host)
    host.take_back(task)
    host.settle()
    assert host.containers == {}


def test_what_an_earlier_agent_has_left_is_known_by_itself() -> None:
    host = PlannedHost()
    task, _ = failed(host)
    host.take_back(task)
    host.settle()
    host.restart_agent()
    made = host.settle()
    assert made.remains.keys() == {TaskKey(task.id, 7)}
    host.ending = True
    assert host.settle().ended
    assert host.containers == {}, "who stops everything for good leaves nothing"


@pytest.mark.parametrize("listed", [True, False])
def test_rule_09_a_task_of_which_a_part_may_run_unseen_stays_listed(*, listed: bool) -> None:
    host = PlannedHost()
    task, _ = failed(host)
    if not listed:
        host.take_back(task)
        host.settle()
    host.restart_agent()
    host.blind["docker"] = "no engine"
    if listed:
        host.take_back(task)
    made = host.look()
    assert (task.id in host.published.tasks) is listed  # type: ignore[union-attr]
    assert bool(made.remains) is not listed


def test_old_ones_and_too_many_are_removed() -> None:
    keep = Keep(ended_s=100, ended=2)
    there = dict([left(1, 800), left(2, 950), left(3, 990), left(4, 1000), left(5, 899, instance=2)])
    assert sorted(each.container.ref.issue for each in due(there, 1000.0, keep)) == [1, 2, 5]
    assert due(there, 1000.0, Keep(ended_s=1000)) == []


def test_all_containers_of_a_task_are_kept_as_long_as_the_last_of_them() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("db", "app"))
    host.settle()
    key = TaskKey(task.id, 7)
    db, app = (Seen("bash", each) for each in host.containers.values())
    assert due({key: [db, app]}, 10.0, Keep(ended_s=11)) == []
    assert due({key: [db, app]}, 10.0, Keep(ended_s=9)) == [db, app]
