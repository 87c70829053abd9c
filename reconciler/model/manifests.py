"""The objects that people declare, as stored under ``config/*``.

They mirror ``schemas/*.json`` field by field (a test proves it in both directions). Unknown fields are refused: an
older program must not run a definition whose newer fields it does not understand.
"""

from typing import Final, TypeAlias

import msgspec


class _Object(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable and strict."""


class Cluster(_Object, frozen=True, kw_only=True):
    """A logical grouping of services, and the scheduler that serves it."""

    name: str
    scheduler: str = "default"
    services: tuple[str, ...] = ()
    managed_by: str | None = None


class Service(_Object, frozen=True, kw_only=True):
    """How many tasks of which definition should run. Counts are tasks."""

    name: str
    task_name: str
    task_version: int
    desired: int
    min: int | None = None
    max: int | None = None
    managed_by: str | None = None

    @property
    def min_healthy(self) -> int:
        """The scheduler never takes healthy tasks below this; ``desired`` unless given."""
        return self.desired if self.min is None else self.min

    @property
    def max_issued(self) -> int:
        """The scheduler never issues more tasks than this; ``desired + 1`` unless given."""
        return self.desired + 1 if self.max is None else self.max


class DockerExecutor(_Object, frozen=True, kw_only=True):
    """How a docker container is run; the fields of the specification."""

    image: str
    cmd: tuple[str, ...] = ()
    entry: str = ""
    container_port: int = 0
    ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    work_dir: str = ""
    volumes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    name: str = ""


class BashExecutor(_Object, frozen=True, kw_only=True):
    """How a plain process is run; the fields of the specification."""

    start: tuple[str, ...]
    stop: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    artifact: str = ""
    download_dir: str = ""


class DockerContainer(_Object, frozen=True, kw_only=True, tag_field="type", tag="docker"):
    """A container that the docker executor runs."""

    name: str
    executor: DockerExecutor
    setup: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The executor's name."""
        return "docker"


class BashContainer(_Object, frozen=True, kw_only=True, tag_field="type", tag="bash"):
    """A container that the bash executor runs: a plain process group."""

    name: str
    executor: BashExecutor
    setup: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The executor's name."""
        return "bash"


Container: TypeAlias = DockerContainer | BashContainer


class Check(_Object, frozen=True, kw_only=True):
    """A health check in Consul's terms; exactly one of ``http``, ``tcp``, ``script``, ``ttl`` says how."""

    name: str | None = None
    http: str | None = None
    tcp: str | None = None
    script: str | None = None
    ttl: str | None = None
    container: str | None = None
    add_provided_port: bool = False
    interval: str | None = None
    timeout: str | None = None
    method: str | None = None
    header: dict[str, tuple[str, ...]] | None = None
    tls_skip_verify: bool = False
    success_before_passing: int = 0
    failures_before_critical: int = 0


class TaskDefinition(_Object, frozen=True, kw_only=True):
    """Containers that run together and are checked together. A version is immutable once written.

    ``memory`` is MiB, ``cpu_units`` 1024 per core; 0 means not counted.
    """

    name: str
    version: int
    containers: tuple[Container, ...]
    provide_port: bool = False
    port: int = 0
    tags: tuple[str, ...] = ()
    memory: int = 0
    cpu_units: int = 0
    checks: tuple[Check, ...] = ()
    managed_by: str | None = None


PORT_RANGE: Final = (20000, 29999)
"""From which the scheduler provides ports unless a host says otherwise; both ends included."""


class Host(_Object, frozen=True, kw_only=True):
    """What the operator says of a host; what the host itself reports is ``task.HostState``."""

    name: str
    tags: dict[str, str] = {}
    draining: bool = False
    reserved_memory: int = 0
    reserved_cpu_units: int = 0
    port_range: tuple[int, int] | None = None
    managed_by: str | None = None


ConfigObject: TypeAlias = Cluster | Service | TaskDefinition | Host
