"""What a task definition says of restarts and of the time that steps may take."""

from reconciler.agent.actions import TakeDown
from reconciler.health.interface import Reading
from reconciler.model.manifests import Check, Restart
from reconciler.model.task import Health, Phase
from tests.support.planned_host import PlannedHost, definition

CHECK = Check(http="http://127.0.0.1/")
SICK = Reading(Health.CRITICAL, "HTTP 500")


def test_a_task_that_is_critical_for_too_long_is_restarted_in_place() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("db", "app", checks=(CHECK,), restart_after="30s"))
    host.settle()
    host.readings[task.id] = SICK
    made = host.look()
    assert made.look_again_s == 30.0
    host.wait(29.9)
    assert (host.phase(task), host.status(task).attempt) == (Phase.RUNNING, 1)
    host.time += 0.2
    host.look()
    assert host.status(task).phase is Phase.PENDING
    assert host.status(task).reason == "health was critical for 30s: HTTP 500"
    host.look()
    (stop,) = host.work
    assert isinstance(stop, TakeDown)
    assert [target.ref.container for target in stop.targets] == ["app", "db"]
    host.finish(stop)
    host.wait(1.0)
    assert (host.phase(task), host.status(task).attempt) == (Phase.RUNNING, 2)
    assert f"{task.id} pending (attempt 2): health was critical for 30s: HTTP 500" in host.events


def test_only_critical_without_a_break_counts_and_only_if_the_definition_says_so() -> None:
    for blip in (Health.UNKNOWN, Health.WARNING, Health.PASSING):
        host = PlannedHost()
        task = host.issue(7, definition(checks=(CHECK,), restart_after="30s"))
        host.settle()
        for health in (Health.CRITICAL, blip, Health.CRITICAL):
            host.readings[task.id] = Reading(health, "said")
            host.wait(20.0)
        assert host.status(task).attempt == 1, blip
    host = PlannedHost()
    task = host.issue(7, definition(checks=(CHECK,)))
    host.settle()
    host.readings[task.id] = SICK
    host.wait(100_000.0)
    assert (host.phase(task), host.status(task).attempt) == (Phase.RUNNING, 1)


def test_restarts_for_health_count_as_failed_attempts() -> None:
    host = PlannedHost()
    restart = Restart(max_attempts=2, window="1h")
    task = host.issue(7, definition(checks=(CHECK,), restart_after="30s", restart=restart))
    host.settle()
    host.readings[task.id] = SICK
    for _ in range(4):
        host.wait(31.0)
    assert host.status(task).phase is Phase.FAILED
    assert "failed 2 times in 1h" in host.status(task).reason
    assert host.running() == []


def test_delays_grow_from_the_one_that_is_given() -> None:
    host = PlannedHost()
    made_of = definition(restart=Restart(delay="10s", max_delay="50s", max_attempts=9, window="1h"))
    task = host.issue(7, made_of)
    host.settle()
    waits = []
    for _ in range(3):
        (ref,) = host.running()
        host.end(ref)
        made = host.look()
        assert made.look_again_s is not None
        waits.append(round(made.look_again_s))
        host.wait(made.look_again_s)
    assert waits == [10, 40, 50]
    assert host.status(task).attempt == 4


def test_a_definition_says_how_long_a_start_a_drain_and_a_stop_may_take() -> None:
    host = PlannedHost(start_deadline_s=600.0, drain_delay_s=2.0, stop_timeout_s=10.0)
    task = host.issue(7, definition(start_deadline="1m", drain_delay="30s", stop_timeout="5m"))
    assert host.look().actions
    assert round(host.look().look_again_s or 0) == 60
    host.settle()
    host.take_back(task)
    made = host.settle()
    assert made.look_again_s is not None
    assert 29.0 < made.look_again_s <= 30.0
    host.time += 30.0
    host.look()
    (stop,) = host.work
    assert isinstance(stop, TakeDown)
    assert stop.timeout_s == 300.0
