"""The status record stays small and the same."""

import msgspec
import pytest
from msgspec.structs import replace

from reconciler.agent.status import BYTES_OF_A_SMALL_HOST, BYTES_PER_TASK, is_settled
from reconciler.model import codec
from reconciler.model.task import Health, HostStatus, Phase, TaskStatus
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


@pytest.mark.parametrize(
    ("phase", "health", "is_news"),
    [
        (Phase.PENDING, Health.UNKNOWN, True),  # it died, and is tried again
        (Phase.RUNNING, Health.UNKNOWN, True),
        (Phase.RUNNING, Health.CRITICAL, True),
        (Phase.STOPPING, Health.UNKNOWN, False),  # as it was told: nobody counts on it
    ],
)
def test_nobody_goes_on_counting_on_a_task_that_has_died(phase: Phase, health: Health, *, is_news: bool) -> None:
    healthy = TaskStatus(phase=Phase.RUNNING, health=Health.PASSING, issue=1, attempt=1)
    before = HostStatus(host="h1", tasks={"main-web-1-0": healthy})
    after = HostStatus(host="h1", tasks={"main-web-1-0": replace(healthy, phase=phase, health=health)})
    assert is_settled(before, after) is is_news
    new = HostStatus(host="h1", tasks={"main-web-1-0": replace(healthy, phase=Phase.PENDING, health=Health.UNKNOWN)})
    assert not is_settled(None, new), "what was never healthy can wait for a better status"
