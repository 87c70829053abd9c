"""Random worlds, steps and faults: the promises hold after every transaction, and once faults stop it converges."""

import re
from collections import Counter
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reconciler.model import codec
from reconciler.model.manifests import Cluster, Constraint, Host, NamedPort, Placement, RolloutPolicy, Service
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
from reconciler.model.task import Health, Phase, Rollout, RolloutPhase, Task, TaskStatus
from reconciler.scheduler.chunks import operations_of, split
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import scene, view_of
from reconciler.scheduler.steps import Issue, Plan, Step, Withdraw
from tests.support.scheduler_world import World, definition, replace, state

HOSTS = ("h1", "h2", "h3", "h4", "h5")
SERVICES = ("api", "db", "web")
VERSIONS = (1, 2, 3)
CLUSTER = "main"
MOST_ROUNDS = 120
GOES_ON = {
    RolloutPhase.CANARY: {
        RolloutPhase.ROLLING,
        RolloutPhase.COMPLETED,
        RolloutPhase.REVERTING,
        RolloutPhase.REVERTED,
        RolloutPhase.FAILED,
    },
    RolloutPhase.ROLLING: {
        RolloutPhase.COMPLETED,
        RolloutPhase.REVERTING,
        RolloutPhase.REVERTED,
        RolloutPhase.FAILED,
    },
    RolloutPhase.REVERTING: {RolloutPhase.REVERTED, RolloutPhase.FAILED},
}
"""How a rollout may go on by itself. So a revert is never reverted, and what has ended has ended."""

definitions = st.builds(
    lambda memory, cpu_units, disk, port, checks: {
        "memory": memory,
        "cpu_units": cpu_units,
        "disk": disk,
        **port,
        **checks,
    },
    st.sampled_from([0, 100, 250, 500]),
    st.sampled_from([0, 100]),
    st.sampled_from([0, 0, 400]),
    st.sampled_from(
        [
            {},
            {"provide_port": True},
            {"port": 80},
            {"port": 81},
            {"provide_port": True, "ports": (NamedPort(name="a"), NamedPort(name="b"))},
            {"ports": (NamedPort(name="a", port=80), NamedPort(name="b"), NamedPort(name="c", port=81))},
        ]
    ),
    st.sampled_from([{}, {}, {"checks": ()}]),
)
policies = st.builds(
    RolloutPolicy,
    parallel=st.integers(0, 2),
    order=st.sampled_from(["start_first", "stop_first"]),
    healthy_after=st.sampled_from([None, "10s", "2m"]),
    deadline=st.sampled_from(["5m", "10m"]),
    on_failure=st.sampled_from(["halt", "revert"]),
    canary=st.integers(0, 2),
)
placements = st.one_of(
    st.none(),
    st.builds(
        Placement,
        constraints=st.lists(
            st.sampled_from(
                [
                    Constraint(key="tag.zone", value="a"),
                    Constraint(key="tag.zone", operator="!=", value="a"),
                    Constraint(key="tag.zone", operator="in", values=("a", "b")),
                    Constraint(key="attribute.arch", operator="regex", value="x.*|arm"),
                    Constraint(key="name", operator="regex", value="h[1-3]"),
                ]
            ),
            max_size=2,
            unique=True,
        ).map(tuple),
        strategy=st.sampled_from(["spread", "binpack"]),
        spread_over=st.sampled_from([None, "zone"]),
        distinct_hosts=st.booleans(),
        apart_from=st.lists(st.sampled_from(SERVICES), max_size=1).map(tuple),
    ),
)
counts = st.integers(min_value=0, max_value=4)
tasks = st.integers(min_value=0, max_value=1000)


