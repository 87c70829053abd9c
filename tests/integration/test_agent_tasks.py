"""What users get from an agent: real processes, started, watched, restarted and stopped."""

import os
import signal
from pathlib import Path

import pytest
import urllib3

from reconciler.agent import identity
from reconciler.agent.actions import Start, TakeDown
from reconciler.errors import UsageError
from reconciler.executors.bash import Bash
from reconciler.executors.interface import Owner, Ref, Spec
from reconciler.model import codec, keys
from reconciler.model.manifests import Check
from reconciler.model.task import Health, HostState, Phase
from reconciler.runtime.http import HttpServer
from reconciler.store.interface import Acquire, Committed, Put
from tests.support.agent import SLEEP, AgentWorld, bash_definition, free_port, is_alive, noting_pid, pids_of
from tests.support.wait import wait_until

SERVE = 'exec python3 -m http.server "$PORT" --bind 127.0.0.1'


def test_an_issued_task_is_served_and_its_health_is_published(agent_world: AgentWorld) -> None:
    agent_world.start_agent()
    check = Check(http="http://127.0.0.1/", add_provided_port=True, interval="1s")
    port = free_port()
    task = agent_world.issue(bash_definition(SERVE, port=True, checks=(check,)), port=port)
    status = agent_world.await_health(task, Health.PASSING)
    assert (status.attempt, status.port) == (1, port)
    assert urllib3.request("GET", f"http://127.0.0.1:{port}/", timeout=5).status == 200


def test_a_task_gets_the_environment_that_is_promised(agent_world: AgentWorld, tmp_path: Path) -> None:
    agent_world.start_agent()
    start = f'env > "{tmp_path}/env.part"; mv "{tmp_path}/env.part" "{tmp_path}/env"; {SLEEP}'
    task = agent_world.issue(bash_definition(start, env=("GREETING=hello",)), port=20007)
    wait_until((tmp_path / "env").exists, what="the task ran")
    found = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert (found["RECONCILER_TASK_ID"], found["RECONCILER_ISSUE"]) == (task.id, str(task.issue))
    assert (found["PORT"], found["SCHEDULED_PORT"], found["RECONCILER_ADDRESS"]) == ("20007", "20007", "127.0.0.1")
    assert found["GREETING"] == "hello"


def test_a_killed_task_is_started_again_and_its_end_is_told(agent_world: AgentWorld, tmp_path: Path) -> None:
    agent_world.start_agent()
    task = agent_world.issue(bash_definition(noting_pid(tmp_path)))
    agent_world.await_health(task, Health.PASSING)
    (pid,) = pids_of(tmp_path)
    os.kill(pid, signal.SIGKILL)

    def restarted() -> bool:
        status = agent_world.published().get(task.id)
        return status is not None and status.attempt == 2 and status.healthy

    wait_until(restarted, what="a second attempt")
    assert agent_world.published()[task.id].exit_code == 137
    assert pids_of(tmp_path) != [pid]


def test_a_task_that_always_ends_is_failed_with_its_exit_code(agent_world: AgentWorld) -> None:
    agent_world.with_settings(restart={"delay_s": 0.05, "factor": 1.0})
    agent_world.start_agent()
    task = agent_world.issue(bash_definition("exit 3"))
    status = agent_world.await_phase(task, Phase.FAILED)
    assert (status.attempt, status.exit_code) == (5, 3)
    assert "failed 5 times" in status.reason


def test_a_task_that_can_not_start_says_why(agent_world: AgentWorld) -> None:
    agent_world.start_agent()
    broken = agent_world.issue(bash_definition("if then", name="broken"))
    status = agent_world.await_phase(broken, Phase.REJECTED)
    assert "syntax error" in status.reason


def test_a_stop_is_withdrawn_then_waits_then_terminates_then_is_gone(agent_world: AgentWorld, tmp_path: Path) -> None:
    agent_world.with_settings(drain_delay_s=2.5, publish_interval_s=0.2)
    agent_world.start_agent()
    trap = f'trap \'date +%s.%N > "{tmp_path}/term"; exit 0\' TERM; touch "{tmp_path}/up"; while :; do sleep 0.05; done'
    task = agent_world.issue(bash_definition(trap), port=20001)
    agent_world.await_health(task, Health.PASSING)
    wait_until((tmp_path / "up").exists, what="the trap is set")
    agent_world.take_back(task)
    stopping = agent_world.await_phase(task, Phase.STOPPING)
    assert (stopping.port, stopping.reason) == (20001, "it is not issued any more")
    agent_world.await_gone(task)
    terminated_at = float((tmp_path / "term").read_text())
    assert terminated_at - stopping.since >= 2.5
    assert [event.message.split(":")[0] for event in agent_world.events if event.subject == task.id][-2:] == [
        "stopping",
        "gone",
    ]


