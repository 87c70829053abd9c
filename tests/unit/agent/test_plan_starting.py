"""How the planner brings a task up, keeps it up, and gives up."""

import msgspec
import pytest

from reconciler.agent.actions import Start, TakeDown
from reconciler.agent.host_view import NOT_ENTERED, ExecutorView, IssuedView, Unusable
from reconciler.agent.plan import plan
from reconciler.executors.interface import Observed, Owner, Ref
from reconciler.health.interface import Reading
from reconciler.model.manifests import Check, NamedPort, TaskDefinition
from reconciler.model.task import Health, Phase
from tests.support.planned_host import OURS, PlannedHost, definition


def test_a_task_goes_through_every_phase_to_running() -> None:
    host = PlannedHost()
    task = host.issue(7, definition(kind="docker"), port=20001)
    host.look()
    assert host.phase(task) is Phase.PREPARING
    assert host.status(task).port == 20001
    host.finish(host.work[0])
    host.settle()
    assert host.phase(task) is Phase.RUNNING
    assert [message.split()[1] for message in host.events if "health" not in message] == ["preparing", "running"]


@pytest.mark.parametrize(
    ("made_of", "phase"),
    [
        (definition(), Phase.STARTING),
        (definition(artifact="https://example.com/a.tar"), Phase.PREPARING),
        (definition("app", "side"), Phase.PREPARING),
        (definition(kind="docker"), Phase.PREPARING),
    ],
)
def test_only_a_single_process_without_an_artifact_is_started_without_preparing(
    made_of: TaskDefinition, phase: Phase
) -> None:
    host = PlannedHost()
    task = host.issue(7, made_of)
    host.look()
    (start,) = host.work
    assert isinstance(start, Start)
    assert host.phase(task) is phase
    assert start.fetches is (phase is Phase.PREPARING)


def test_all_ports_of_a_task_must_be_free_and_lead_where_the_definition_says() -> None:
    metrics = NamedPort(name="metrics", container="side", container_port=9090)
    dns = NamedPort(name="dns", port=53, protocol="udp", container="app", container_port=5353)
    plain = NamedPort(name="plain")
    host = PlannedHost()
    made_of = definition("app", "side", kind="docker", provide_port=True, ports=(metrics, dns, plain))
    task = host.issue(7, made_of, port=20001, ports={"metrics": 20002, "dns": 53, "plain": 20003})
    host.look()
    (start,) = host.work
    assert isinstance(start, Start)
    assert [str(each) for each in start.ports] == ["port 20001", "port 20002", "udp port 53", "port 20003"]
    assert {spec.container.name: [(each.host.number, each.container_port) for each in spec.publications]
            for spec in start.specs} == {"app": [(53, 5353)], "side": [(20002, 9090)]}  # fmt: skip
    host.finish(start)
    host.settle()
    host.take_back(task)
    host.look()
    assert host.status(task).phase is Phase.STOPPING
    assert host.status(task).ports == {"metrics": 20002, "dns": 53, "plain": 20003}


def test_a_task_without_the_ports_of_its_definition_is_refused() -> None:
    host = PlannedHost()
    task = host.issue(7, definition(ports=(NamedPort(name="metrics"), NamedPort(name="admin"))), ports={"admin": 1})
    host.look()
    assert host.status(task).phase is Phase.REJECTED
    assert host.status(task).reason == "its scheduler does not know named ports: it provided no metrics"


def test_a_record_that_is_rewritten_in_place_changes_where_a_task_is_found_and_nothing_else() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    host.by_host[task.id] = host.by_id[task.id] = msgspec.structs.replace(task, discovery_name="www")
    made = host.look()
    assert not made.actions
    assert made.registrations is not None
    assert made.registrations[task.id].task.found_as == "www"
    assert host.status(task).attempt == 1


