"""When the planner stops something, and in which order. Rule 5: never for want of evidence."""

import msgspec
import pytest

from reconciler.agent.actions import Cancel, TakeDown
from reconciler.agent.host_view import Unusable
from reconciler.agent.plan import plan
from reconciler.executors.interface import Observed, Ref
from reconciler.model.task import HostStatus, Phase
from tests.support.planned_host import OURS, PlannedHost, definition


def test_a_stop_is_withdrawn_drained_and_then_taken_down_in_reverse() -> None:
    host = PlannedHost(drain_delay_s=2.0, stop_timeout_s=10.0)
    task = host.issue(7, definition("a", "b"), port=20001)
    host.settle()
    host.take_back(task)
    host.look()
    host.look()
    assert host.phase(task) is Phase.STOPPING
    assert (task.id not in host.registrations, host.work) == (True, [])
    host.time += 1.5
    host.look()
    assert host.work == []
    host.time += 1.0
    host.look()
    (take_down,) = host.work
    assert isinstance(take_down, TakeDown)
    assert [target.ref.container for target in take_down.targets] == ["b", "a"]
    assert (take_down.timeout_s, take_down.remove) == (10.0, True)
    assert all(target.container is not None for target in take_down.targets)
    host.finish(take_down)
    host.settle()
    assert host.phase(task) is None
    assert host.containers == {}
    assert host.published == HostStatus(host="h1")


def test_a_stop_waits_for_the_withdrawal_but_not_for_ever() -> None:
    host = PlannedHost(drain_delay_s=2.0, withdraw_patience_s=10.0)
    task = host.issue(7)
    host.settle()
    host.provider_answers = False
    host.take_back(task)
    host.settle()
    host.wait(9)
    assert host.running() != []
    host.wait(2)
    assert host.running() != []
    host.wait(3)
    assert host.running() == []


def test_what_never_ran_needs_no_drain() -> None:
    host = PlannedHost(drain_delay_s=60.0)
    task = host.issue(7, definition("a", "b"))
    host.look()
    host.finish(host.work[0], "no such file", started=1)
    host.look()
    host.take_back(task)
    host.settle()
    assert host.running() == []


def test_rule_09_a_stopping_task_is_listed_with_its_port_until_it_is_gone() -> None:
    host = PlannedHost(drain_delay_s=2.0)
    task = host.issue(7, port=20001)
    host.settle()
    host.take_back(task)
    host.settle()
    assert (host.status(task).phase, host.status(task).port) == (Phase.STOPPING, 20001)
    host.restart_agent()
    host.settle()
    assert host.status(task).port == 20001
    host.time += 5
    host.look()
    host.finish(host.work[0], "the process can't be killed")
    host.look()
    assert (host.status(task).port, host.status(task).reason) == (20001, "the process can't be killed")
    host.wait(5)
    assert task.id not in (host.published or HostStatus(host="")).tasks


def test_a_stop_that_fails_is_tried_again_after_a_while() -> None:
    host = PlannedHost(drain_delay_s=0.0)
    task = host.issue(7)
    host.settle()
    host.take_back(task)
    host.look()
    host.look()
    host.finish(host.work[0], "the engine does not answer")
    for _ in range(5):
        host.look()
    assert host.work == []
    host.wait(3)
    assert host.containers == {}


def test_a_start_under_way_is_cancelled_when_the_task_is_taken_back() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.look()
    (start,) = host.work
    host.take_back(task)
    host.look()
    host.look()
    assert [type(action) for action in host.work] == [type(start), Cancel]
    host.finish(host.work[1])
    host.settle()
    assert (host.phase(task), host.containers) == (None, {})


def test_a_start_that_could_not_be_cancelled_any_more_is_stopped_after_it() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.look()
    (start,) = host.work
    host.take_back(task)
    host.look()
    host.look()
    host.work = [start]
    host.finish(start)
    host.settle()
    assert (host.phase(task), host.containers) == (None, {})


def test_a_task_that_is_issued_anew_while_it_stops_starts_after_it_is_gone() -> None:
    host = PlannedHost(drain_delay_s=2.0)
    task = host.issue(7)
    host.settle()
    host.take_back(task)
    host.settle()
    host.by_host[task.id] = host.by_id[task.id] = task
    host.settle()
    assert host.phase(task) is Phase.STOPPING
    host.wait(3)
    assert host.phase(task) is Phase.RUNNING
    assert host.life(task).attempt == 1


def test_an_orphan_of_ours_is_stopped_once_it_is_certain_that_nobody_issued_it() -> None:
    host = PlannedHost()
    orphan = Ref("c-web-1-9", 3, "main")
    host.containers["bash", orphan] = Observed(ref=orphan, owner=OURS, digest="d", attempt=1, running=True)
    host.settle()
    assert host.running() == [orphan], "it may have clients, which get time to leave"
    host.wait(5)
    assert host.containers == {}


def test_what_a_killed_agent_had_begun_to_stop_is_neither_restarted_nor_taken_for_dead() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("a", "b"))
    host.settle()
    host.take_back(task)
    host.settle()  # as far as its containers
    host.end(Ref(task.id, 7, "b"), 0)
    host.restart_agent()
    events = [event.message for _ in range(3) for event in host.look().events]
    host.settle()
    assert not any("attempt 2" in message for message in events), events
    assert host.containers == {}, "it was well, so nothing of it is kept"


def test_what_is_stopped_by_hand_ends_without_drain_and_starts_no_more() -> None:
    host = PlannedHost(drain_delay_s=60.0)
    tasks = [host.issue(7, instance=1), host.issue(8, instance=2)]
    host.settle()
    third = host.issue(9, instance=3)
    host.look()
    host.ending = True
    made = host.settle()
    assert made.ended
    assert host.containers == {}
    assert {host.status(task).phase for task in [*tasks, third]} == {Phase.STOPPED}


