"""A small world for the scheduler's pure half: what is declared, hosts, and agents that do what they are told.

Scenario texts and property tests move it, ask for plans, and carry them out in it. No store, no clock, no threads.
"""

from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

import msgspec

from reconciler.model import codec
from reconciler.model.manifests import (
    BashContainer,
    BashExecutor,
    Check,
    Cluster,
    Container,
    DockerContainer,
    DockerExecutor,
    Host,
    Service,
    TaskDefinition,
)
from reconciler.model.overrides import ClusterOverride, HostOverride, ServiceOverride
from reconciler.model.preparation import Preparation, Prepared
from reconciler.model.source_state import SourceState
from reconciler.model.task import ClusterHead, Health, HostState, HostStatus, Phase, Rollout, Task, TaskStatus
from reconciler.scheduler import service_plan
from reconciler.scheduler.cluster_view import ClusterView, Defined
from reconciler.scheduler.overrides import Overrides
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import Snapshot, scene, view_of
from reconciler.scheduler.steps import (
    Amend,
    DropPreparation,
    DropRollout,
    Issue,
    Plan,
    Prepare,
    RemoveHead,
    SaveRollout,
    Step,
    Withdraw,
)
from reconciler.scheduler.timing import Timing

replace = msgspec.structs.replace
CHECK = Check(script="is it well?", interval="1s")


def definition(name: str, version: int, executor: str = "bash", publish: str = "", **fields: Any) -> TaskDefinition:
    """A task definition with one container of that kind, and a check; ``fields`` as in ``TaskDefinition``."""
    container: Container = BashContainer(name=name, executor=BashExecutor(start=("run",)))
    if executor == "docker":
        container = DockerContainer(
            name=name, executor=DockerExecutor(image=name, flags=(f"-p={publish}",) if publish else ())
        )
    return TaskDefinition(name=name, version=version, containers=(container,), **({"checks": (CHECK,)} | fields))


def state(host: str, **fields: Any) -> HostState:
    """A host with 4096 MiB and four cores that can run bash and prepare, unless ``fields`` say otherwise."""
    defaults: dict[str, Any] = {"memory": 4096, "cpu_units": 4096, "executors": ("bash",), "prepares": True}
    return HostState(host=host, machine=f"machine of {host}", address="10.0.0.1", **(defaults | fields))


def planned(view: ClusterView, now: float) -> Plan:
    """What a scheduler would do now; the same as if it went through every task of services that are at rest."""
    made = plan(view, now)
    with patch.object(service_plan, "rests", lambda *_: False):
        assert made == plan(view, now), "a service was taken for one at rest"
    return made