def bounds(service: Service) -> tuple[int, int, int]:
    """The least healthy, the desired and the most issued tasks, as the documentation says it."""
    desired = min(service.desired, service.max_issued)
    return min(service.min_healthy, desired), desired, service.max_issued


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
    @rule(number=tasks, phase=st.sampled_from(list(Phase)), health=st.sampled_from(list(Health)))
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
        planned = plan(view_of(scene(snapshot), CLUSTER, "default"), self.world.now)
        turned = replace(snapshot, tasks=snapshot.tasks[::-1], services=dict(reversed(snapshot.services.items())))
        assert planned == plan(view_of(scene(turned), CLUSTER, "default"), self.world.now), (
            "the order of a reading matters"
        )
        return planned

    def commit(self, steps: tuple[Step, ...]) -> None:
        """One transaction, with all that it promises."""
        world = self.world
        before, listed = dict(world.tasks), {each for host in world.statuses.values() for each in host}
        was_healthy = Counter(task.service for task in before.values() if world.is_healthy(task))
        was_issued = Counter(task.service for task in before.values())
        went = dict(world.rollouts)
        overrides = world.snapshot().overrides
        is_paused = overrides.paused(CLUSTER) is not None
        assert all(0 < sum(map(operations_of, step.actions)) <= 5 for step in steps)
        self.check_prepared(steps)
        world.carry_out(CLUSTER, steps) if steps else None
        for name, service in world.services.items():
            floor, desired, ceiling = bounds(overrides.service(service))
            healthy = sum(world.is_healthy(task) for task in world.tasks.values() if task.service == name)
            issued = sum(task.service == name for task in world.tasks.values())
            if is_paused:
                assert (healthy, issued) == (was_healthy[name], was_issued[name]), f"{name} was changed while paused"
                continue
            self.check_rollout(name, went.get((CLUSTER, name)), world.rollouts.get((CLUSTER, name)), before)
            is_removed = name not in world.clusters[CLUSTER].services
            if is_removed or desired == 0:
                assert issued <= was_issued[name]
                continue
            assert healthy >= min(was_healthy[name], floor), f"{name}: {was_healthy[name]} healthy, now {healthy}"
            assert issued <= max(was_issued[name], ceiling), f"{name}: {was_issued[name]} issued, now {issued}"
            if service.managed_by == "fleet" and not world.sources["fleet"].mark.settled:
                assert (healthy, issued) == (was_healthy[name], was_issued[name]), f"{name} was changed on hold"
        replaced = self.replaced(steps)
        for task in [each for each in world.tasks.values() if each.id not in before]:
            assert task.id not in listed, f"{task.id} still is in a host's status"
            self.check_place(task, replaced)

    def check_prepared(self, steps: tuple[Step, ...]) -> None:
        """No healthy task stops for a new one that would have to be fetched first."""
        world = self.world
        for action in (action for step in steps for action in step.actions):
            if not isinstance(action, Withdraw) or not world.is_healthy(action.task):
                continue
            if found := re.match(r"makes room for version (\d+)(?: on (.*))?", action.why):
                name, version, host = action.task.service, int(found[1]), found[2]
                digest = codec.digest(world.definitions[name, version])
                hosts = [host] if host else list(world.host_states)
                assert any(world.has_all(each, CLUSTER, name, digest) for each in hosts), f"{action} is not prepared"

    def check_rollout(self, name: str, old: Rollout | None, new: Rollout | None, before: dict[str, Task]) -> None:
        """It goes on as it may; canaries are no more than asked for."""
        if new is None:
            return
        same = old is not None and (old.target_digest, old.answered) == (new.target_digest, new.answered)
        if old is not None and same and old.phase is not new.phase:
            is_late_success = old.phase is RolloutPhase.FAILED and new.phase is RolloutPhase.COMPLETED
            assert new.phase in GOES_ON.get(old.phase, set()) or (is_late_success and old.previous_version is None)
        if new.phase is RolloutPhase.CANARY:
            canaries = [each for each in self.world.tasks.values() if each.digest == new.target_digest]
            fresh = [each for each in canaries if each.service == name and each.id not in before]
            others = [each for each in canaries if each.service == name and each.id in before]
            asked = self.world.services[name].policy.canary
            assert not fresh or len(fresh) + len(others) <= asked, f"{name} has {len(canaries)} canaries, not {asked}"

    def replaced(self, steps: tuple[Step, ...]) -> dict[str, Task]:
        """By new task, the one whose place it took in the same step."""
        answer = {}
        for step in steps:
            new = [action.task for action in step.actions if isinstance(action, Issue)]
            old = [action.task for action in step.actions if isinstance(action, Withdraw)]
            if new and old:
                answer[new[0].id] = old[0]
        return answer

    def check_place(self, task: Task, replaced: dict[str, Task]) -> None:
        world, host = self.world, task.host
        assert host in world.present, f"{task.id} went to {host}, which is missing"
        config = world.host_configs.get(host, Host(name=host))
        drained = world.snapshot().overrides.drained(config)
        assert not (drained or config).draining, f"{task.id} went to {host}, which drains"
        records = [each for each in world.tasks.values() if each.host == host]
        left = [status for each, status in world.statuses.get(host, {}).items() if each not in world.tasks]
        # a task that failed has ended, so its place may be taken by the one that replaces it
        ended = [
            port
            for each in records
            if each.id in replaced and replaced[each.id].host == host
            for port in replaced[each.id].held_ports
        ]
        alive = [status for status in left if status.phase not in (Phase.FAILED, Phase.REJECTED, Phase.COMPLETE)]
        memory = sum(each.memory for each in records) + sum(each.memory for each in alive)
        if task.memory:
            assert memory <= world.host_states[host].memory, f"{host} is promised {memory} MiB"
        others: list[Task | TaskStatus] = [*(each for each in records if each is not task), *left]
        taken = [port for each in others for port in each.held_ports]
        for port in task.held_ports:
            assert taken.count(port) == ended.count(port) * (port in ended), f"port {port} on {host}"
        assert len(set(task.held_ports)) == len(task.held_ports)
        definition = world.definitions[task.task_name, task.task_version]
        assert task.named_ports.keys() == {each.name for each in definition.ports}
        if definition.provide_port:
            assert task.port
        if task.disk:
            disk = sum(each.disk for each in records) + sum(each.disk for each in alive)
            assert disk <= world.host_states[host].disk, f"{host} is promised {disk} MiB of disk"
        is_named = task.service in world.clusters[CLUSTER].services
        if is_named or task.id not in replaced or replaced[task.id].host != host:
            # what fails while its cluster does not name its service, in mid-revision, begins anew where it was
            self.check_placement(task, config, {replaced[each.id].id for each in records if each.id in replaced})

    def check_placement(self, task: Task, config: Host, ended: set[str]) -> None:
        """The host is what the service asks for, and nothing is there that it is kept apart from."""
        world, host = self.world, task.host
        service = world.services[task.service]
        for each in service.placement.constraints if service.placement else ():
            attributes = world.host_states[host].attributes
            value = {"tag.zone": config.tags.get("zone"), "attribute.arch": attributes.get("arch"), "name": host}[
                each.key
            ]
            right = {
                "=": value == each.value,
                "!=": value != each.value,
                "in": value in each.values,
                "regex": value is not None and re.fullmatch(each.value, value) is not None,
            }
            assert right[each.operator], f"{task.id} went to {host}, of which {each.key} is {value}"
        there = [each.service for each in world.tasks.values() if each.host == host and each is not task]
        there += [
            name
            for each in world.statuses.get(host, {})
            if each not in world.tasks and each not in ended
            for name in SERVICES
            if each.startswith(f"{CLUSTER}-{name}-")
        ]
        for other in there:
            assert not self.is_apart(task.service, other), f"{task.id} went to {host} beside one of {other}"
            assert not self.is_apart(other, task.service), f"{task.id} went to {host} beside one of {other}"

    def is_apart(self, name: str, other: str) -> bool:
        said = self.world.services[name].placement
        return said is not None and (other in said.apart_from or (said.distinct_hosts and name == other))

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
