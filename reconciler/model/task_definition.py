"""What a task is made of: containers, checks, and the task definition that holds them.

``manifests`` shows all of it beside the other objects that people declare; import it from there.
"""

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from reconciler.model.fields import (
    ArtifactUrl,
    Attempts,
    CheckThreshold,
    CpuUnits,
    DiskMib,
    Duration,
    DurationOrZero,
    EnvEntry,
    Image,
    MemoryMib,
    Method,
    Name,
    Object,
    Port,
    PortMapping,
    PortName,
    Sha256,
    TcpAddress,
    Text,
    Url,
    UserName,
    Version,
    Volume,
)
from reconciler.model.secrets import EnvFrom, Secret

CHECK_KINDS: Final = ("http", "tcp", "script", "ttl")


class DockerExecutor(Object, frozen=True, kw_only=True):
    """How a docker container is run; the fields of the specification."""

    image: Image
    cmd: tuple[str, ...] = ()
    entry: str = ""
    container_port: Port = 0
    ports: tuple[PortMapping, ...] = ()
    env: tuple[EnvEntry, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    secrets: tuple[Secret, ...] = ()
    work_dir: str = ""
    volumes: tuple[Volume, ...] = ()
    flags: tuple[Text, ...] = ()
    name: str = ""


class BashExecutor(Object, frozen=True, kw_only=True):
    """How a plain process is run; the fields of the specification."""

    start: Annotated[tuple[Text, ...], Meta(min_length=1)]
    stop: tuple[Text, ...] = ()
    env: tuple[EnvEntry, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    secrets: tuple[Secret, ...] = ()
    artifact: ArtifactUrl = ""
    sha256: Sha256 = ""
    download_dir: str = ""
    user: UserName = ""


class DockerContainer(Object, frozen=True, kw_only=True, tag_field="type", tag="docker"):
    """A container that the docker executor runs."""

    name: Name
    executor: DockerExecutor
    setup: tuple[Text, ...] = ()

    @property
    def type(self) -> str:
        """The executor's name."""
        return "docker"


class BashContainer(Object, frozen=True, kw_only=True, tag_field="type", tag="bash"):
    """A container that the bash executor runs: a plain process group."""

    name: Name
    executor: BashExecutor
    setup: tuple[Text, ...] = ()

    @property
    def type(self) -> str:
        """The executor's name."""
        return "bash"


Container: TypeAlias = DockerContainer | BashContainer


class Check(Object, frozen=True, kw_only=True):
    """A health check in Consul's terms; exactly one of ``http``, ``tcp``, ``script``, ``ttl`` says how."""

    name: Text | None = None
    http: Url | None = None
    tcp: TcpAddress | None = None
    script: Text | None = None
    ttl: Duration | None = None
    container: Name | None = None
    add_provided_port: bool = False
    port: PortName | None = None
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


class NamedPort(Object, frozen=True, kw_only=True):
    """A port that a task has beside its unnamed one, with a name by which it is found.

    ``port`` is a fixed one, 0: the scheduler provides it. ``container_port`` is where it leads to inside of the docker
    container ``container`` (None: the only one there is); 0: nowhere, the program listens on the host's port itself.
    """

    name: PortName
    port: Port = 0
    protocol: Literal["tcp", "udp"] = "tcp"
    container: Name | None = None
    container_port: Port = 0
    tags: tuple[Text, ...] = ()


class Restart(Object, frozen=True, kw_only=True):
    """How deaths of a task are answered on its host; what is None is as the agent does it.

    ``max_attempts`` within ``window``, and it has failed. The first restart comes after ``delay``, each further one
    after four times as long, up to ``max_delay``.
    """

    max_attempts: Attempts | None = None
    window: Duration | None = None
    delay: Duration | None = None
    max_delay: Duration | None = None


class TaskDefinition(Object, frozen=True, kw_only=True):
    """Containers that run together and are checked together. A version is immutable once written.

    ``memory`` and ``disk`` are MiB, ``cpu_units`` 1024 per core; 0 means not counted. ``restart_after``: how long it
    may be critical before it is restarted; None: for ever. The other durations that are None are as the agent does it.
    """

    name: Name
    version: Version
    containers: Annotated[tuple[Container, ...], Meta(min_length=1)]
    provide_port: bool = False
    port: Port = 0
    ports: tuple[NamedPort, ...] = ()
    tags: tuple[Text, ...] = ()
    memory: MemoryMib = 0
    cpu_units: CpuUnits = 0
    disk: DiskMib = 0
    checks: tuple[Check, ...] = ()
    start_deadline: Duration | None = None
    restart: Restart | None = None
    restart_after: Duration | None = None
    drain_delay: DurationOrZero | None = None
    stop_timeout: DurationOrZero | None = None
    managed_by: str | None = None

    def __post_init__(self) -> None:
        if self.provide_port and self.port:
            raise ValueError("a task definition has provide_port or port, not both")
