"""What each transaction of a scheduler promises, in whatever world; the random worlds check it after every one.

It is said here once more, as the documentation says it, and not by the scheduler's own means.
"""

import re
from collections import Counter

from reconciler.model import codec
from reconciler.model.manifests import Host, Service
from reconciler.model.task import Phase, Rollout, RolloutPhase, Task, TaskStatus
from reconciler.scheduler.chunks import operations_of
from reconciler.scheduler.steps import Issue, Step, Withdraw
from tests.support.scheduler_world import World

CLUSTER = "main"
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


def bounds(service: Service) -> tuple[int, int, int]:
    """The least healthy, the desired and the most issued tasks, as the documentation says it."""
    desired = min(service.desired, service.max_issued)
    return min(service.min_healthy, desired), desired, service.max_issued


class Promises:
    """What there was before a transaction, to compare with what there is after it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.before = dict(world.tasks)
        self.listed = {each for host in world.statuses.values() for each in host}
        self.was_healthy = Counter(task.service for task in self.before.values() if world.is_healthy(task))
        self.was_issued = Counter(task.service for task in self.before.values())
        self.went = dict(world.rollouts)
        self.overrides = world.snapshot().overrides

    def check_steps(self, steps: tuple[Step, ...]) -> None:
        """Before it is carried out: steps fit into any transaction, and nothing stops before hosts are prepared."""
        assert all(0 < sum(map(operations_of, step.actions)) <= 5 for step in steps)
        self._check_prepared(steps)

    def check(self, steps: tuple[Step, ...]) -> None:
        """After it was carried out."""
        world = self.world
        is_paused = self.overrides.paused(CLUSTER) is not None
        for name, service in world.services.items():
            floor, desired, ceiling = bounds(self.overrides.service(service))
            was_healthy, was_issued = self.was_healthy[name], self.was_issued[name]
            healthy = sum(world.is_healthy(task) for task in world.tasks.values() if task.service == name)
            issued = sum(task.service == name for task in world.tasks.values())
            if is_paused:
                assert (healthy, issued) == (was_healthy, was_issued), f"{name} was changed while paused"
                continue
            self._check_rollout(name, self.went.get((CLUSTER, name)), world.rollouts.get((CLUSTER, name)))
            is_removed = name not in world.clusters[CLUSTER].services
            if is_removed or desired == 0:
                assert issued <= was_issued
                continue
            assert healthy >= min(was_healthy, floor), f"{name}: {was_healthy} healthy, now {healthy}"
            assert issued <= max(was_issued, ceiling), f"{name}: {was_issued} issued, now {issued}"
            if service.managed_by == "fleet" and not world.sources["fleet"].mark.settled:
                assert (healthy, issued) == (was_healthy, was_issued), f"{name} was changed on hold"
        replaced = _replaced(steps)
        for task in [each for each in world.tasks.values() if each.id not in self.before]:
            assert task.id not in self.listed, f"{task.id} still is in a host's status"
            self._check_place(task, replaced)

    def _check_prepared(self, steps: tuple[Step, ...]) -> None:
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

    def _check_rollout(self, name: str, old: Rollout | None, new: Rollout | None) -> None:
        """It goes on as it may; canaries are no more than asked for, but for those that a restart wants replaced."""
        if new is None:
            return
        same = old is not None and (old.target_digest, old.answered) == (new.target_digest, new.answered)
        if old is not None and same and old.phase is not new.phase:
            is_late_success = old.phase is RolloutPhase.FAILED and new.phase is RolloutPhase.COMPLETED
            assert new.phase in GOES_ON.get(old.phase, set()) or (is_late_success and old.previous_version is None)
        if new.phase is RolloutPhase.CANARY:
            canaries = [each for each in self.world.tasks.values() if each.digest == new.target_digest]
            fresh = [each for each in canaries if each.service == name and each.id not in self.before]
            restarted = self.overrides.restarted_at(name, CLUSTER)
            others = [
                each for each in canaries if each.service == name and each.id in self.before and each.issue > restarted
            ]
            asked = self.world.services[name].policy.canary
            assert not fresh or len(fresh) + len(others) <= asked, f"{name} has {len(canaries)} canaries, not {asked}"

    def _check_place(self, task: Task, replaced: dict[str, Task]) -> None:
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
            self._check_placement(task, config, {replaced[each.id].id for each in records if each.id in replaced})

    def _check_placement(self, task: Task, config: Host, ended: set[str]) -> None:
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
            for name in world.services
            if each.startswith(f"{CLUSTER}-{name}-")
        ]
        for other in there:
            assert not self._is_apart(task.service, other), f"{task.id} went to {host} beside one of {other}"
            assert not self._is_apart(other, task.service), f"{task.id} went to {host} beside one of {other}"

    def _is_apart(self, name: str, other: str) -> bool:
        said = self.world.services[name].placement
        return said is not None and (other in said.apart_from or (said.distinct_hosts and name == other))


def _replaced(steps: tuple[Step, ...]) -> dict[str, Task]:
    """By new task, the one whose place it took in the same step."""
    answer = {}
    for step in steps:
        new = [action.task for action in step.actions if isinstance(action, Issue)]
        old = [action.task for action in step.actions if isinstance(action, Withdraw)]
        if new and old:
            answer[new[0].id] = old[0]
    return answer
