"""What one plan rests on: everything that matters for one cluster, read at one time, as immutable values.

``snapshot.view_of`` makes it, ``plan.plan`` reads it; nothing in it is looked up later.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import msgspec

from reconciler.model.manifests import PORT_RANGE, Cluster, Host, Service, TaskDefinition
from reconciler.model.overrides import Rebalanced, Verdict
from reconciler.model.preparation import Preparation, Prepared
from reconciler.model.task import ClusterHead, HostState, HostStatus, Rollout, Task, TaskStatus
from reconciler.scheduler.apart import Apart


class Defined(msgspec.Struct, frozen=True):
    """A task definition and the digest of its content."""

    definition: TaskDefinition
    digest: str

    @property
    def label(self) -> str:
        """Name and version, for people."""
        return f"{self.definition.name} version {self.definition.version}"

    def is_of(self, task: Task) -> bool:
        """Whether ``task`` was issued with exactly this content."""
        return (
            task.digest == self.digest
            and task.task_version == self.definition.version
            and task.task_name == self.definition.name
        )


class Use(msgspec.Struct, frozen=True):
    """What tasks hold on a host: memory and disk in MiB, cpu units, and by port the id of the task that has it.

    ``services`` counts them by service; those without a record by what stands before the numbers in their ids.
    """

    tasks: int = 0
    memory: int = 0
    cpu_units: int = 0
    ports: Mapping[int, str] = {}
    disk: int = 0
    services: Mapping[str, int] = {}


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """A host as the scheduler sees it.

    ``present``: its agent's session holds its record. ``missing_s``: for how long the observer has seen it missing.
    ``issued`` is held by the records of *all* clusters, ``leaving`` by tasks without a record that its status still
    lists. ``drain_settled`` is False while the source of its ``config/hosts`` object is being applied; ``overdue``: an
    operator wanted it to be empty by now. ``failing``: tasks of several services failed there, so others are preferred.
    """

    name: str
    state: HostState | None = None
    config: Host
    present: bool = False
    missing_s: float = 0.0
    drain_settled: bool = True
    overdue: bool = False
    failing: bool = False
    issued: Use = Use()
    leaving: Use = Use()

    @property
    def memory(self) -> int:
        """MiB that tasks may be promised in all."""
        usable = max(0, self.state.memory - self.config.reserved_memory) if self.state else 0
        return usable * self.config.overcommit_memory_percent // 100

    @property
    def cpu_units(self) -> int:
        """Cpu units that tasks may be promised in all."""
        usable = max(0, self.state.cpu_units - self.config.reserved_cpu_units) if self.state else 0
        return usable * self.config.overcommit_cpu_percent // 100

    @property
    def disk(self) -> int:
        """MiB of disk that tasks may be promised in all."""
        return max(0, self.state.disk - self.config.reserved_disk) if self.state else 0

    @property
    def port_range(self) -> tuple[int, int]:
        """From which ports are provided, both ends included."""
        if self.config.port_range is not None:
            return self.config.port_range
        return self.state.port_range if self.state else PORT_RANGE

    @property
    def executors(self) -> tuple[str, ...]:
        """The kinds of container that its agent can start."""
        return self.state.executors if self.state else ()


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster and all hosts. Mappings by service name hold only this cluster's services.

    ``hold`` says why nothing at all may be concluded, ``applying`` names the sources that are in the middle of a
    revision, ``held`` says by service why it must not be changed voluntarily. ``failed_s``: for how long the observer
    has seen a task (by id) failed. ``issued_ids`` and ``leaving_ids`` are of all clusters: ids with a record, and ids
    that only a host's status still lists. ``healthy_s``: for how long a task has been healthy, where its service counts
    it only after a while; ``stalled_s``: for how long a service's rollout has come no further.

    ``preparations`` are by service and host. ``apart`` says which services keep off each other's hosts.

    What operators say: ``verdicts`` on rollouts; ``restarted``: tasks issued up to this ``seq`` are to be replaced;
    ``rebalanced``: which tasks should be elsewhere; ``scaled_by``: who set another ``desired`` than the manifest's;
    ``overrides_end_s``: when any of it changes by itself.
    """

    name: str
    scheduler: str
    declared: Cluster | None
    head: ClusterHead | None
    services: Mapping[str, Service]
    definitions: Mapping[tuple[str, int], Defined]
    tasks: Mapping[str, tuple[Task, ...]]
    rollouts: Mapping[str, Rollout]
    preparations: Mapping[str, Mapping[str, Preparation]] = {}
    hosts: Mapping[str, HostView]
    statuses: Mapping[str, HostStatus]
    issued_ids: AbstractSet[str]
    leaving_ids: AbstractSet[str]
    hold: str | None = None
    applying: tuple[str, ...] = ()
    held: Mapping[str, str] = {}
    failed_s: Mapping[str, float] = {}
    healthy_s: Mapping[str, float] = {}
    stalled_s: Mapping[str, float] = {}
    verdicts: Mapping[str, Verdict] = {}
    restarted: Mapping[str, int] = {}
    rebalanced: Mapping[str, Rebalanced] = {}
    scaled_by: Mapping[str, str] = {}
    overrides_end_s: float | None = None
    apart: Apart = Apart()
    reschedule_after_s: float = 30.0
    """For how long a missing host is waited for, if the service does not say."""

    def status_of(self, task: Task) -> TaskStatus | None:
        """What the task's host says of this very issue; None if it says nothing (yet)."""
        status = self.statuses.get(task.host)
        found = status.tasks.get(task.id) if status else None
        return found if found and found.issue == task.issue else None

    def prepared(self, host: str, service: str) -> Prepared | None:
        """How far a host says to be with what it was last asked to prepare for a service; None: it says nothing."""
        status = self.statuses.get(host)
        return status.prepared.get(f"{self.name}/{service}") if status else None

    def definition_of(self, task: Task) -> Defined | None:
        """The definition with which a task was issued, if it is still stored with that content."""
        found = self.definitions.get((task.task_name, task.task_version))
        return found if found and found.is_of(task) else None
