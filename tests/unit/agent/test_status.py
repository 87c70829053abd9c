"""The status record stays small and the same."""

import msgspec

from reconciler.agent.status import BYTES_OF_A_SMALL_HOST, BYTES_PER_TASK
from reconciler.model import codec
from reconciler.model.task import Phase
from tests.support.planned_host import PlannedHost


def test_a_hundred_tasks_that_are_well_take_few_bytes_each() -> None:
    host = PlannedHost()
    for instance in range(100):
        host.issue(1000 + instance, instance=instance, port=20000 + instance)
    made = host.settle()
    assert made.status is not None
    assert len(codec.encode(made.status)) <= 100 * BYTES_PER_TASK


def test_long_reasons_are_cut_and_on_a_full_host_even_more() -> None:
    for count, most in ((1, BYTES_OF_A_SMALL_HOST), (400, 400 * BYTES_PER_TASK)):
        host = PlannedHost()
        tasks = [host.issue(1000 + instance, instance=instance) for instance in range(count)]
        host.look()
        for action in list(host.work):
            host.finish(action, "no such image: " + "äx\n" * 2000, permanent=True)
        made = host.look()
        assert made.status is not None
        assert len(codec.encode(made.status)) <= most + 200
        assert host.status(tasks[0]).reason.startswith("no such image: äx")
        assert host.status(tasks[0]).reason.endswith("…")


def test_nothing_changes_in_the_status_while_nothing_happens() -> None:
    host = PlannedHost()
    host.issue(7)
    made = host.settle()
    for seconds in (0.1, 10, 3600, 86400):
        host.time += seconds
        assert host.look().status == made.status


def test_a_task_that_waits_says_since_when_and_why() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.hold = "the host has not been entered in the store yet"
    host.wait(10)
    status = host.status(task)
    assert (status.phase, status.reason) == (Phase.PENDING, host.hold)
    host.wait(100)
    assert host.status(task) == status


def test_what_one_status_says_can_be_read_back() -> None:
    host = PlannedHost()
    host.issue(7, port=1)
    made = host.settle()
    assert made.status is not None
    assert codec.decode(codec.encode(made.status), type(made.status)) == made.status
    assert msgspec.structs.asdict(made.status)["host"] == "h1"
