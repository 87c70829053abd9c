"""Tasks of a batch: they come to a good end when all of their containers do, and are not started again then."""

from reconciler.executors.interface import Ref
from reconciler.model.task import Phase
from tests.support.planned_host import PlannedHost, definition


def test_a_task_that_is_to_end_is_complete_when_all_its_containers_exited_with_0() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("fetch", "report"), completes=True)
    host.settle()
    host.end(Ref(task.id, 7, "fetch"), 0)
    host.settle()
    assert host.phase(task) is Phase.RUNNING
    assert [ref.container for ref in host.running()] == ["report"], "nothing is started again that has ended well"
    host.end(Ref(task.id, 7, "report"), 0)
    host.settle()
    assert host.status(task).phase is Phase.COMPLETE
    assert not host.wait(3600).actions


def test_a_restarted_agent_does_no_work_again_that_was_done() -> None:
    host = PlannedHost()
    whole, part = (host.issue(7, definition("fetch", "report"), instance=number, completes=True) for number in (1, 2))
    host.settle()
    for name in ("fetch", "report"):
        host.end(Ref(whole.id, 7, name), 0)
    host.end(Ref(part.id, 7, "fetch"), 0)
    host.settle()
    host.restart_agent()
    host.settle()
    assert host.phase(whole) is Phase.COMPLETE
    assert host.phase(part) is Phase.RUNNING
    host.restart_agent()
    host.end(Ref(part.id, 7, "report"), 0)  # while no agent was there
    host.settle()
    assert host.phase(part) is Phase.COMPLETE
    assert not host.running()


def test_a_bad_end_is_tried_again_and_given_up_in_the_end() -> None:
    host = PlannedHost()
    task = host.issue(7, completes=True)
    host.settle()
    for _ in range(5):
        host.end(Ref(task.id, 7, "main"), 2)
        host.settle()
        host.wait(17)
    assert host.status(task).phase is Phase.FAILED


def test_a_service_that_exits_with_0_is_started_again() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    host.end(Ref(task.id, 7, "main"), 0)
    host.settle()
    host.wait(1)
    assert host.phase(task) is Phase.RUNNING
    assert host.status(task).attempt == 2