def test_a_task_that_ignores_the_signal_is_killed_after_its_time(agent_world: AgentWorld, tmp_path: Path) -> None:
    agent_world.with_settings(stop_timeout_s=0.3)
    agent_world.start_agent()
    deaf = noting_pid(tmp_path, "trap '' TERM; while :; do sleep 0.05; done")
    task = agent_world.issue(bash_definition(deaf))
    agent_world.await_health(task, Health.PASSING)
    wait_until(lambda: pids_of(tmp_path), what="it runs")
    agent_world.take_back(task)
    agent_world.await_gone(task)
    assert not is_alive(pids_of(tmp_path)[0])


def test_rule_04_an_old_issue_is_gone_before_the_new_one_starts(agent_world: AgentWorld, tmp_path: Path) -> None:
    agent_world.start_agent()
    alone = f'"{tmp_path}/alone"'
    exclusive = f"mkdir {alone} || exit 9; trap 'rmdir {alone}; exit 0' TERM; while :; do sleep 0.02; done"
    old = agent_world.issue(bash_definition(exclusive))
    agent_world.await_health(old, Health.PASSING)
    new = agent_world.issue(bash_definition(exclusive))
    assert new.id == old.id
    status = agent_world.await_health(new, Health.PASSING)
    assert status.attempt == 1, "the two never ran at once"


def test_a_task_is_held_to_the_definition_it_was_issued_with(agent_world: AgentWorld) -> None:
    agent = agent_world.start_agent()
    known = agent_world.issue(bash_definition(name="known"))
    agent_world.await_health(known, Health.PASSING)
    agent.stop()
    late = bash_definition(name="late")
    unknown = agent_world.issue(late)
    for name in ("known", "late"):
        changed = bash_definition("echo not what was issued", name=name)
        agent_world.put(keys.config(changed), codec.encode(changed))
    agent_world.start_agent()
    status = agent_world.await_phase(unknown, Phase.REJECTED)
    assert "has been changed since the task was issued" in status.reason
    assert agent_world.published()[known.id].phase is Phase.RUNNING, "what runs is what was issued"
    assert agent_world.published()[known.id].attempt == 1


def test_rule_05_a_task_whose_record_only_the_listing_lost_goes_on(agent_world: AgentWorld, tmp_path: Path) -> None:
    agent_world.start_agent()
    task = agent_world.issue(bash_definition(noting_pid(tmp_path)))
    other = agent_world.issue(bash_definition(name="other"))
    for each in (task, other):
        agent_world.await_health(each, Health.PASSING)
    (pid,) = pids_of(tmp_path)
    agent_world.delete(keys.task_by_host(task.host, task.id))
    agent_world.take_back(other)
    agent_world.await_gone(other)
    assert is_alive(pid)
    assert agent_world.published()[task.id].healthy


def test_rule_05_a_wiped_store_stops_nothing_and_that_is_said(agent_world: AgentWorld, tmp_path: Path) -> None:
    agent = agent_world.start_agent()
    task = agent_world.issue(bash_definition(noting_pid(tmp_path)))
    agent_world.await_health(task, Health.PASSING)
    (pid,) = pids_of(tmp_path)
    for entry in (*agent_world.store.list("config/").entries, *agent_world.store.list("state/").entries):
        agent_world.delete(entry.key)
    wait_until(lambda: any("goes on with what was last issued" in note for note in agent.status.notes), what="a note")
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pids_of(tmp_path) not in ([pid], []), what="it is restarted all the same")
    assert agent_world.store.get(keys.status("h1")) is None, "nothing is written into a store that is not ours"


