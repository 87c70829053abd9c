"""The agent on a real Consul: services that come and go with tasks, and a Consul that is restarted, away or denies."""

import contextlib
import os
import signal
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
import urllib3

from reconciler.health.consul_registry import ConsulRegistry
from reconciler.health.interface import HealthProvider, ScriptRunner
from reconciler.model import codec, keys
from reconciler.model.manifests import BashContainer, BashExecutor, Check, Restart, TaskDefinition
from reconciler.model.task import Health, HostStatus, Phase
from reconciler.runtime.clock import SystemClock
from reconciler.store.consul import ConsulStore
from reconciler.store.interface import Put
from tests.support.agent import AgentWorld, bash_definition, free_port, is_alive, noting_pid, pids_of
from tests.support.consul import ConsulAgent, Roles, StartConsul
from tests.support.endless_server import EndlessServer
from tests.support.wait import wait_until

pytestmark = pytest.mark.consul

SERVE = 'exec python3 -m http.server "$PORT" --bind 127.0.0.1'
CHECK = Check(http="http://127.0.0.1/", add_provided_port=True, interval="200ms", timeout="1s")


class ConsulWorld(AgentWorld):
    """A world on Consul, whose agents register with the local Consul agent."""

    def __init__(
        self, consul: ConsulAgent, store: ConsulStore, folder: Path, *, agent_store: ConsulStore | None = None
    ) -> None:
        super().__init__(store, folder, host=f"h-{os.getpid()}-{id(self):x}")
        self.consul = consul
        self.agent_store = agent_store or store

    def start(self) -> None:
        self.start_agent(store=self.agent_store, health=self._health)

    def services(self, *, token: str | None = None) -> dict[str, dict[str, object]]:
        found = self.consul.call("GET", "agent/services", token=token).items()
        return {key: each for key, each in found if each["Meta"].get("reconciler_store") == self.store_id}

    def close(self) -> None:
        super().close()
        assert self.services() == {}
        self.agent_store.close()

    def _health(self, run_script: ScriptRunner) -> HealthProvider:
        from reconciler.agent import identity

        owner = identity.owner(self.settings, self.store_id)
        return ConsulRegistry(
            self.agent_store.agent,
            store_id=owner.store_id,
            machine=owner.machine,
            run_script=run_script,
            clock=SystemClock(),
        )


@pytest.fixture
def world(consul: ConsulAgent, tmp_path: Path) -> Generator[ConsulWorld]:
    with contextlib.closing(ConsulWorld(consul, consul.store(), tmp_path)) as made:
        yield made


def test_a_task_is_found_through_consul_while_it_runs(world: ConsulWorld) -> None:
    world.start()
    task = world.issue(bash_definition(SERVE, checks=(CHECK,)), port=free_port())
    world.await_health(task, Health.PASSING)
    service = world.services()[task.id]
    assert (service["Service"], service["Port"]) == ("c-web", task.port)
    world.take_back(task)
    world.await_gone(task)
    assert world.services() == {}


def test_a_task_that_dies_is_healthy_again_only_after_its_new_process_answered(
    world: ConsulWorld, tmp_path: Path
) -> None:
    world.start()
    task = world.issue(bash_definition(noting_pid(tmp_path, SERVE), checks=(CHECK,)), port=free_port())
    world.await_health(task, Health.PASSING)
    os.kill(pids_of(tmp_path)[0], signal.SIGKILL)
    seen: list[tuple[int, Phase, Health]] = []

    def healed() -> bool:
        status = world.agents[0].status.tasks[task.id]
        seen.append((status.attempt, status.phase, status.health))
        return status.attempt == 2 and status.healthy

    wait_until(healed, what="the second attempt is healthy")
    first_running = next(each for each in seen if each[:2] == (2, Phase.RUNNING))
    assert first_running[2] is Health.UNKNOWN, "what the first attempt's checks said does not count"
    world.await_health(task, Health.PASSING)


def test_a_task_that_is_never_healthy_is_restarted_until_it_has_failed(world: ConsulWorld) -> None:
    world.start()
    restart = Restart(max_attempts=2, delay="100ms", window="10m")
    sick = bash_definition(checks=(CHECK,), restart_after="500ms", restart=restart)
    task = world.issue(sick, port=free_port())  # nobody listens there
    status = world.await_phase(task, Phase.FAILED, timeout_s=60)
    assert status.attempt == 2
    assert "the last time: health was critical for 500ms" in status.reason
    assert world.services() == {}


