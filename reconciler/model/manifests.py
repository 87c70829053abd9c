"""The objects that people declare, as stored under ``config/*``.

They mirror ``schemas/*.json`` field by field (a test proves it in both directions). Unknown fields are refused: an
older program must not run a definition whose newer fields it does not understand.
"""

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from reconciler.model.durations import POSITIVE_DURATION_PATTERN, parse_duration
from reconciler.model.names import NAME_PATTERN

# The forms of fields; decoding checks them. Patterns end so that "$" accepts no trailing newline.
Name: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Version: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # the largest integer that JSON programs agree on
Count: TypeAlias = Annotated[int, Meta(ge=0, le=100_000)]
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]  # 0: none
RangePort: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
MemoryMib: TypeAlias = Annotated[int, Meta(ge=0, le=16 * 1024 * 1024)]
DiskMib: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]
CpuUnits: TypeAlias = Annotated[int, Meta(ge=0, le=1024 * 1024)]
Duration: TypeAlias = Annotated[str, Meta(pattern=POSITIVE_DURATION_PATTERN, max_length=32)]
EnvEntry: TypeAlias = Annotated[str, Meta(pattern=r"^[^=\s]+=")]
Image: TypeAlias = Annotated[str, Meta(pattern=r"^[^\s-]\S*$(?!\n)")]
PortMapping: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^((\[[0-9A-Fa-f:.]+\]|[0-9]{1,3}(\.[0-9]{1,3}){3}):)?([0-9]{1,5}(-[0-9]{1,5})?:|:)?"
        r"[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?$(?!\n)"
    ),
]
Volume: TypeAlias = Annotated[str, Meta(pattern=r"^[^:\n]+(:[^:\n]+){0,2}$(?!\n)")]
Url: TypeAlias = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+([/?#]\S*)?$(?!\n)")]
ArtifactUrl: TypeAlias = Annotated[str, Meta(pattern=r"^((https?|file)://\S+)?$(?!\n)")]
TcpAddress: TypeAlias = Annotated[str, Meta(pattern=r"^(?=.)(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(:[0-9]{1,5})?$(?!\n)")]
Method: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Z]+$(?!\n)")]
CheckThreshold: TypeAlias = Annotated[int, Meta(ge=0, le=1000)]

HostTag: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/:-]{1,64}$(?!\n)")]
ConstraintKey: TypeAlias = Annotated[str, Meta(pattern=r"^(name|(tag|attribute)\.[A-Za-z0-9._/:-]{1,64})$(?!\n)")]
ConstraintValue: TypeAlias = Annotated[str, Meta(max_length=256)]
Percent: TypeAlias = Annotated[int, Meta(ge=100, le=1000)]

CHECK_KINDS: Final = ("http", "tcp", "script", "ttl")