class World:
    """Everything in the store, and what the agents know of their tasks; changed in place."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.clusters: dict[str, Cluster] = {}
        self.services: dict[str, Service] = {}
        self.definitions: dict[tuple[str, int], TaskDefinition] = {}
        self.host_configs: dict[str, Host] = {}
        self.host_states: dict[str, HostState] = {}
        self.present: set[str] = set()
        self.tasks: dict[str, Task] = {}
        self.statuses: dict[str, dict[str, TaskStatus]] = {}
        self.heads: dict[str, ClusterHead] = {}
        self.rollouts: dict[tuple[str, str], Rollout] = {}
        self.preparations: dict[tuple[str, str, str], Preparation] = {}
        """By cluster, service and host."""
        self.prepared: dict[str, dict[str, Prepared]] = {}
        self.cannot_fetch: dict[str, str] = {}
        """By host, what its agent says of each fetch."""
        self.sources: dict[str, SourceState] = {}
        self.service_overrides: dict[str, ServiceOverride] = {}
        self.host_overrides: dict[str, HostOverride] = {}
        self.cluster_overrides: dict[str, ClusterOverride] = {}
        self.unreadable: dict[str, str] = {}
        self.sentinel: str | None = None
        self.failover()

    def failover(self) -> None:
        """Another scheduler takes over: it knows only what is stored."""
        self._timing = Timing()

    def snapshot(self) -> Snapshot:
        """A reading of all of it, now."""
        snapshot = Snapshot(
            clusters=dict(self.clusters),
            services=dict(self.services),
            definitions={key: Defined(each, codec.digest(each)) for key, each in self.definitions.items()},
            host_configs=dict(self.host_configs),
            tasks=tuple(self.tasks.values()),
            host_states=dict(self.host_states),
            present=frozenset(self.present),
            statuses={
                host: HostStatus(
                    host=host, tasks=dict(self.statuses.get(host, {})), prepared=dict(self.prepared.get(host, {}))
                )
                for host in self.statuses.keys() | self.prepared.keys()
            },
            heads=dict(self.heads),
            rollouts=dict(self.rollouts),
            preparations=tuple(self.preparations.values()),
            sources=dict(self.sources),
            unreadable=dict(self.unreadable),
            doubt=self.sentinel,
            overrides=Overrides(
                services=dict(self.service_overrides),
                hosts=dict(self.host_overrides),
                clusters=dict(self.cluster_overrides),
                now=self.now,
            ),
        )
        return self._timing.read(snapshot, self.now)

    def view(self, cluster: str, scheduler: str = "default") -> ClusterView:
        """One cluster in a reading."""
        return view_of(scene(self.snapshot()), cluster, scheduler)

    def plan(self, cluster: str) -> Plan:
        """What its scheduler would do now."""
        return planned(self.view(cluster), self.now)

    def carry_out(self, cluster: str, steps: Iterable[Step]) -> None:
        """One transaction."""
        head = self.heads.get(cluster) or ClusterHead(cluster=cluster, scheduler="default", seq=0)
        head = replace(head, seq=head.seq + 1)
        self.heads[cluster] = head
        for action in (action for step in steps for action in step.actions):
            match action:
                case Issue(task=task):
                    assert task.id not in self.tasks, f"{task.id} is issued twice"
                    self.tasks[task.id] = replace(task, issue=head.seq)
                case Withdraw(task=task):
                    assert self.tasks.pop(task.id, None), f"{task.id} has no record to withdraw"
                case Amend(task=task):
                    old = self.tasks[task.id]
                    said = {name: getattr(old, name) for name in ("discovery_name", "stop_isolated_after_s")}
                    assert replace(task, **said) == old
                    self.tasks[task.id] = task
                case Prepare(preparation=wanted):
                    self.preparations[wanted.cluster, wanted.service, wanted.host] = wanted
                case DropPreparation(preparation=over):
                    del self.preparations[over.cluster, over.service, over.host]
                case SaveRollout(rollout=rollout):
                    self.rollouts[cluster, rollout.service] = rollout
                case DropRollout(service=service):
                    del self.rollouts[cluster, service]
                case RemoveHead():
                    del self.heads[cluster]

    def status(self, task: Task) -> TaskStatus | None:
        """What its host says of this issue of a task."""
        found = self.statuses.get(task.host, {}).get(task.id)
        return found if found and found.issue == task.issue else None

    def is_healthy(self, task: Task) -> bool:
        """As the scheduler must see it: running and passing, on a host that is present."""
        status = self.status(task)
        return task.host in self.present and status is not None and status.healthy

    def outdate(self, service: str, what: str) -> None:
        """All agents notice that a value changed with which the running tasks of ``service`` were started."""
        for task in [each for each in self.tasks.values() if each.service == service]:
            status = self.status(task)
            if status is not None and status.phase is Phase.RUNNING:
                self.statuses[task.host][task.id] = replace(status, outdated=what)

    def set_status(self, task_id: str, phase: Phase, health: Health = Health.UNKNOWN, reason: str = "") -> None:
        """The host's agent publishes something about a task that it was issued."""
        task = self.tasks[task_id]
        self.statuses.setdefault(task.host, {})[task_id] = TaskStatus(
            phase=phase,
            issue=task.issue,
            health=health,
            reason=reason,
            port=task.port,
            ports=task.ports,
            published=task.published,
            memory=task.memory,
            cpu_units=task.cpu_units,
            disk=task.disk,
        )

    def run_agent(self, host: str) -> None:
        """The agent of a present host does all that it should: starts what is issued, ends what is not."""
        if host not in self.present:
            return
        self.end_withdrawn(host)
        self.prepare(host)
        for task in self.tasks.values():
            if task.host == host:
                status = self.status(task)
                ended = (Phase.FAILED, Phase.REJECTED, Phase.COMPLETE)
                if status is None or not (status.healthy or status.phase in ended):
                    self.set_status(task.id, Phase.RUNNING, Health.PASSING)

    def prepare(self, host: str) -> None:
        """The agent has tried to fetch what it is asked to prepare, and forgotten all else."""
        reason = self.cannot_fetch.get(host, "")
        self.prepared[host] = {
            f"{cluster}/{service}": Prepared(digest=wanted.digest, ready=not reason, failed=bool(reason), reason=reason)
            for (cluster, service, where), wanted in self.preparations.items()
            if where == host
        }

    def has_all(self, host: str, cluster: str, service: str, digest: str) -> bool:
        """Whether nothing has to be fetched on a host for a task of that content, as far as its agent can be asked."""
        if host not in self.present or not self.host_states[host].prepares:
            return True
        said = self.prepared.get(host, {}).get(f"{cluster}/{service}")
        running = [
            task
            for task in self.tasks.values()
            if (task.host, task.service, task.digest) == (host, service, digest)
            and (status := self.status(task))
            and status.phase is Phase.RUNNING
            and status.health is not Health.CRITICAL
        ]
        return bool(running) or (said is not None and said.ready and said.digest == digest)

    def run_agents(self) -> None:
        """All agents of present hosts do what they should."""
        for host in sorted(self.present):
            self.run_agent(host)

    def end_withdrawn(self, host: str) -> None:
        """The agent has stopped what has no record any more."""
        mine = self.statuses.get(host, {})
        for task_id in [each for each in mine if each not in self.tasks or self.tasks[each].host != host]:
            del mine[task_id]

    def mark_stopping(self) -> None:
        """Agents see what was withdrawn, and begin to stop it."""
        for host in self.present:
            for task_id, status in self.statuses.get(host, {}).items():
                if task_id not in self.tasks:
                    self.statuses[host][task_id] = replace(status, phase=Phase.STOPPING, health=Health.UNKNOWN)