def test_containers_start_in_the_order_of_the_definition() -> None:
    host = PlannedHost()
    host.issue(7, definition("db", "cache", "app"))
    host.look()
    (start,) = host.work
    assert isinstance(start, Start)
    assert [spec.container.name for spec in start.specs] == ["db", "cache", "app"]


def test_a_task_is_up_only_when_all_its_containers_are() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("db", "app"))
    host.look()
    host.finish(host.work[0], "no such file", started=1)
    host.look()
    assert host.phase(task) is Phase.PENDING
    host.wait(0.1)
    assert host.phase(task) is Phase.RUNNING
    assert len(host.running()) == 2


def test_containers_of_a_broken_attempt_are_stopped_before_the_next_one() -> None:
    host = PlannedHost()
    host.issue(7, definition("db", "app"))
    host.look()
    host.finish(host.work[0], "no such file", started=1)
    host.look()
    (take_down,) = host.work
    assert isinstance(take_down, TakeDown)
    assert [target.ref.container for target in take_down.targets] == ["db"]


def test_when_one_container_dies_the_others_are_stopped_in_reverse_and_all_start_again() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("a", "b", "c"))
    host.settle()
    host.end(Ref(task.id, 7, "b"), 3)
    host.look()
    assert host.life(task).reason == "b exited with code 3"
    host.look()
    (take_down,) = host.work
    assert isinstance(take_down, TakeDown)
    assert [target.ref.container for target in take_down.targets] == ["c", "a"]
    host.settle()
    host.wait(0.1)
    assert host.phase(task) is Phase.RUNNING
    assert host.status(task).attempt == 2
    assert host.status(task).exit_code == 3


def test_the_first_death_is_answered_at_once_and_the_next_ones_ever_later() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    delays = []
    for _ in range(4):
        host.end(Ref(task.id, 7, "main"))
        delays.append(round(host.look().look_again_s or 0, 2))
        host.wait(delays[-1] + 0.01)
        assert host.phase(task) is Phase.RUNNING
    assert delays == [0.01, 1.0, 4.0, 16.0]


def test_a_task_that_dies_too_often_is_failed_and_stays_so() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    for _ in range(5):
        host.end(Ref(task.id, 7, "main"), 1)
        host.settle()
        host.wait(17)
    status = host.status(task)
    assert status.phase is Phase.FAILED
    assert status.reason == "failed 5 times in 5m, the last time: main exited with code 1"
    assert not host.wait(3600).actions
    host.restart_agent()
    host.settle()
    assert host.phase(task) is Phase.FAILED


def test_deaths_that_are_far_apart_are_forgiven() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    for _ in range(20):
        host.end(Ref(task.id, 7, "main"))
        host.settle()
        host.wait(200)
        assert host.phase(task) is Phase.RUNNING
    assert host.life(task).attempt == 21


def test_what_can_never_work_is_rejected_at_once() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.look()
    host.finish(host.work[0], "no image of that name", permanent=True)
    host.settle()
    assert host.phase(task) is Phase.REJECTED
    assert host.status(task).reason == "no image of that name"
    assert not host.wait(3600).actions


def test_a_start_that_takes_too_long_fails_and_what_came_of_it_is_stopped() -> None:
    host = PlannedHost(start_deadline_s=60.0)
    task = host.issue(7)
    host.look()
    host.time += 61
    host.look()
    assert host.phase(task) is Phase.FAILED
    assert host.status(task).reason == "starting took longer than 1m"
    start = host.work[0]
    host.work = [start]
    host.finish(start)
    host.settle()
    assert host.phase(task) is Phase.FAILED
    assert host.running() == []


@pytest.mark.parametrize(
    ("kinds", "phase", "reason"),
    [
        (["bash"], Phase.REJECTED, "container main needs the executor docker, which this host does not have"),
        (["bash", "docker"], Phase.PREPARING, ""),
    ],
)
def test_a_task_for_an_executor_that_the_host_lacks_is_rejected(kinds: list[str], phase: Phase, reason: str) -> None:
    host = PlannedHost()
    host.kinds = kinds
    task = host.issue(7, definition(kind="docker"))
    host.look()
    assert (host.phase(task), host.status(task).reason) == (phase, reason)


