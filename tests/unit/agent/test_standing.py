"""A pass decides about what has changed, and only takes over what it said of everything else.

That what stands would have been decided the same anew is checked in each look of ``PlannedHost``.
"""

import pytest

from reconciler.agent.lifecycle import TaskKey
from reconciler.health.interface import Reading
from reconciler.model.task import Health, Phase, Task
from tests.support.planned_host import PlannedHost, definition

TASKS = 20


def crowded() -> tuple[PlannedHost, list[Task]]:
    host = PlannedHost()
    tasks = [host.issue(number, definition(name=f"web-{number}"), instance=number) for number in range(1, TASKS + 1)]
    host.settle()
    return host, tasks


def decided(host: PlannedHost) -> set[TaskKey]:
    """The tasks about which one pass decides."""
    before = host.standing.tasks
    host.look()
    return {key for key in host.lives if host.standing.tasks.get(key) is not before.get(key) or key not in before}


@pytest.mark.parametrize("what", ["nothing", "it dies", "its health", "it is taken back", "another is issued"])
def test_a_pass_decides_only_about_the_task_that_has_changed(what: str) -> None:
    host, tasks = crowded()
    one = tasks[7]
    changed = {TaskKey(one.id, one.issue)}
    match what:
        case "nothing":
            changed = set()
        case "it dies":
            host.end(host.running()[[ref.task_id for ref in host.running()].index(one.id)])
        case "its health":
            host.readings[one.id] = Reading(Health.CRITICAL)
        case "it is taken back":
            host.take_back(one)
        case "another is issued":
            other = host.issue(99, definition(name="other"), instance=99)
            changed = {TaskKey(other.id, other.issue)}
    assert decided(host) == changed


def test_what_concerns_all_tasks_has_all_of_them_decided_anew() -> None:
    host, _ = crowded()
    host.unavailable["bash"] = "the engine does not answer"
    assert len(decided(host)) == TASKS
    assert decided(host) == set()


def test_a_container_that_was_gone_before_anybody_looked_is_missed() -> None:
    host = PlannedHost()
    task = host.issue(1)
    host.look()
    host.frozen = True
    host.finish(host.work[0])
    for _ in range(3):
        host.look()
    assert host.phase(task) is Phase.RUNNING
    host.containers.clear()
    host.frozen = False
    host.look()
    assert host.phase(task) is Phase.PENDING, "nobody had seen it, and so nothing was decided for good"
