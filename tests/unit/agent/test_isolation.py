"""A host that is cut off stops the tasks of services that want it, by its own clock, and no others."""

import pytest

from reconciler.agent.actions import Cancel, TakeDown
from reconciler.agent.lifecycle import TaskKey
from reconciler.agent.memory import Remembered
from reconciler.model.task import Phase
from tests.support.planned_host import PlannedHost, definition

ISOLATED = "this host is isolated: no contact with the store for 20s, and its service says when_isolated: stop"


def cut_off(host: PlannedHost) -> None:
    """From now on the store is not heard of any more."""
    host.contact_at = host.time
    host.problem = "no answer"


def test_it_is_stopped_in_time_and_starts_again_once_it_is_certain_that_it_is_still_issued() -> None:
    host = PlannedHost(stop_timeout_s=60.0)
    task = host.issue(7, stop_isolated_after_s=20.0)
    other = host.issue(8, instance=2)
    host.settle()
    cut_off(host)
    made = host.look()
    assert made.look_again_s is not None
    assert 19.9 < made.look_again_s <= 20.0
    host.wait(19.9)
    assert len(host.running()) == 2
    host.time += 0.2
    host.look()
    assert f"{task.id} pending (attempt 2): {ISOLATED}" in host.events
    host.look()
    (stop,) = host.work
    assert isinstance(stop, TakeDown)
    assert 9.8 < stop.patience_s(0, host.time) < 10.0, "it has ended before anybody may replace it"
    host.finish(stop)
    assert host.look().look_again_s == 1.0
    host.wait(3600.0)
    assert [ref.task_id for ref in host.running()] == [other.id]
    host.contact_at = None
    host.wait(2.0)
    assert [ref.task_id for ref in host.running()] == [other.id], "nobody has said yet that it is still issued here"
    assert "may be another host's by now" in host.status(task).reason
    host.problem = None
    host.settle()
    assert len(host.running()) == 2
    assert (host.status(task).phase, host.status(task).attempt) == (Phase.RUNNING, 2)
    assert host.lives[TaskKey(task.id, 7)].failures == ()


def test_the_time_between_two_renewals_of_the_session_is_no_isolation() -> None:
    host = PlannedHost(session_ttl_s=15.0)
    host.issue(7, stop_isolated_after_s=2.0)
    host.settle()
    cut_off(host)
    host.wait(14.0)
    assert len(host.running()) == 1
    host.wait(1.0)
    assert host.running() == []


def test_one_that_waited_for_its_next_attempt_begins_it_as_soon_as_there_is_contact_again() -> None:
    host = PlannedHost()
    task = host.issue(7, stop_isolated_after_s=20.0)
    host.settle()
    cut_off(host)
    for _ in range(4):
        host.end(host.running()[0])
        host.settle()
        host.time += host.look().look_again_s or 0.0
        host.settle()
    while host.time < host.life(task).not_before:
        host.time += host.look().look_again_s or 60.0
    made = host.look()
    assert (host.life(task).reason, host.life(task).paused_at) == (ISOLATED, None)
    assert made.look_again_s == 1.0, "nobody else tells that there is contact again"


def test_what_was_replaced_meanwhile_is_not_started_again() -> None:
    host = PlannedHost()
    task = host.issue(7, stop_isolated_after_s=20.0)
    host.settle()
    cut_off(host)
    host.wait(21.0)
    assert host.running() == []
    host.take_back(task)
    host.contact_at, host.problem = None, None
    host.settle()
    assert host.running() == []
    assert host.phase(task) is None


def test_a_start_that_is_under_way_is_cut_and_none_is_begun() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("db", "app"), stop_isolated_after_s=20.0)
    host.look()
    cut_off(host)
    host.time += 20.0
    host.look()
    start, cancel = host.work
    assert isinstance(cancel, Cancel)
    host.finish(start, started=1)
    host.work.clear()
    host.settle()
    assert host.running() == []
    host.wait(60.0)
    assert host.phase(task) is Phase.PENDING


def test_an_agent_that_begins_without_contact_counts_from_its_own_start() -> None:
    host = PlannedHost()
    host.issue(7, stop_isolated_after_s=20.0)
    host.settle()
    host.restart_agent()
    host.contact_at = host.time
    host.wait(19.0)
    assert len(host.running()) == 1
    host.wait(1.1)
    assert host.running() == []


def test_all_its_containers_share_the_time_that_is_left() -> None:
    host = PlannedHost(stop_timeout_s=60.0)
    host.issue(7, definition("db", "app", "web", kind="docker"), stop_isolated_after_s=20.0)
    host.settle()
    cut_off(host)
    last_contact = host.time
    host.time += 22.0
    host.look()
    host.look()
    (stop,) = host.work
    assert isinstance(stop, TakeDown)
    now = host.time
    for position in range(3):
        now += stop.patience_s(position, now)
    assert now == pytest.approx(last_contact + 30.0), "each took all of its time, and the pass came late"
    assert stop.patience_s(2, last_contact + 40.0) == 0.0


def test_an_agent_that_begins_without_the_store_starts_none_of_them_before_it_answers() -> None:
    host = PlannedHost()
    task = host.issue(7, stop_isolated_after_s=20.0)
    other = host.issue(8, instance=2)
    host.settle()
    cut_off(host)
    host.wait(21.0)
    assert [ref.task_id for ref in host.running()] == [other.id]
    host.restart_agent()
    host.last_issued = Remembered(store_id="s", boot="b", tasks=(task, other), definitions=host.definitions).view()
    host.contact_at = host.time
    for seconds in (1.0, 10.0):
        host.wait(seconds)
        assert [ref.task_id for ref in host.running()] == [other.id]
    assert "the store has not said" in host.status(task).reason
    host.problem = host.contact_at = None
    host.wait(10.0)
    assert len(host.running()) == 2
