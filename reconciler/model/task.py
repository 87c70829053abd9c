"""Issued tasks, and what hosts say of themselves and of them: the records under ``state/*``.

Records are read leniently (fields that a newer program added are passed over), so hosts can be upgraded one by one.
"""

import enum
import itertools
from collections.abc import Mapping

import msgspec
from msgspec import UNSET, UnsetType

from reconciler.model import names
from reconciler.model.manifests import PORT_RANGE
from reconciler.model.preparation import Prepared


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """Immutable; unknown fields are passed over."""


class Task(_Record, frozen=True, kw_only=True):
    """A task that a scheduler issued: what should run, and where.

    ``issue`` is the cluster's ``seq`` of the transaction that issued it, ``digest`` the definition's, ``issued_at`` the
    scheduler's wall clock in seconds since 1970 (for display only). ``memory``, ``cpu_units`` and ``disk`` are what its
    host promised it, so that a host's use can be summed up without any definition. ``retries`` counts the tasks in a
    row that failed before this one took their place, ``failed_on`` names the last hosts on which they did.
    ``ports`` are its named ports on the host, absent if it has none (``named_ports`` reads them); ``published`` the
    first and last of each run of further ones that its containers publish themselves, absent likewise.
    ``discovery_name`` is that of its service, absent if it has none (``found_as`` reads it). After
    ``stop_isolated_after_s`` without contact its agent stops it; absent: never. These two may change in place.
    ``completes``: it is of a batch, done when all of its containers exit with 0; else that is a death like any other.
    """

    id: str
    cluster: str
    service: str
    task_name: str
    task_version: int
    instance: int
    host: str
    port: int = 0
    ports: dict[str, int] | UnsetType = UNSET
    published: tuple[tuple[int, int], ...] | UnsetType = UNSET
    memory: int = 0
    cpu_units: int = 0
    disk: int = 0
    issue: int
    digest: str
    issued_at: float
    retries: int = 0
    failed_on: tuple[str, ...] = ()
    completes: bool = False
    discovery_name: str | UnsetType = UNSET
    stop_isolated_after_s: float | UnsetType = UNSET

    @property
    def found_as(self) -> str:
        """The name under which it is found in Consul."""
        return self.discovery_name or names.discovery_name(self.cluster, self.service)

    @property
    def named_ports(self) -> Mapping[str, int]:
        """Its ports on the host by their names, without the unnamed one."""
        return self.ports or {}

    @property
    def held_ports(self) -> tuple[int, ...]:
        """All of its ports on the host."""
        return _held(self)


class Phase(enum.StrEnum):
    """Where a task is in its life on its host."""

    PENDING = "pending"
    PREPARING = "preparing"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    COMPLETE = "complete"
    FAILED = "failed"
    REJECTED = "rejected"