class _Object(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Immutable and strict."""


class Cluster(_Object, frozen=True, kw_only=True):
    """A logical grouping of services, and the scheduler that serves it."""

    name: Name
    scheduler: Name = "default"
    services: tuple[Name, ...] = ()
    managed_by: str | None = None


class RolloutPolicy(_Object, frozen=True, kw_only=True):
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
        """In seconds; 0 when it is not given."""
        return parse_duration(self.healthy_after) if self.healthy_after else 0.0

    @property
    def deadline_s(self) -> float:
        """In seconds."""
        return parse_duration(self.deadline)


class Constraint(_Object, frozen=True, kw_only=True):
    """What a host must be. ``key``: ``tag.<tag>``, ``attribute.<attribute>`` or ``name``.

    ``in`` compares with ``values``, the others with ``value``; ``regex`` is a pattern of ``model.patterns``.
    """

    key: ConstraintKey
    operator: Literal["=", "!=", "in", "regex"] = "="
    value: ConstraintValue = ""
    values: tuple[ConstraintValue, ...] = ()


class Placement(_Object, frozen=True, kw_only=True):
    """On which hosts a service's tasks may be, and which of those are best.

    ``spread_over`` is a host tag; ``apart_from`` names services whose tasks are never on a host with this one's.
    """

    constraints: tuple[Constraint, ...] = ()
    strategy: Literal["spread", "binpack"] = "spread"
    spread_over: HostTag | None = None
    distinct_hosts: bool = False
    apart_from: tuple[Name, ...] = ()


class Service(_Object, frozen=True, kw_only=True):
    """How many tasks of which definition should run. Counts are tasks.

    ``kind``: ``service`` runs for good, ``system`` is one on each host that can run it (``desired`` then is a switch:
    0 means none), ``batch`` runs until ``desired`` tasks have come to a good end.
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
    managed_by: str | None = None

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


class DockerExecutor(_Object, frozen=True, kw_only=True):
    """How a docker container is run; the fields of the specification."""

    image: Image
    cmd: tuple[str, ...] = ()
    entry: str = ""
    container_port: Port = 0
    ports: tuple[PortMapping, ...] = ()
    env: tuple[EnvEntry, ...] = ()
    work_dir: str = ""
    volumes: tuple[Volume, ...] = ()
    flags: tuple[Text, ...] = ()
    name: str = ""


class BashExecutor(_Object, frozen=True, kw_only=True):
    """How a plain process is run; the fields of the specification."""

    start: Annotated[tuple[Text, ...], Meta(min_length=1)]
    stop: tuple[Text, ...] = ()
    env: tuple[EnvEntry, ...] = ()
    artifact: ArtifactUrl = ""
    download_dir: str = ""


class DockerContainer(_Object, frozen=True, kw_only=True, tag_field="type", tag="docker"):
    """A container that the docker executor runs."""

    name: Name
    executor: DockerExecutor
    setup: tuple[Text, ...] = ()

    @property
    def type(self) -> str:
        """The executor's name."""
        return "docker"


class BashContainer(_Object, frozen=True, kw_only=True, tag_field="type", tag="bash"):
    """A container that the bash executor runs: a plain process group."""

    name: Name
    executor: BashExecutor
    setup: tuple[Text, ...] = ()

    @property
    def type(self) -> str:
        """The executor's name."""
        return "bash"


Container: TypeAlias = DockerContainer | BashContainer


class Check(_Object, frozen=True, kw_only=True):
    """A health check in Consul's terms; exactly one of ``http``, ``tcp``, ``script``, ``ttl`` says how."""

    name: Text | None = None
    http: Url | None = None
    tcp: TcpAddress | None = None
    script: Text | None = None
    ttl: Duration | None = None
    container: Name | None = None
    add_provided_port: bool = False
    interval: Duration | None = None
    timeout: Duration | None = None
    method: Method | None = None
    header: dict[Text, tuple[str, ...]] | None = None
    tls_skip_verify: bool = False
    success_before_passing: CheckThreshold = 0
    failures_before_critical: CheckThreshold = 0

    def __post_init__(self) -> None:
        if sum(kind is not None for kind in (self.http, self.tcp, self.script, self.ttl)) != 1:
            raise ValueError("a check has exactly one of http, tcp, script and ttl")


class TaskDefinition(_Object, frozen=True, kw_only=True):
    """Containers that run together and are checked together. A version is immutable once written.

    ``memory`` and ``disk`` are MiB, ``cpu_units`` 1024 per core; 0 means not counted.
    """

    name: Name
    version: Version
    containers: Annotated[tuple[Container, ...], Meta(min_length=1)]
    provide_port: bool = False
    port: Port = 0
    tags: tuple[Text, ...] = ()
    memory: MemoryMib = 0
    cpu_units: CpuUnits = 0
    disk: DiskMib = 0
    checks: tuple[Check, ...] = ()
    managed_by: str | None = None

    def __post_init__(self) -> None:
        if self.provide_port and self.port:
            raise ValueError("a task definition has provide_port or port, not both")


PORT_RANGE: Final = (20000, 29999)
"""From which the scheduler provides ports unless a host says otherwise; both ends included."""


class Host(_Object, frozen=True, kw_only=True):
    """What the operator says of a host; what the host itself reports is ``task.HostState``."""

    name: Name
    tags: dict[Text, str] = {}
    draining: bool = False
    reserved_memory: MemoryMib = 0
    reserved_cpu_units: CpuUnits = 0
    reserved_disk: DiskMib = 0
    overcommit_memory_percent: Percent = 100
    overcommit_cpu_percent: Percent = 100
    port_range: tuple[RangePort, RangePort] | None = None
    managed_by: str | None = None


ConfigObject: TypeAlias = Cluster | Service | TaskDefinition | Host