def test_rule_05_another_store_in_the_place_of_ours_stops_nothing(agent_world: AgentWorld, tmp_path: Path) -> None:
    agent = agent_world.start_agent()
    task = agent_world.issue(bash_definition(noting_pid(tmp_path)))
    agent_world.await_health(task, Health.PASSING)
    for key in (keys.CONFIG_SENTINEL, keys.STATE_SENTINEL):
        agent_world.put(key, b'{"store_id":"someone-elses"}')
    agent_world.delete(keys.task_by_id(task.id))
    agent_world.delete(keys.task_by_host(task.host, task.id))
    wait_until(lambda: any("another store" in note for note in agent.status.notes), what="a note")
    assert is_alive(pids_of(tmp_path)[0])
    for key in (keys.CONFIG_SENTINEL, keys.STATE_SENTINEL):
        agent_world.put(key, b'{"store_id":"%s"}' % agent_world.store_id.encode())


def test_rule_05_processes_of_another_store_are_left_alone(agent_world: AgentWorld, tmp_path: Path) -> None:
    stranger = Bash(Owner("another-store", "h1@somewhere"), tmp_path / "bash")
    definition = bash_definition(noting_pid(tmp_path))
    spec = Spec(
        ref=Ref("c-web-1-1", 101, "main"),
        container=definition.containers[0],
        digest="d",
        attempt=1,
        environment={"RECONCILER_TASK_ID": "stranger"},
        address="",
    )
    stranger.start(spec)
    try:
        agent_world.start_agent()
        task = agent_world.issue(bash_definition())
        agent_world.await_health(task, Health.PASSING)
        assert task.id == spec.ref.task_id
        agent_world.take_back(task)
        agent_world.await_gone(task)
        (pid,) = pids_of(tmp_path)
        assert is_alive(pid)
        assert any("leaves alone" in event.message and "another-store" in event.message for event in agent_world.events)
    finally:
        stranger.stop(spec.ref, spec.container, 2.0)
        stranger.remove(spec.ref)
        stranger.close()


def test_two_hosts_on_one_machine_leave_each_others_tasks_alone(agent_world: AgentWorld, tmp_path: Path) -> None:
    definition = bash_definition(noting_pid(tmp_path))
    agent_world.start_agent()
    first = agent_world.issue(definition, instance=1)
    agent_world.await_health(first, Health.PASSING)
    before = pids_of(tmp_path)
    neighbour = AgentWorld(agent_world.store, agent_world.folder, host="h2")
    try:
        neighbour.start_agent()
        second = agent_world.issue(definition, instance=2, host="h2")
        neighbour.await_health(second, Health.PASSING)
        agent_world.take_back(first)
        agent_world.await_gone(first)
        assert neighbour.published()[second.id].healthy
        assert not is_alive(before[0])
        strangers = agent_world.agents[0]._pages.status()["strangers"]
        assert all(agent_world.store_id not in each for each in strangers), "a neighbour is no stranger"
        moved = agent_world.issue(definition, instance=3)
        agent_world.await_health(moved, Health.PASSING)
    finally:
        neighbour.agents[0].stop_everything(20.0)
    assert agent_world.published()[moved.id].healthy


def test_a_script_check_runs_in_the_environment_of_its_task(agent_world: AgentWorld) -> None:
    agent_world.start_agent()
    check = Check(script='test "$GREETING" = hello && echo "$RECONCILER_TASK_ID is fine" && exit 1', interval="100ms")
    task = agent_world.issue(bash_definition(env=("GREETING=hello",), checks=(check,)))
    assert agent_world.await_health(task, Health.WARNING).reason == f"{task.id} is fine"


def test_a_task_reports_its_ttl_check_to_the_agent_over_http(agent_world: AgentWorld) -> None:
    agent = agent_world.start_agent()
    server = HttpServer("127.0.0.1", 0, agent.site.routes)
    server.start()
    try:
        url = f"http://127.0.0.1:{server.port}/v1"
        report = f'curl -s -X PUT -d "all good" {url}/checks/$RECONCILER_CHECK_ALIVE/pass; {SLEEP}'
        task = agent_world.issue(bash_definition(report, checks=(Check(ttl="1h", name="alive"),)))
        agent_world.await_health(task, Health.PASSING)
        page = urllib3.request("GET", f"{url}/status", timeout=5).json()
        shown = page["tasks"][task.id]
        assert (page["host"], shown["phase"], shown["health"], shown["service"]) == ("h1", "running", "passing", "web")
        assert urllib3.request("PUT", f"{url}/checks/nonsense/pass", timeout=5).status == 404
    finally:
        server.stop()