# --- rule 5 ---


def issued_and_running(**settings: float) -> tuple[PlannedHost, list[Ref]]:
    host = PlannedHost(**settings)
    for instance in range(1, 4):
        host.issue(10 + instance, instance=instance)
    host.settle()
    return host, host.running()


def test_rule_05_a_listing_that_shows_nothing_stops_nothing_by_itself() -> None:
    host, running = issued_and_running()
    host.by_host.clear()
    host.wait(3600)
    assert host.running() == running


def test_rule_05_a_task_that_only_the_listing_lacks_is_still_kept_alive() -> None:
    host, _ = issued_and_running()
    host.by_host.clear()
    host.settle()
    host.end(Ref("c-web-1-2", 12, "main"))
    host.settle()
    host.wait(0.1)
    assert len(host.running()) == 3


def test_rule_05_a_denied_read_stops_nothing() -> None:
    host, running = issued_and_running()
    host.by_host.clear()
    host.by_id.clear()
    host.denied = True
    host.wait(3600)
    assert host.running() == running
    host.denied = False
    host.wait(10)
    host.wait(10)
    assert host.running() == []


@pytest.mark.parametrize("problem", ["state/.store is gone", "the store does not answer", "it is another store now"])
def test_rule_05_a_store_that_is_wiped_or_away_stops_nothing_and_that_is_said(problem: str) -> None:
    host, running = issued_and_running()
    host.by_host.clear()
    host.by_id.clear()
    host.problem = problem
    made = host.wait(3600)
    assert host.running() == running
    assert made.status is not None
    assert made.status.notes == (f"goes on with what was last issued: {problem}",)


def test_rule_05_while_the_store_is_away_deaths_are_restarted() -> None:
    host, running = issued_and_running()
    host.problem = "the store does not answer"
    host.settle()
    host.end(running[0])
    host.settle()
    host.wait(0.1)
    assert host.running() == running


def test_rule_05_an_agent_that_starts_while_the_store_is_away_touches_nothing() -> None:
    host, running = issued_and_running()
    host.restart_agent()
    host.problem = "the store does not answer"
    made = host.wait(3600)
    assert (host.running(), made.status, made.registrations) == (running, None, None)


def test_rule_05_a_stop_goes_on_once_it_was_certain_whatever_happens_to_the_store() -> None:
    host, _ = issued_and_running(drain_delay_s=2.0)
    gone = host.by_id["c-web-1-2"]
    host.take_back(gone)
    host.settle()
    host.problem = "the store does not answer"
    host.wait(5)
    assert [ref.task_id for ref in host.running()] == ["c-web-1-1", "c-web-1-3"]


def test_rule_05_after_the_index_went_back_not_issued_must_hold_for_two_minutes() -> None:
    host, running = issued_and_running(drain_delay_s=0.0)
    host.went_back_at = host.time
    kept = dict(host.by_id)
    host.by_host.clear()
    host.by_id.clear()
    host.settle()
    host.wait(100)
    assert host.running() == running
    # the scheduler writes one of them again
    host.by_host["c-web-1-1"] = host.by_id["c-web-1-1"] = kept["c-web-1-1"]
    host.wait(15)
    host.wait(10)
    assert [ref.task_id for ref in host.running()] == ["c-web-1-1"]


def test_rule_05_long_after_the_index_went_back_one_read_is_enough_again() -> None:
    host, _ = issued_and_running(drain_delay_s=0.0)
    host.went_back_at = host.time
    host.wait(130)
    host.take_back(host.by_id["c-web-1-2"])
    host.settle()
    assert len(host.running()) == 2


def test_rule_05_what_was_found_before_the_index_went_back_counts_for_nothing() -> None:
    host, running = issued_and_running(drain_delay_s=0.0)
    host.by_host.clear()
    host.by_id.clear()
    view = host.view()
    assert view.issued.findings
    late = msgspec.structs.replace(view.issued, went_back_at=host.time + 1)
    made = plan(msgspec.structs.replace(view, issued=late), host.now)
    assert made.confirm
    assert {life.phase for life in made.lives.values()} == {Phase.RUNNING}
    assert host.running() == running


def test_rule_05_what_was_found_counts_for_nothing_once_the_store_can_not_be_trusted() -> None:
    host, _ = issued_and_running(drain_delay_s=0.0)
    host.by_host.clear()
    host.by_id.clear()
    view = host.view()
    distrusted = msgspec.structs.replace(view.issued, problem="state/.store is gone")
    made = plan(msgspec.structs.replace(view, issued=distrusted), host.now)
    assert {life.phase for life in made.lives.values()} == {Phase.RUNNING}


def test_a_stop_knows_the_stop_commands_unless_the_definition_is_gone() -> None:
    host = PlannedHost(drain_delay_s=0.0)
    task = host.issue(7)
    host.settle()
    host.restart_agent()
    host.definitions[task.digest] = Unusable("it is not in the store", permanent=False)
    host.take_back(task)
    host.look()
    host.look()
    host.look()
    (take_down,) = host.work
    assert isinstance(take_down, TakeDown)
    assert take_down.targets[0].container is None


def test_what_was_taken_back_while_no_agent_was_here_gets_the_time_of_its_definition() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("db", "app", stop_timeout="5m", drain_delay="0s"))
    host.settle()
    host.restart_agent()
    host.take_back(task)
    while not host.work:
        host.look()
        host.time += 1.0
    (stop,) = host.work
    assert isinstance(stop, TakeDown)
    assert stop.timeout_s == 300.0
    assert [target.ref.container for target in stop.targets] == ["app", "db"]
