"""Random worlds for ``system`` and ``batch`` services: their promises hold after every transaction; they converge."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reconciler.model import codec
from reconciler.model.manifests import Cluster, Host, RolloutPolicy, Service
from reconciler.model.overrides import ClusterOverride, Paused, Restarted, ServiceOverride
from reconciler.model.task import Health, Phase, Rollout, RolloutPhase, Task
from reconciler.scheduler.chunks import split
from reconciler.scheduler.steps import Plan, Step
from tests.support.scheduler_world import World, definition, planned, replace, state

HOSTS = ("h1", "h2", "h3", "h4")
CLUSTER = "main"
MOST_ROUNDS = 80
KINDS = st.sampled_from(["log", "job"])


class Kinds(RuleBasedStateMachine):
    """``log`` is on each host, ``job`` runs to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.is_attentive = True
        for name in HOSTS[:3]:
            self.add_host(name)
        for version, port in ((1, 0), (2, 53), (3, 53)):
            for name in ("log", "job"):
                fields: dict[str, Any] = {"port": port} if name == "log" else {"memory": 600}
                self.world.definitions[name, version] = definition(name, version, **fields)
        self.world.services["log"] = Service(name="log", kind="system", task_name="log", task_version=1, desired=1)
        self.world.services["job"] = Service(name="job", kind="batch", task_name="job", task_version=1, desired=3)
        self.world.clusters[CLUSTER] = Cluster(name=CLUSTER, services=("log", "job"))

    @rule(name=st.sampled_from(HOSTS))
    def add_host(self, name: str) -> None:
        self.world.host_states[name] = state(name, memory=1000)
        self.world.present.add(name)

    @rule(name=KINDS, version=st.integers(1, 3))
    def change_version(self, name: str, version: int) -> None:
        self.world.services[name] = replace(self.world.services[name], task_version=version)

    @rule(name=KINDS, parallel=st.integers(0, 2), on_failure=st.sampled_from(["halt", "revert"]))
    def change_policy(self, name: str, parallel: int, on_failure: Any) -> None:
        policy = RolloutPolicy(parallel=parallel, on_failure=on_failure)
        self.world.services[name] = replace(self.world.services[name], rollout=policy)

    @rule(desired=st.integers(0, 5))
    def change_desired(self, desired: int) -> None:
        self.world.services["job"] = replace(self.world.services["job"], desired=desired)

    @rule(host=st.sampled_from(HOSTS), draining=st.booleans())
    def drain(self, host: str, draining: bool) -> None:
        self.world.host_configs[host] = Host(name=host, draining=draining)

    @rule(name=KINDS)
    def restart(self, name: str) -> None:
        self.world.now += 0.001
        issued = {cluster: head.seq for cluster, head in self.world.heads.items()}
        said = Restarted(issued=issued, by="anna", since=self.world.now)
        self.world.service_overrides[name] = ServiceOverride(service=name, restarted=said)

    @rule(name=KINDS)
    def change_a_secret(self, name: str) -> None:
        self.world.outdate(name, "secret db (kv web/db) changed")

    @rule(is_paused=st.booleans())
    def pause(self, is_paused: bool) -> None:
        pause = Paused(by="anna", since=self.world.now) if is_paused else None
        self.world.cluster_overrides[CLUSTER] = ClusterOverride(cluster=CLUSTER, paused=pause)

    @rule(host=st.sampled_from(HOSTS))
    def lose_host(self, host: str) -> None:
        self.world.present.discard(host)

    @rule(host=st.sampled_from(HOSTS))
    def find_host(self, host: str) -> None:
        if host in self.world.host_states:
            self.world.present.add(host)

    @rule(seconds=st.sampled_from([1, 31, 100, 700]))
    def wait(self, seconds: int) -> None:
        self.world.snapshot()
        self.world.now += seconds

    @rule()
    def fail_over(self) -> None:
        self.world.failover()

    @rule(host=st.sampled_from(HOSTS), reason=st.sampled_from(["", "there is no such image"]))
    def fetch(self, host: str, reason: str) -> None:
        self.world.cannot_fetch[host] = reason
        if host in self.world.present:
            self.world.prepare(host)

    @rule(host=st.sampled_from(HOSTS))
    def run_agent(self, host: str) -> None:
        self.world.run_agent(host)

    @precondition(lambda self: self.world.tasks)
    @rule(number=st.integers(0, 100), phase=st.sampled_from([Phase.COMPLETE, Phase.FAILED, Phase.RUNNING]))
    def change_task(self, number: int, phase: Phase) -> None:
        ids = sorted(self.world.tasks)
        task = self.world.tasks[ids[number % len(ids)]]
        known = self.world.status(task)
        is_over = known is not None and known.phase in (Phase.COMPLETE, Phase.FAILED)
        if task.host in self.world.present and not is_over and (task.completes or phase is not Phase.COMPLETE):
            self.world.set_status(task.id, phase, Health.CRITICAL)

    @rule(is_attentive=st.booleans())
    def look(self, is_attentive: bool) -> None:
        self.is_attentive = is_attentive

    @invariant()
    def schedule(self) -> None:
        if self.is_attentive:
            for steps in split(self.plan().steps, 45).transactions:
                self.commit(steps)

    def plan(self) -> Plan:
        return planned(self.world.view(CLUSTER), self.world.now)

    def usable(self) -> set[str]:
        """The hosts that are there and do not drain."""
        configs = self.world.host_configs
        return {host for host in self.world.present if not configs.get(host, Host(name=host)).draining}

    def commit(self, steps: tuple[Step, ...]) -> None:
        world, before, rollouts = self.world, dict(self.world.tasks), dict(self.world.rollouts)
        was_complete = {task.id for task in before.values() if self.is_complete(task)}
        was_healthy, had_all = self.healthy_logs(), self.have_all()
        world.carry_out(CLUSTER, steps) if steps else None
        new = [task for task in world.tasks.values() if task.id not in before]
        gone = [task for task in before.values() if task.id not in world.tasks]
        assert {task.host for task in new} <= self.usable()
        if self.is_paused():
            assert not {task.id for task in gone} & was_complete, "what is done was touched while paused"
            assert len(new) <= len(gone)
            return
        self.check_log(was_healthy, before)
        for host in was_healthy - self.healthy_logs() - had_all:
            raise AssertionError(f"{host} has none any more, and has not fetched the next one")
        self.check_job(rollouts, gone, was_complete, before)

    def is_paused(self) -> bool:
        return self.world.snapshot().overrides.paused(CLUSTER) is not None

    def is_complete(self, task: Task) -> bool:
        status = self.world.status(task)
        return task.host in self.world.present and status is not None and status.phase is Phase.COMPLETE

    def logs(self, tasks: dict[str, Task]) -> list[Task]:
        return [task for task in tasks.values() if task.service == "log"]

    def healthy_logs(self) -> set[str]:
        """The usable hosts with a healthy one."""
        return {task.host for task in self.logs(self.world.tasks) if self.world.is_healthy(task)} & self.usable()

    def have_all(self) -> set[str]:
        """The hosts that have all that a task of ``log`` needs which would start there now."""
        going = self.world.rollouts.get((CLUSTER, "log"))
        version = self.world.services["log"].task_version
        if going and going.target_version == version and going.phase in (RolloutPhase.REVERTING, RolloutPhase.REVERTED):
            version = going.previous_version or version
        digest = codec.digest(self.world.definitions["log", version])
        return {host for host in self.world.host_states if self.world.has_all(host, CLUSTER, "log", digest)}

    def check_log(self, was_healthy: set[str], before: dict[str, Task]) -> None:
        step = max(1, self.world.services["log"].policy.parallel)
        hosts = self.usable() | {task.host for task in self.logs(before) if task.host not in self.world.present}
        assert len(self.healthy_logs()) >= min(len(was_healthy), len(self.usable()) - step)
        now = self.logs(self.world.tasks)
        assert len(now) <= max(len(self.logs(before)), len(hosts) + step)
        for task in [each for each in now if each.id not in before]:
            there = [each for each in now if each.host == task.host]
            assert len(there) <= 2, f"{task.host} has {len(there)} of them"

    def check_job(
        self,
        rollouts: dict[tuple[str, str], Rollout],
        gone: list[Task],
        was_complete: set[str],
        before: dict[str, Task],
    ) -> None:
        old, new = rollouts.get((CLUSTER, "job")), self.world.rollouts.get((CLUSTER, "job"))
        service = self.world.services["job"]
        most = min(service.policy.parallel or service.desired, service.desired)
        jobs = [task for task in self.world.tasks.values() if task.service == "job"]
        fresh = [task for task in jobs if task.id not in before]
        wanted = [task for task in jobs if new and task.digest == new.target_digest and task.issue > new.again]
        if fresh and new is not None:
            had = [task for task in wanted if task.id in before]
            assert len(wanted) <= max(most, len(had) + sum(task.service == "job" for task in gone))
            assert new.done + len(wanted) <= max(service.desired, len(had) + new.done + len(gone))
        if old is not None and new is not None and (old.target_digest, old.again) == (new.target_digest, new.again):
            counted = [
                task
                for task in gone
                if task.id in was_complete and task.digest == new.target_digest and task.issue > new.again
            ]
            if service.desired:
                assert new.done == old.done + len(counted), "what is done is counted once, with its record"

    def teardown(self) -> None:
        """Faults stop: each usable host has one, and the job ends."""
        world = self.world
        world.present, world.host_configs, world.cluster_overrides = set(world.host_states), {}, {}
        world.cannot_fetch = {}
        for _ in range(MOST_ROUNDS):
            world.run_agents()
            for task in world.tasks.values():
                if task.completes and (status := world.status(task)) and status.phase is Phase.RUNNING:
                    world.set_status(task.id, Phase.COMPLETE)
            world.snapshot()
            world.now += 200
            planned = self.plan()
            if not planned.steps:
                break
            self.commit(planned.steps)
        assert not planned.steps, "it does not converge"
        logs = self.logs(world.tasks)
        assert sorted(task.host for task in logs) == sorted(world.present)
        assert not world.preparations
        job, service = world.rollouts.get((CLUSTER, "job")), world.services["job"]
        assert not [task for task in world.tasks.values() if task.service == "job"]
        if service.desired and job is not None:
            assert job.phase in (RolloutPhase.COMPLETED, RolloutPhase.FAILED)
            assert job.done >= service.desired or job.phase is RolloutPhase.FAILED


TestKinds = Kinds.TestCase
TestKinds.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