def test_everything_of_ours_is_stopped_when_a_person_asks_for_it(agent_world: AgentWorld, tmp_path: Path) -> None:
    agent = agent_world.start_agent()
    tasks = [agent_world.issue(bash_definition(noting_pid(tmp_path)), instance=each) for each in range(1, 6)]
    for task in tasks:
        agent_world.await_health(task, Health.PASSING)
    assert agent.stop_everything(20.0)
    assert not any(is_alive(pid) for pid in pids_of(tmp_path))
    assert {status.phase for status in agent_world.published().values()} == {Phase.STOPPED}
    entry = agent_world.store.get(keys.host_state("h1"))
    assert entry is not None
    assert entry.holder is None


def test_a_dry_run_tells_what_would_happen_and_does_nothing(agent_world: AgentWorld) -> None:
    task = agent_world.issue(bash_definition())
    made = agent_world.agent().dry_run()
    (action,) = made.actions
    assert isinstance(action, Start)
    assert action.describe() == f"start {task.id} (issue {task.issue}, attempt 1)"
    assert agent_world.store.get(keys.host_state("h1")) is None
    assert agent_world.published() == {}
    agent = agent_world.start_agent()
    agent_world.await_health(task, Health.PASSING)
    agent.stop()
    agent_world.take_back(task)
    (action,) = agent_world.agent().dry_run().actions or [None]
    assert action is None or isinstance(action, TakeDown)
    agent_world.start_agent()
    agent_world.await_gone(task)


# --- the host's name ---


def test_a_second_agent_of_the_same_name_is_refused(agent_world: AgentWorld) -> None:
    agent_world.start_agent()
    with pytest.raises(UsageError, match=f"process {os.getpid()}"):
        agent_world.agent().start()


def test_a_name_that_another_machine_holds_is_refused_with_its_address(agent_world: AgentWorld) -> None:
    session = agent_world.store.open_session("another agent", 60.0)
    state = HostState(host="h1", machine="another", address="10.9.9.9", memory=1, cpu_units=1)
    held = agent_world.store.commit([Acquire(keys.host_state("h1"), codec.encode(state), session.id)])
    assert isinstance(held, Committed)
    with pytest.raises(UsageError, match=r"another machine \(10\.9\.9\.9\)"):
        agent_world.agent().start()
    session.close()
    agent_world.start_agent()
    wait_until(lambda: holder_of(agent_world), what="the name is free for us once nobody holds it")


def holder_of(world: AgentWorld) -> str | None:
    entry = world.store.get(keys.host_state(world.host))
    return entry.holder if entry else None


def test_rule_06_the_next_agent_goes_on_with_the_session_of_the_last_one(agent_world: AgentWorld) -> None:
    first = agent_world.start_agent()
    wait_until(lambda: holder_of(agent_world), what="the host is there")
    holder = holder_of(agent_world)
    first.stop()
    assert holder_of(agent_world) == holder, "a restart is not a lost host"
    second = agent_world.start_agent()
    task = agent_world.issue(bash_definition())
    agent_world.await_health(task, Health.PASSING)
    assert holder_of(agent_world) == holder
    second.stop_everything(20.0)
    assert holder_of(agent_world) is None


def test_rule_06_a_host_that_was_overwritten_by_hand_is_entered_again(agent_world: AgentWorld) -> None:
    agent_world.with_settings(poll_s=0.2)
    agent_world.start_agent()
    wait_until(lambda: holder_of(agent_world), what="the host is there")
    agent_world.delete(keys.host_state("h1"))
    wait_until(lambda: holder_of(agent_world), what="the host is there again")


def test_a_host_shows_what_it_has(agent_world: AgentWorld) -> None:
    agent_world.start_agent()
    wait_until(lambda: holder_of(agent_world), what="the host is there")
    entry = agent_world.store.get(keys.host_state("h1"))
    assert entry is not None
    state = codec.decode(entry.value, HostState)
    assert (state.host, state.address, state.executors) == ("h1", "127.0.0.1", ("bash",))
    assert state.machine == identity.machine(agent_world.settings.runtime_dir)


def test_a_value_that_is_no_record_disturbs_no_other_task(agent_world: AgentWorld) -> None:
    agent_world.commit(Put(keys.task_by_host("h1", "broken"), b"{"), Put(keys.task_by_id("broken"), b"{"))
    agent_world.start_agent()
    task = agent_world.issue(bash_definition())
    agent_world.await_health(task, Health.PASSING)
