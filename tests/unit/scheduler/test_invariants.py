"""Random worlds, steps and faults: the promises hold after every transaction, and once faults stop it converges."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reconciler.model import codec
from reconciler.model.manifests import Cluster, Host, Placement, RolloutPolicy, Service
from reconciler.model.overrides import (
    ClusterOverride,
    Drained,
    HostOverride,
    Paused,
    Rebalanced,
    Restarted,
    Scaled,
    ServiceOverride,
    Verdict,
)
from reconciler.model.source_state import SourceState, SyncMark
from reconciler.model.task import Health, Phase, RolloutPhase, Task
from reconciler.scheduler.chunks import split
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import scene, view_of
from reconciler.scheduler.steps import Plan, Step
from tests.support.scheduler_draws import HOSTS, SERVICES, VERSIONS, counts, definitions, numbers, placements, policies
from tests.support.scheduler_promises import CLUSTER, Promises, bounds
from tests.support.scheduler_world import World, definition, planned, replace, state

MOST_ROUNDS = 120


class Fleet(RuleBasedStateMachine):
    """One cluster on a few small hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.is_attentive = False
        self.most_operations = 60

    @initialize(data=st.data(), memory=st.lists(st.sampled_from([500, 1000, 3000]), min_size=2, max_size=5))
    def begin(self, data: st.DataObject, memory: list[int]) -> None:
        for name, each in zip(HOSTS, memory, strict=False):
            attributes = data.draw(st.sampled_from([{}, {"arch": "x86"}, {"arch": "arm"}, {"arch": "mips"}]))
            self.world.host_states[name] = state(
                name,
                memory=each,
                disk=1000,
                attributes=attributes,
                port_range=(20000, 20003),
                prepares=data.draw(st.sampled_from([True, True, False])),
            )
            self.world.present.add(name)
        for name in SERVICES:
            for version in VERSIONS:
                self.world.definitions[name, version] = definition(name, version, **data.draw(definitions))
            self.world.services[name] = Service(name=name, task_name=name, task_version=1, desired=data.draw(counts))
        self.world.clusters[CLUSTER] = Cluster(name=CLUSTER, services=SERVICES)
        self.world.sources["fleet"] = source(settled=True)
        self.commit(self.plan().steps)
        self.world.run_agents()
        self.is_attentive = True

    # what people do

    @rule(name=st.sampled_from(SERVICES), desired=st.integers(0, 5), low=st.integers(0, 2), high=st.integers(0, 3))
    def scale(self, name: str, desired: int, low: int, high: int) -> None:
        self.world.services[name] = replace(
            self.world.services[name], desired=desired, min=max(0, desired - low), max=desired + high
        )

    @rule(name=st.sampled_from(SERVICES), version=st.sampled_from(VERSIONS))
    def change_version(self, name: str, version: int) -> None:
        self.world.services[name] = replace(self.world.services[name], task_version=version)

    @rule(name=st.sampled_from(SERVICES), version=st.sampled_from(VERSIONS), fields=definitions)
    def change_content(self, name: str, version: int, fields: dict[str, Any]) -> None:
        self.world.definitions[name, version] = definition(name, version, **fields)

    @rule(names=st.sets(st.sampled_from(SERVICES)))
    def choose_services(self, names: set[str]) -> None:
        self.world.clusters[CLUSTER] = Cluster(name=CLUSTER, services=tuple(sorted(names)))

    @rule(host=st.sampled_from(HOSTS), draining=st.booleans())
    def drain(self, host: str, draining: bool) -> None:
        known = self.world.host_configs.get(host, Host(name=host))
        self.world.host_configs[host] = replace(known, draining=draining)

    @rule(host=st.sampled_from(HOSTS), zone=st.sampled_from(["a", "b", None]))
    def change_tags(self, host: str, zone: str | None) -> None:
        known = self.world.host_configs.get(host, Host(name=host))
        self.world.host_configs[host] = replace(known, tags={"zone": zone} if zone else {})

    @rule(name=st.sampled_from(SERVICES), placement=placements)
    def change_placement(self, name: str, placement: Placement | None) -> None:
        self.world.services[name] = replace(self.world.services[name], placement=placement)

    @rule(settled=st.booleans(), owned=st.booleans())
    def apply(self, settled: bool, owned: bool) -> None:
        self.world.sources["fleet"] = source(settled=settled)
        web = self.world.services["web"]
        self.world.services["web"] = replace(web, managed_by="fleet" if owned else None)

    @rule(name=st.sampled_from(SERVICES), policy=policies)
    def change_policy(self, name: str, policy: RolloutPolicy) -> None:
        self.world.services[name] = replace(self.world.services[name], rollout=policy)

    @rule(name=st.sampled_from(SERVICES))
    def change_a_secret(self, name: str) -> None:
        self.world.outdate(name, "secret db (kv web/db) changed")

    # what operators do

    def said(self, until: float = 0.0) -> dict[str, Any]:
        self.world.now += 0.001  # no two commands at one time
        return {"by": "anna", "since": self.world.now, "until": self.world.now + until if until else 0.0}

    def override(self, name: str, **fields: Any) -> None:
        known = self.world.service_overrides.get(name, ServiceOverride(service=name))
        self.world.service_overrides[name] = replace(known, **fields)

    @rule(name=st.sampled_from(SERVICES), desired=st.integers(0, 5), until=st.sampled_from([0, 60]))
    def scale_by_hand(self, name: str, desired: int, until: int) -> None:
        declared = self.world.services[name].desired
        self.override(name, scaled=Scaled(desired=desired, declared=declared, **self.said(until)))

    @rule(name=st.sampled_from(SERVICES))
    def restart(self, name: str) -> None:
        issued = {cluster: head.seq for cluster, head in self.world.heads.items()}
        self.override(name, restarted=Restarted(issued=issued, **self.said()))

    @rule(name=st.sampled_from(SERVICES), some=st.integers(1, 7))
    def rebalance(self, name: str, some: int) -> None:
        """Whatever tasks are named, and whatever has become of them since."""
        mine = [task for task in self.world.tasks.values() if task.service == name]
        tasks = {task.id: task.issue for number, task in enumerate(mine) if some >> number & 1}
        self.override(name, rebalanced=Rebalanced(tasks=tasks, **self.said()))

    @rule(name=st.sampled_from(SERVICES), promote=st.booleans())
    def decide(self, name: str, promote: bool) -> None:
        service = self.world.services[name]
        target = self.world.definitions[name, service.task_version]
        verdict = {"target_version": target.version, "target_digest": codec.digest(target)}
        self.override(name, verdict=Verdict(promote=promote, **verdict, **self.said()))

    @rule(is_paused=st.booleans())
    def pause(self, is_paused: bool) -> None:
        pause = Paused(**self.said()) if is_paused else None
        self.world.cluster_overrides[CLUSTER] = ClusterOverride(cluster=CLUSTER, paused=pause)

    @rule(host=st.sampled_from(HOSTS), draining=st.booleans(), until=st.sampled_from([0, 60]))
    def drain_by_hand(self, host: str, draining: bool, until: int) -> None:
        declared = self.world.host_configs.get(host, Host(name=host)).draining
        drained = Drained(draining=draining, declared=declared, **self.said(until))
        self.world.host_overrides[host] = HostOverride(host=host, drained=drained)

    # what happens to hosts and tasks

    @rule(host=st.sampled_from(HOSTS))
    def lose_host(self, host: str) -> None:
        self.world.present.discard(host)

    @rule(host=st.sampled_from(HOSTS))
    def find_host(self, host: str) -> None:
        if host in self.world.host_states:
            self.world.present.add(host)

    @rule(seconds=st.sampled_from([1, 10, 29, 31, 100]))
    def wait(self, seconds: int) -> None:
        self.world.snapshot()
        self.world.now += seconds

    @rule()
    def fail_over(self) -> None:
        self.world.failover()

    @rule(host=st.sampled_from(HOSTS))
    def run_agent(self, host: str) -> None:
        self.world.run_agent(host)

    @rule()
    def run_agents(self) -> None:
        self.world.run_agents()

    @rule(host=st.sampled_from(HOSTS), reason=st.sampled_from(["", "there is no such image"]))
    def fetch(self, host: str, reason: str) -> None:
        """From now on it goes well or not; what was asked for so far has been tried."""
        self.world.cannot_fetch[host] = reason
        if host in self.world.present:
            self.world.prepare(host)

    @precondition(lambda self: self.world.tasks)
    @rule(number=numbers, phase=st.sampled_from(list(Phase)), health=st.sampled_from(list(Health)))
    def change_task(self, number: int, phase: Phase, health: Health) -> None:
        ids = sorted(self.world.tasks)
        task = self.world.tasks[ids[number % len(ids)]]
        if task.host in self.world.present:
            self.world.set_status(task.id, phase, health, "drawn")

    # what the scheduler does

    @rule(is_attentive=st.booleans(), most_operations=st.sampled_from([5, 8, 60]))
    def look(self, is_attentive: bool, most_operations: int) -> None:
        """From now on it plans after every step, or (it is down, or slow) after none."""
        self.is_attentive, self.most_operations = is_attentive, most_operations

    @invariant()
    def schedule(self) -> None:
        """Carry out a plan as the daemon does: in transactions, and no further than a reading allows."""
        if not self.is_attentive:
            return
        for steps in split(self.plan().steps, self.most_operations).transactions:
            self.commit(steps)

    def plan(self) -> Plan:
        snapshot = self.world.snapshot()
        made = planned(view_of(scene(snapshot), CLUSTER, "default"), self.world.now)
        turned = replace(snapshot, tasks=snapshot.tasks[::-1], services=dict(reversed(snapshot.services.items())))
        assert made == plan(view_of(scene(turned), CLUSTER, "default"), self.world.now), (
            "the order of a reading matters"
        )
        return made

    def commit(self, steps: tuple[Step, ...]) -> None:
        """One transaction, with all that it promises."""
        promises = Promises(self.world)
        promises.check_steps(steps)
        self.world.carry_out(CLUSTER, steps) if steps else None
        promises.check(steps)

    def teardown(self) -> None:
        """Faults stop, agents work: after a bounded number of rounds nothing is left to do, and nothing is written."""
        if self.world.clusters:
            self.converge()

    def converge(self) -> None:
        world = self.world
        world.present = set(world.host_states)
        world.host_configs, world.host_overrides, world.cluster_overrides = {}, {}, {}
        world.cannot_fetch = {}
        world.sources["fleet"] = source(settled=True)
        for _ in range(MOST_ROUNDS):
            world.run_agents()
            world.snapshot()
            world.now += 400
            planned = self.plan()
            if not planned.steps:
                break
            self.commit(planned.steps)
        assert not planned.steps, "it does not converge"
        assert not self.plan().steps, "nothing changed, and yet there is something to do"
        world.now += 1000  # past every override's end
        self.finish()
        planned = self.plan()
        explained = {each.service for each in (*planned.pending, *planned.notes)}
        for name, service in world.services.items():
            mine = [task for task in world.tasks.values() if task.service == name]
            asked = [key for key in world.preparations if key[1] == name]
            if name not in world.clusters[CLUSTER].services:
                assert not mine
                assert not asked
                continue
            target = scene(world.snapshot()).snapshot.definitions[name, service.task_version]
            service = world.snapshot().overrides.service(service)
            is_current = [target.is_of(task) and not self.is_outdated(task) for task in mine]
            is_done = len(mine) == bounds(service)[1] and all(is_current)
            assert is_done or name in explained, f"{name} is not as it should be, and nobody says why"
            assert not (is_done and asked), f"{name} is done, and {asked} prepare it"
            if service.desired and service.max_issued:
                phase = world.rollouts[CLUSTER, name].phase
                assert phase not in (RolloutPhase.ROLLING, RolloutPhase.REVERTING), f"{name} never ends: {phase}"

    def is_outdated(self, task: Task) -> bool:
        status = self.world.status(task)
        return status is not None and status.outdated != ""

    def finish(self) -> None:
        """Whatever does not come further fails within its deadline, and what follows from that is done as well."""
        for _ in range(MOST_ROUNDS):
            self.world.snapshot()
            self.world.now += 700
            planned = self.plan()
            if not planned.steps:
                return
            self.commit(planned.steps)
            self.world.run_agents()
        raise AssertionError("it does not end")


def source(*, settled: bool) -> SourceState:
    """The one source."""
    mark = SyncMark(settled=settled, revision="r1", to=None if settled else "r2")
    return SourceState(source="fleet", kind="git", location="git.example.com/fleet", mark=mark)


TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