class Health(enum.StrEnum):
    """What a task's checks say. ``unknown`` decides nothing (it is not ``critical``)."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class TaskStatus(_Record, frozen=True, kw_only=True):
    """What became of a task on its host, as the agent publishes it. ``since`` is wall time, for display.

    ``port``, ``ports``, ``published``, ``memory``, ``cpu_units`` and ``disk`` repeat the record's: a stopping task has
    none, and holds them. ``outdated`` is not empty while it runs with a value that is another by now, and says which.
    """

    phase: Phase
    issue: int
    health: Health = Health.UNKNOWN
    attempt: int = 0
    exit_code: int | None = None
    reason: str = ""
    since: float = 0.0
    port: int = 0
    ports: dict[str, int] | UnsetType = UNSET
    published: tuple[tuple[int, int], ...] | UnsetType = UNSET
    memory: int = 0
    cpu_units: int = 0
    disk: int = 0
    outdated: str = ""

    @property
    def healthy(self) -> bool:
        """Running and passing; a warning is still healthy."""
        return self.phase is Phase.RUNNING and self.health in (Health.PASSING, Health.WARNING)

    @property
    def held_ports(self) -> tuple[int, ...]:
        """All ports of the host that it holds."""
        return _held(self)


def _held(holder: Task | TaskStatus) -> tuple[int, ...]:
    if not holder.ports and not holder.published:  # nearly all of them, and every one is asked at every look
        return (holder.port,) if holder.port else ()
    published = itertools.chain.from_iterable(range(first, last + 1) for first, last in holder.published or ())
    unnamed = (holder.port,) if holder.port else ()
    return (*unnamed, *(holder.ports or {}).values(), *published)


class HostStatus(_Record, frozen=True, kw_only=True):
    """``state/status/<host>``: the status of every task that the host still holds, stopping ones included.

    ``notes`` is what its agent wants people to know: why it holds still, what it found and leaves alone. ``prepared``
    is by ``<cluster>/<service>``.
    """

    host: str
    tasks: dict[str, TaskStatus] = {}
    notes: tuple[str, ...] = ()
    prepared: dict[str, Prepared] = {}


class HostState(_Record, frozen=True, kw_only=True):
    """``state/hosts/<host>``: what a host has. Memory in MiB, disk in MiB, 1024 cpu units per core.

    ``machine`` identifies the machine, so that a second machine of the same name is noticed.
    ``http`` is the URL of its agent; one on loopback is for those on the machine, empty: it serves none.
    ``prepares``: its agent carries out preparations, and says so in its status.
    """

    host: str
    machine: str
    address: str
    memory: int
    cpu_units: int
    disk: int = 0
    port_range: tuple[int, int] = PORT_RANGE
    executors: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    agent_version: str = ""
    http: str = ""
    prepares: bool = False


class ClusterHead(_Record, frozen=True, kw_only=True):
    """``state/clusters/<cluster>``: ``seq`` grows by one with every transaction of the cluster's scheduler."""

    cluster: str
    scheduler: str
    seq: int
    decisions: tuple["Decision", ...] = ()


class PlacementSeq(_Record, frozen=True, kw_only=True):
    """``state/placement``: grows with every transaction that issues tasks, in whichever cluster.

    Clusters are scheduled independently but share hosts: comparing and setting this beside the cluster's own head keeps
    two schedulers from both giving away the last free memory or port of a host.
    """

    seq: int


class Decision(_Record, frozen=True, kw_only=True):
    """One thing that a scheduler decided, and why. ``at`` is wall time, for display.

    What is told of several services at once has no ``service`` but ``services``: their names, as many as there is room
    for; the last one is ``…`` if there are more.
    """

    seq: int
    at: float
    what: str
    why: str
    service: str = ""
    services: tuple[str, ...] | UnsetType = UNSET

    def tells_of(self, service: str) -> bool:
        """Whether it names a service."""
        return service == self.service or service in (self.services or ())


class RolloutPhase(enum.StrEnum):
    """How far a service's change of version has come; what must survive a change of scheduler."""

    CANARY = "canary"
    """A few tasks of the new version run beside the old ones, and an operator is asked."""
    ROLLING = "rolling"
    REVERTING = "reverting"
    """It failed, or was aborted, and goes back."""
    COMPLETED = "completed"
    REVERTED = "reverted"
    FAILED = "failed"


class Rollout(_Record, frozen=True, kw_only=True):
    """``state/rollouts/<cluster>/<service>``: which definition is wanted, which was last known good.

    It changes when the target or the phase does, never while a rollout goes on; ``completed``, ``reverted`` and
    ``failed`` stay until another target is wanted, whatever happens to the tasks later. ``answered`` is the ``since``
    of the last verdict of an operator that was carried out. Of a batch, ``done`` counts the tasks that came to a good
    end, and ``again`` is the cluster's ``seq`` up to which the last restart that began it anew wanted tasks gone.
    """

    cluster: str
    service: str
    target_version: int
    target_digest: str
    phase: RolloutPhase
    target_task: str = ""
    previous_task: str | None = None
    previous_version: int | None = None
    reason: str = ""
    since: float = 0.0
    answered: float = 0.0
    done: int = 0
    again: int = 0

    @property
    def goes_back_to(self) -> tuple[str, int] | None:
        """Name and version of the definition before; None if there was none, or the same one with other content."""
        task, version = self.previous_task, self.previous_version
        is_other = (task, version) != (self.target_task or task, self.target_version)
        return (task, version) if task is not None and version is not None and is_other else None
