"""The status record stays small and the same."""

import msgspec
import pytest
from msgspec.structs import replace

from reconciler.agent.status import BYTES_OF_A_SMALL_HOST, BYTES_PER_TASK, News, news
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


HEALTHY = TaskStatus(phase=Phase.RUNNING, health=Health.PASSING, issue=1, attempt=1)


def status(*tasks: TaskStatus) -> HostStatus:
    """A host with these tasks."""
    return HostStatus(host="h1", tasks={f"main-web-1-{number}": task for number, task in enumerate(tasks)})


@pytest.mark.parametrize(
    ("phase", "health", "what"),
    [
        (Phase.PENDING, Health.UNKNOWN, News.SETTLED),  # it died, and is tried again
        (Phase.RUNNING, Health.UNKNOWN, News.SETTLED),
        (Phase.RUNNING, Health.CRITICAL, News.SETTLED),
        (Phase.STOPPING, Health.UNKNOWN, News.STOPS),  # as it was told: nobody counts on it
    ],
)
def test_nobody_goes_on_counting_on_a_task_that_has_died(phase: Phase, health: Health, what: News) -> None:
    changed = replace(HEALTHY, phase=phase, health=health)
    assert news(status(HEALTHY), status(changed)) is what
    starting = replace(HEALTHY, phase=Phase.STARTING, health=Health.UNKNOWN)
    assert news(status(HEALTHY, HEALTHY), status(changed, starting)) is News.SETTLED
    new = replace(HEALTHY, phase=Phase.PENDING, health=Health.UNKNOWN)
    assert news(None, status(new)) is News.ON_ITS_WAY, "what was never healthy can wait for a better status"


def test_what_comes_up_waits_a_moment_for_what_began_with_it_and_for_nothing_else() -> None:
    starting = replace(HEALTHY, phase=Phase.STARTING, health=Health.UNKNOWN)
    stopping = replace(HEALTHY, phase=Phase.STOPPING, health=Health.UNKNOWN)
    assert news(None, status(HEALTHY, starting)) is News.UP
    assert news(None, status(HEALTHY, HEALTHY)) is News.SETTLED
    assert news(status(starting, starting), status(HEALTHY, starting)) is News.SETTLED, "that one began before"
    assert news(status(HEALTHY, HEALTHY), status(HEALTHY)) is News.SETTLED, "one is gone"
    assert news(status(HEALTHY), status(stopping, starting)) is News.ON_ITS_WAY
