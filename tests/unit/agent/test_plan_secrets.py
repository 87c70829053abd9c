"""What an agent says and does when a value changes with which a task was started, or can't be had."""

import pytest

from reconciler.agent.lifecycle import NEVER, WAIT_S
from reconciler.executors.interface import Ref
from reconciler.model.manifests import BashContainer, BashExecutor, TaskDefinition
from reconciler.model.secrets import Place, Secret
from reconciler.model.task import Phase, Task
from tests.support.planned_host import PlannedHost

DB = Place("kv", "web/db")
CHANGED = "secret db (kv web/db) changed"
DEFINITION = TaskDefinition(
    name="web",
    version=1,
    containers=(
        BashContainer(name="main", executor=BashExecutor(start=("true",), secrets=(Secret(name="db", kv="web/db"),))),
    ),
)


@pytest.fixture
def host() -> PlannedHost:
    host = PlannedHost()
    host.values[DB] = "one"
    return host


def start(host: PlannedHost) -> Task:
    task = host.issue(7, DEFINITION)
    made = host.settle()
    assert made.secrets == frozenset(DEFINITION.containers[0].executor.secrets), "somebody has to look at it"
    host.look_at_values()
    assert host.status(task).outdated == ""
    return task


def test_a_changed_value_is_published_and_stops_nothing(host: PlannedHost) -> None:
    task = start(host)
    host.values[DB] = "two"
    host.look_at_values()
    status = host.status(task)
    assert (status.phase, status.outdated) == (Phase.RUNNING, CHANGED)
    assert status.healthy
    assert host.events[-1] == f"{task.id} outdated: {CHANGED}"
    host.values[DB] = "one"
    host.look_at_values()
    assert host.status(task).outdated == "", "it was taken back"


def test_the_next_agent_still_knows_it(host: PlannedHost) -> None:
    task = start(host)
    host.values[DB] = "two"
    host.restart_agent()
    host.look_at_values()
    assert host.status(task).outdated == CHANGED
    assert host.running() == [Ref(task.id, 7, "main")]


def test_a_restart_in_place_brings_the_new_value_into_use(host: PlannedHost) -> None:
    task = start(host)
    host.values[DB] = "two"
    host.look_at_values()
    host.end(Ref(task.id, 7, "main"))
    host.wait(10)
    assert (host.status(task).attempt, host.status(task).outdated) == (2, "")
    host.look_at_values()
    assert host.status(task).outdated == ""


def test_a_reading_from_before_the_start_says_nothing(host: PlannedHost) -> None:
    host.looked_at_values = host.time
    task = host.issue(7, DEFINITION)
    host.settle()
    host.values[DB] = "what was read before it started"
    host.settle()
    assert host.status(task).outdated == ""


def test_a_start_for_which_the_store_is_away_waits_and_uses_up_no_attempts(host: PlannedHost) -> None:
    task = host.issue(7, DEFINITION)
    host.look()
    for _ in range(20):
        (action,) = host.work
        host.finish(action, "secret db: the store can't be read now", waits=True)
        host.look()
        assert host.phase(task) is Phase.PENDING
        assert "can't be read" in host.status(task).reason
        host.time += WAIT_S
        host.look()
    host.settle()
    assert host.status(task).phase is Phase.RUNNING
    assert host.life(task).failures == ()


def test_waiting_for_the_store_brings_no_task_to_its_end_after_a_restart_of_the_agent(host: PlannedHost) -> None:
    task = host.issue(7, DEFINITION)
    host.look()
    for _ in range(12):
        (begun,) = host.work
        host.finish(begun, "the store is away", waits=True)
        host.look()
        host.time += WAIT_S
        host.look()
    host.settle()
    host.restart_agent()
    host.settle()
    host.end(Ref(task.id, 7, "main"))
    host.settle()
    assert host.phase(task) is Phase.PENDING, "it has failed once"


def test_what_is_outdated_stays_so_until_the_next_agent_has_looked(host: PlannedHost) -> None:
    task = start(host)
    host.values[DB] = "two"
    host.look_at_values()
    host.restart_agent()
    host.looked_at_values = NEVER
    host.settle()
    assert host.status(task).outdated == CHANGED
    host.values[DB] = "one"
    host.look_at_values()
    assert host.status(task).outdated == ""