def test_clients_see_no_failed_request_while_their_task_is_replaced(world: ConsulWorld) -> None:
    world.with_settings(drain_delay_s=1.0)
    world.start()
    definition = bash_definition(SERVE, checks=(CHECK,))
    old = world.issue(definition, instance=1, port=free_port())
    world.await_health(old, Health.PASSING)
    stop, failures, answered = threading.Event(), [], []

    def client() -> None:
        with urllib3.PoolManager(retries=False) as pool:
            while not stop.is_set():
                found = world.consul.call("GET", "health/service/c-web?passing")
                for entry in found:
                    if entry["Service"]["Meta"].get("reconciler_store") != world.store_id:
                        continue
                    port = entry["Service"]["Port"]
                    try:
                        answered.append(pool.request("GET", f"http://127.0.0.1:{port}/", timeout=5).status)
                    except urllib3.exceptions.HTTPError as error:
                        failures.append(f"{port}: {error}")

    thread = threading.Thread(target=client)
    thread.start()
    try:
        for instance in (2, 3):
            new = world.issue(definition, instance=instance, port=free_port())
            world.await_health(new, Health.PASSING)
            world.take_back(old)
            world.await_gone(old)
            old = new
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert len(answered) > 10


def test_a_script_check_is_shown_in_consul(world: ConsulWorld) -> None:
    world.start()
    check = Check(script='echo "$RECONCILER_TASK_ID"; exit 1', interval="100ms")
    task = world.issue(bash_definition(checks=(check,)))
    assert world.await_health(task, Health.WARNING).reason == task.id
    assert world.consul.call("GET", "agent/checks")[f"{task.id}:0"]["Status"] == "warning"


def test_rule_05_a_token_that_lost_its_rights_stops_nothing(roles: Roles, tmp_path: Path) -> None:
    agent_store = roles.store("agent")
    world = ConsulWorld(roles.agent, roles.store("management"), tmp_path, agent_store=agent_store)
    with contextlib.closing(world):
        world.with_settings(poll_s=0.5)
        world.start()
        stays, goes = (world.issue(bash_definition(noting_pid(tmp_path)), instance=instance) for instance in (1, 2))
        for task in (stays, goes):
            world.await_health(task, Health.PASSING)
        pids = pids_of(tmp_path)
        policy = policy_of(roles, "agent")
        blind = "\n".join(line for line in policy["Rules"].splitlines() if '"list"' not in line)
        sentinels = f'key "{roles.url.rpartition("/")[2]}/state/.store" {{ policy = "read" }}\n'
        sentinels += sentinels.replace("state/", "config/")
        roles.agent.call("PUT", f"acl/policy/{policy['ID']}", {**policy, "Rules": blind + "\n" + sentinels})
        world.take_back(goes)
        agent = world.agents[0]
        wait_until(lambda: agent._issued.view.tasks == {}, what="the listing shows nothing")
        wait_until(lambda: agent._issued.view.findings, what="the single keys are read")
        before = agent._issued.view.began
        wait_until(lambda: agent._issued.view.began > before, what="and read again")
        assert all(is_alive(pid) for pid in pids), "a denied read is no evidence"
        assert {status.phase for status in agent.status.tasks.values()} == {Phase.RUNNING}
        roles.agent.call("PUT", f"acl/policy/{policy['ID']}", policy)
        world.await_gone(goes)
        assert world.published()[stays.id].healthy


def policy_of(roles: Roles, role: str) -> dict[str, str]:
    name = f"{roles.url.rpartition('/')[2]}-{role}"
    found: dict[str, str] = roles.agent.call("GET", f"acl/policy/name/{name}")
    return {key: found[key] for key in ("ID", "Name", "Rules")}