def test_a_host_without_shell_rejects_scripts_that_would_run_on_it() -> None:
    host = PlannedHost()
    host.kinds = ["docker"]
    inside = host.issue(7, definition(kind="docker", checks=(Check(script="true", container="main"),)))
    beside = host.issue(8, definition(kind="docker", version=2, checks=(Check(script="true"),)))
    host.look()
    assert host.phase(inside) is Phase.PREPARING
    assert host.status(beside).reason == "the script of check 0 needs the executor bash, which this host does not have"


def test_a_task_waits_for_its_engine_without_using_up_attempts() -> None:
    host = PlannedHost()
    host.unavailable["docker"] = "the engine does not answer"
    task = host.issue(7, definition(kind="docker"))
    host.wait(3600)
    assert (host.phase(task), host.life(task).attempt) == (Phase.PENDING, 1)
    assert host.status(task).reason == "docker: the engine does not answer"
    host.unavailable.clear()
    host.settle()
    assert host.phase(task) is Phase.RUNNING


@pytest.mark.parametrize(
    ("found", "phase"),
    [
        (Unusable("definition web version 1 is not in the store", permanent=False), Phase.PENDING),
        (Unusable("definition web version 1 has been changed", permanent=True), Phase.REJECTED),
    ],
)
def test_a_definition_that_is_not_what_was_issued_is_never_run(found: Unusable, phase: Phase) -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.definitions[task.digest] = found
    host.settle()
    assert (host.phase(task), host.status(task).reason) == (phase, found.reason)


def test_an_agent_that_does_not_hold_its_host_starts_nothing_but_keeps_what_runs() -> None:
    host = PlannedHost()
    running = host.issue(7)
    host.settle()
    host.restart_agent()
    host.hold = "the host name h1 is held by another machine (10.0.0.9)"
    waiting = host.issue(8, instance=2)
    host.settle()
    assert (host.phase(running), host.phase(waiting)) == (Phase.RUNNING, Phase.PENDING)
    assert host.status(waiting).reason == host.hold


def test_an_old_issue_stops_before_the_new_one_starts() -> None:
    host = PlannedHost(drain_delay_s=0.0)
    old = host.issue(7)
    host.settle()
    new = host.issue(9)
    for _ in range(20):
        host.look()
        assert len({ref.issue for ref in host.running()}) <= 1
        if host.work:
            host.finish(host.work[0])
    assert host.phase(old) is None
    assert host.phase(new) is Phase.RUNNING


def test_while_an_old_issue_stops_it_is_the_one_that_is_published() -> None:
    host = PlannedHost()
    old = host.issue(7, port=20001)
    host.settle()
    new = host.issue(9, port=20002)
    host.settle()
    assert host.status(old).issue == 7
    assert (host.status(old).phase, host.status(old).port) == (Phase.STOPPING, 20001)
    host.wait(5)
    assert (host.status(new).issue, host.status(new).phase) == (9, Phase.RUNNING)


# --- an agent that was killed and started again ---


def test_a_restarted_agent_adopts_what_runs_and_touches_nothing() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("a", "b"))
    host.settle()
    before, published = dict(host.containers), host.published
    host.time += 500
    host.restart_agent()
    made = host.settle()
    assert host.containers == before
    assert made.status == published
    assert host.phase(task) is Phase.RUNNING


def test_a_restarted_agent_goes_on_counting_attempts() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    for _ in range(3):
        host.end(Ref(task.id, 7, "main"))
        host.settle()
        host.wait(20)
    assert host.life(task).attempt == 4
    host.restart_agent()
    host.settle()
    assert host.life(task).attempt == 4
    host.end(Ref(task.id, 7, "main"))
    host.settle()
    host.wait(20)
    host.end(Ref(task.id, 7, "main"))
    host.settle()
    assert host.phase(task) is Phase.FAILED


