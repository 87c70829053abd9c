"""The objects that people declare, as stored under ``config/*``.

They mirror ``schemas/*.json`` field by field (a test proves it in both directions). Unknown fields are refused: an
older program must not run a definition whose newer fields it does not understand.
"""

from typing import Final, Literal, TypeAlias

import msgspec

from reconciler.model.durations import parse_duration
from reconciler.model.fields import (
    ConstraintKey,
    ConstraintValue,
    Count,
    CpuUnits,
    DiskMib,
    Duration,
    HostTag,
    MemoryMib,
    Name,
    Object,
    Percent,
    RangePort,
    Text,
    Version,
)
from reconciler.model.task_definition import (
    CHECK_KINDS,
    BashContainer,
    BashExecutor,
    Check,
    Container,
    DockerContainer,
    DockerExecutor,
    NamedPort,
    Restart,
    TaskDefinition,
)

__all__ = (
    "CHECK_KINDS",
    "PORT_RANGE",
    "BashContainer",
    "BashExecutor",
    "Check",
    "Cluster",
    "ConfigObject",
    "Constraint",
    "Container",
    "DockerContainer",
    "DockerExecutor",
    "Host",
    "NamedPort",
    "Placement",
    "Restart",
    "RolloutPolicy",
    "Service",
    "TaskDefinition",
)


class Cluster(Object, frozen=True, kw_only=True):
    """A logical grouping of services, and the scheduler that serves it."""

    name: Name
    scheduler: Name = "default"
    services: tuple[Name, ...] = ()
    managed_by: str | None = None


class RolloutPolicy(Object, frozen=True, kw_only=True):
    """How a service goes from one version to the next; ``docs/scheduling.md`` says what each field does.

    ``parallel`` 0: as many at once as ``min`` and ``max`` allow.
    """

    parallel: Count = 0
    order: Literal["start_first", "stop_first"] = "start_first"
    healthy_after: Duration | None = None
    deadline: Duration = "10m"
    on_failure: Literal["halt", "revert"] = "halt"
    canary: Count = 0

    @property
    def healthy_after_s(self) -> float:
        """In seconds; 0 when it is not given (``scheduler.proving`` says what counts then)."""
        return parse_duration(self.healthy_after) if self.healthy_after else 0.0

    @property
    def deadline_s(self) -> float:
        """In seconds."""
        return parse_duration(self.deadline)


class Constraint(Object, frozen=True, kw_only=True):
    """What a host must be. ``key``: ``tag.<tag>``, ``attribute.<attribute>`` or ``name``.

    ``in`` compares with ``values``, the others with ``value``; ``regex`` is a pattern of ``model.patterns``.
    """

    key: ConstraintKey
    operator: Literal["=", "!=", "in", "regex"] = "="
    value: ConstraintValue = ""
    values: tuple[ConstraintValue, ...] = ()


class Placement(Object, frozen=True, kw_only=True):
    """On which hosts a service's tasks may be, and which of those are best.

    ``spread_over`` is a host tag; ``apart_from`` names services whose tasks are never on a host with this one's.
    """

    constraints: tuple[Constraint, ...] = ()
    strategy: Literal["spread", "binpack"] = "spread"
    spread_over: HostTag | None = None
    distinct_hosts: bool = False
    apart_from: tuple[Name, ...] = ()


class Service(Object, frozen=True, kw_only=True):
    """How many tasks of which definition should run. Counts are tasks.

    ``kind``: ``service`` runs for good, ``system`` is one on each host that can run it (``desired`` then is a switch:
    0 means none), ``batch`` runs until ``desired`` tasks have come to a good end. ``discovery_name``: under which its
    tasks are found in Consul; None: ``<cluster>-<service>``. ``when_isolated``: what becomes of them on a host that has
    no contact with the store.
    """

    name: Name
    task_name: Name
    task_version: Version
    desired: Count
    min: Count | None = None
    max: Count | None = None
    kind: Literal["service", "system", "batch"] = "service"
    rollout: RolloutPolicy | None = None
    placement: Placement | None = None
    reschedule_after: Duration | None = None
    discovery_name: Name | None = None
    when_isolated: Literal["run", "stop"] = "run"
    managed_by: str | None = None

    @property
    def reschedule_after_s(self) -> float | None:
        """For how long a missing host is waited for before its tasks are replaced; None: as the scheduler does."""
        return parse_duration(self.reschedule_after) if self.reschedule_after else None

    @property
    def policy(self) -> RolloutPolicy:
        """How it goes from one version to the next, with the defaults where nothing is said."""
        return self.rollout or _DEFAULT_POLICY

    @property
    def min_healthy(self) -> int:
        """The scheduler never takes healthy tasks below this; ``desired`` unless given."""
        return self.desired if self.min is None else self.min

    @property
    def max_issued(self) -> int:
        """The scheduler never issues more tasks than this; ``desired + 1`` unless given."""
        return self.desired + 1 if self.max is None else self.max


_DEFAULT_POLICY: Final = RolloutPolicy()


PORT_RANGE: Final = (20000, 29999)
"""From which the scheduler provides ports unless a host says otherwise; both ends included."""


class Host(Object, frozen=True, kw_only=True):
    """What the operator says of a host; what the host itself reports is ``task.HostState``."""

    name: Name
    tags: dict[Text, str] = msgspec.field(default_factory=dict)
    draining: bool = False
    reserved_memory: MemoryMib = 0
    reserved_cpu_units: CpuUnits = 0
    reserved_disk: DiskMib = 0
    overcommit_memory_percent: Percent = 100
    overcommit_cpu_percent: Percent = 100
    port_range: tuple[RangePort, RangePort] | None = None
    managed_by: str | None = None


ConfigObject: TypeAlias = Cluster | Service | TaskDefinition | Host