def test_while_consul_is_away_tasks_run_and_deaths_are_restarted(start_consul: StartConsul, tmp_path: Path) -> None:
    consul = start_consul(is_dev=False)
    world = ConsulWorld(consul, consul.store(), tmp_path)
    with contextlib.closing(world):
        world.start()
        task = world.issue(bash_definition(noting_pid(tmp_path)))
        world.await_health(task, Health.PASSING)
        consul.stop()
        (pid,) = pids_of(tmp_path)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pids_of(tmp_path) not in ([pid], []) and is_alive(pids_of(tmp_path)[0]), what="a restart")
        (second,) = pids_of(tmp_path)
        consul.launch()
        consul.wait_leader()
        wait_until(lambda: world.published()[task.id].attempt == 2, timeout_s=40, what="it is told when Consul is back")
        world.await_health(task, Health.PASSING)
        assert pids_of(tmp_path) == [second]
        late = world.issue(bash_definition(name="late"))
        world.await_health(late, Health.PASSING)


def test_a_task_that_may_not_run_unheard_of_is_stopped_while_consul_is_away_and_what_is_fetched_for_one_broken_off(
    start_consul: StartConsul, tmp_path: Path, endless_server: EndlessServer
) -> None:
    consul = start_consul(is_dev=False)
    world = ConsulWorld(consul, consul.store(), tmp_path)
    with contextlib.closing(world):
        world.with_settings(session_ttl_s=10.0)
        world.start()
        (tmp_path / "alone").mkdir()
        (tmp_path / "other").mkdir()
        alone = world.issue(bash_definition(noting_pid(tmp_path / "alone"), name="alone"), stop_isolated_after_s=8.0)
        other = world.issue(bash_definition(noting_pid(tmp_path / "other"), name="other"))
        tool = BashExecutor(start=("exec ./tool",), artifact=f"http://{endless_server.hostport}/tool")
        slow = TaskDefinition(name="slow", version=1, containers=(BashContainer(name="main", executor=tool),))
        fetching = world.issue(slow, stop_isolated_after_s=8.0)
        world.await_health(alone, Health.PASSING)
        world.await_health(other, Health.PASSING)
        wait_until(endless_server.asked.is_set, what="the download has begun")
        consul.stop()
        (pid,), (other_pid,) = pids_of(tmp_path / "alone"), pids_of(tmp_path / "other")
        wait_until(lambda: not is_alive(pid), what="it is stopped", timeout_s=40)
        wait_until(lambda: endless_server.open == 0, what="the download is broken off")
        for task in (alone, fetching):
            assert "this host is isolated" in world.agents[0].status.tasks[task.id].reason
        assert is_alive(other_pid)
        endless_server.content = b"#!/bin/sh\nexec sleep 100000\n"
        consul.launch()
        consul.wait_leader()
        world.await_status(alone, lambda status: status.attempt == 2 and status.healthy, "started again", 60)
        world.await_health(fetching, Health.PASSING)
        assert is_alive(other_pid)


def test_rule_05_a_consul_that_forgot_everything_stops_nothing(start_consul: StartConsul, tmp_path: Path) -> None:
    consul = start_consul()
    with contextlib.closing(ConsulWorld(consul, consul.store(), tmp_path)) as world:
        forget_and_restore(world, tmp_path)


def forget_and_restore(world: ConsulWorld, folder: Path) -> None:
    world.start()
    task = world.issue(bash_definition(noting_pid(folder)))
    world.await_health(task, Health.PASSING)
    (pid,) = pids_of(folder)
    kept = [(entry.key, entry.value) for prefix in ("config/", "state/") for entry in world.store.list(prefix).entries]
    world.consul.restart()
    agent = world.agents[0]
    wait_until(lambda: any("goes on" in note for note in agent.status.notes), timeout_s=40, what="it says so")
    assert is_alive(pid)
    # somebody restores a backup: indexes went back, and all is as it was
    world.commit(*(Put(key, value) for key, value in kept if not key.startswith("state/hosts/")))

    def settled() -> bool:
        entry = world.store.get(keys.status(world.host))
        status = codec.decode(entry.value, HostStatus) if entry else HostStatus(host="")
        return status.notes == () and task.id in status.tasks and status.tasks[task.id].healthy

    wait_until(settled, timeout_s=40, what="the agent goes on")
    wait_until(lambda: set(world.services()) == {task.id}, timeout_s=40, what="it is registered as before")
    assert is_alive(pid)