def test_a_restarted_agent_finds_what_died_meanwhile() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    host.end(Ref(task.id, 7, "main"), 137)
    host.restart_agent()
    host.settle()
    host.wait(0.1)
    assert (host.phase(task), host.life(task).attempt) == (Phase.RUNNING, 2)


def test_a_restarted_agent_completes_a_start_that_was_cut() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("a", "b", "c"))
    host.look()
    host.finish(host.work[0], "killed", started=1)
    host.restart_agent()
    host.look()
    (start,) = host.work
    assert isinstance(start, Start)
    assert [spec.container.name for spec in start.specs] == ["b", "c"]
    assert {spec.attempt for spec in start.specs} == {1}
    host.settle()
    assert host.phase(task) is Phase.RUNNING


def test_remains_of_an_earlier_attempt_are_no_death() -> None:
    host = PlannedHost()
    task = host.issue(7, definition("a", "b"))
    host.settle()
    host.end(Ref(task.id, 7, "a"))
    host.look()
    host.settle()
    host.time += 1
    host.look()
    start = next(each for each in host.work if isinstance(each, Start))
    host.finish(start, "killed", started=1)
    host.restart_agent()
    host.settle()
    assert (host.phase(task), host.life(task).attempt) == (Phase.RUNNING, 2)


def test_a_running_task_is_adopted_although_its_definition_can_not_be_read() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    host.restart_agent()
    host.definitions[task.digest] = Unusable("definition web version 1 is not in the store", permanent=False)
    made = host.settle()
    assert host.phase(task) is Phase.RUNNING
    assert made.keep == {task.id}


# --- what can't be seen, and what is others' ---


def test_a_task_whose_engine_can_not_be_seen_keeps_its_phase() -> None:
    host = PlannedHost()
    task = host.issue(7, definition(kind="docker"))
    host.settle()
    host.blind["docker"] = "the engine does not answer"
    host.wait(3600)
    assert host.phase(task) is Phase.RUNNING


def test_a_restarted_agent_that_can_not_see_an_engine_repeats_what_was_last_said() -> None:
    host = PlannedHost()
    task = host.issue(7, definition(kind="docker"), port=20005)
    host.settle()
    host.restart_agent()
    host.blind["docker"] = "the engine does not answer"
    made = host.settle()
    assert (host.status(task).phase, host.status(task).port) == (Phase.RUNNING, 20005)
    assert host.status(task).health is Health.UNKNOWN
    assert made.keep == {task.id}
    assert not made.actions


def test_nothing_is_published_before_every_executor_was_looked_at() -> None:
    host = PlannedHost()
    host.issue(7)
    view = msgspec.structs.replace(host.view(), executors={"bash": host._executor("bash"), "docker": ExecutorView()})
    assert plan(view, host.now).status is None


@pytest.mark.parametrize("owner", [Owner("store-2", "h1@machine-1"), Owner("store-1", "h1@machine-2")])
def test_rule_05_what_others_own_is_reported_and_never_touched(owner: Owner) -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    host.foreign = [
        Observed(ref=Ref("c-web-1-9", 3, "main"), owner=owner, digest="d", attempt=1, running=True),
        Observed(ref=Ref(task.id, 7, "main"), owner=owner, digest="d", attempt=9, running=False),
    ]
    status = host.published
    made = host.wait(3600)
    assert not made.actions
    assert made.status == status, "what others do here is not written into our store"
    assert made.strangers == {owner}


def test_another_agent_of_this_machine_is_no_news() -> None:
    host = PlannedHost()
    neighbour = Owner(OURS.store_id, "h2@machine-1")
    host.foreign = [Observed(ref=Ref("x", 1, "m"), owner=neighbour, digest="d", attempt=1, running=True)]
    made = host.settle()
    assert not made.strangers


def test_a_look_that_is_older_than_the_last_step_judges_nothing() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.look()
    host.frozen = True
    host.finish(host.work[0])
    host.settle()
    assert (host.phase(task), host.life(task).attempt) == (Phase.RUNNING, 1)
    assert host.status(task).healthy
    host.frozen = False
    host.settle()
    assert (host.phase(task), host.life(task).attempt) == (Phase.RUNNING, 1)


# --- health ---


def test_health_is_published_with_the_output_of_its_change_only() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    assert host.status(task).healthy
    host.readings[task.id] = Reading(Health.CRITICAL, "connection refused after 3 ms")
    host.settle()
    assert (host.status(task).health, host.status(task).reason) == (Health.CRITICAL, "connection refused after 3 ms")
    host.readings[task.id] = Reading(Health.CRITICAL, "connection refused after 5 ms")
    host.settle()
    assert host.status(task).reason == "connection refused after 3 ms"
    host.readings[task.id] = Reading(Health.PASSING, "ok")
    host.settle()
    assert (host.status(task).healthy, host.status(task).reason) == (True, "")


def test_rule_08_a_reading_of_an_earlier_attempt_says_nothing() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.settle()
    old = host.registrations
    host.end(Ref(task.id, 7, "main"))
    host.look()
    assert task.id not in host.registrations
    host.time += 0.1
    host.look()
    host.finish(host.work[0])
    host.registrations = old
    host.look()
    assert (host.phase(task), host.status(task).health) == (Phase.RUNNING, Health.UNKNOWN)
    host.settle()
    assert host.status(task).healthy


def test_only_running_tasks_are_registered() -> None:
    host = PlannedHost()
    task = host.issue(7)
    host.look()
    assert not host.registrations
    host.settle()
    assert set(host.registrations) == {task.id}


def test_without_the_store_a_new_agent_keeps_alive_what_ran_here_and_begins_nothing() -> None:
    host = PlannedHost()
    ran, dies, never = (host.issue(7, instance=instance) for instance in (1, 2, 3))
    host.by_host.pop(never.id)
    host.settle()
    host.by_host[never.id] = never
    ref = next(ref for ref in host.running() if ref.task_id == dies.id)
    host.end(ref)
    host.restart_agent()
    host.problem, host.hold = "the store is away", NOT_ENTERED
    host.last_issued = IssuedView(
        tasks=dict(host.by_host), definitions=dict(host.definitions), problem="away", remembered=True
    )
    host.settle()
    host.wait(1.0)
    assert host.phase(ran) is Phase.RUNNING
    assert (host.phase(dies), host.life(dies).attempt) == (Phase.RUNNING, 2)
    assert host.phase(never) is None, "it may be another host's by now"
    assert {each.task_id for each in host.running()} == {ran.id, dies.id}
    host.hold = "the host name h1 is held by another machine"
    host.end(ref)
    host.settle()
    host.wait(10.0)
    assert host.phase(dies) is Phase.PENDING, "somebody else has the name"
    host.problem = host.hold = None
    host.wait(10.0)
    assert {each.task_id for each in host.running()} == {ran.id, dies.id, never.id}


def test_another_store_ends_what_was_remembered_and_all_is_left_as_it_is() -> None:
    host = PlannedHost()
    sick = definition(restart_after="1m")
    runs, dies = host.issue(7, sick), host.issue(8, instance=2)
    host.settle()
    host.restart_agent()
    known = IssuedView(tasks=dict(host.by_host), definitions=dict(host.definitions), remembered=True)
    host.last_issued, host.problem = known, "away"
    host.settle()
    host.last_issued, host.problem = msgspec.structs.replace(known, not_ours=True), "it is another store now"
    host.readings[runs.id] = Reading(Health.CRITICAL)
    host.end(Ref(dies.id, 8, "main"))
    for _ in range(5):
        host.wait(60.0)
    assert host.running() == [Ref(runs.id, 7, "main")]
    assert "nothing is started: it is another store now" in host.status(dies).reason
