"""Who this agent is: its machine, and the right to use a host name on it. ``wiring`` and ``loop`` call it.

What an agent runs is labelled with store and identity (``<host>@<machine>``), so that two agents on one machine never
take each other's tasks for orphans. A lock file keeps a second agent of the same name away; the kernel drops it when
the holder dies, however it dies.
"""

import fcntl
import hashlib
import os
import socket
from pathlib import Path
from typing import Final

import psutil

from reconciler import __version__
from reconciler.agent.settings import AgentSettings
from reconciler.errors import UsageError
from reconciler.executors.interface import Owner
from reconciler.model.task import HostState
from reconciler.runtime.ids import new_id

MACHINE_ID: Final = Path("/etc/machine-id")
_MIB: Final = 1 << 20


def machine(runtime_dir: Path, machine_id: Path = MACHINE_ID) -> str:
    """An id of this machine that survives reboots: made of the system's own, else kept in ``runtime_dir``.

    The system's id is to be kept confidential (machine-id(5)), so only a hash of it is shown.
    """
    system = _system_id(machine_id)
    if not system:
        kept = runtime_dir / "machine-id"
        runtime_dir.mkdir(parents=True, exist_ok=True)
        try:
            with kept.open("x", encoding="ascii") as file:
                file.write(new_id())
        except FileExistsError:
            pass
        system = kept.read_text(encoding="ascii").strip()
    return _shown(system)


def is_this_machine(shown: str, address: str) -> bool:
    """Whether a host's record is of the machine that we are on: told by the system's id, or by the host's address."""
    if (system := _system_id(MACHINE_ID)) and _shown(system) == shown:
        return True
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(where)
    except OSError:
        return False
    return True


def _system_id(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _shown(system: str) -> str:
    return hashlib.sha256(f"reconciler:{system}".encode()).hexdigest()[:16]


def owner(settings: AgentSettings, store_id: str) -> Owner:
    """With what everything that this agent makes is labelled."""
    return Owner(store_id, f"{settings.host}@{machine(settings.runtime_dir)}")


def default_address() -> str:
    """This machine's address as others see it: that of the interface towards the default route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; the kernel only chooses a route
            return str(probe.getsockname()[0])
        except OSError:
            pass
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == socket.AF_INET and not address.address.startswith("127."):
                return str(address.address)
    return "127.0.0.1"


class HostLock:
    """The right of one process to be the agent of a host name on this machine, for one store."""

    def __init__(self, settings: AgentSettings, store_id: str) -> None:
        self._host = settings.host
        self._path = settings.runtime_dir / f"agent-{settings.host}-{store_id[:8]}.lock"
        self._session_path = self._path.with_suffix(".session")
        self._fd: int | None = None

    def take(self) -> None:
        """Raises UsageError, naming the holder, when another process has it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(
                f"the runtime folder {self._path.parent} can't be used: {error.strerror}",
                hint="name another one with --runtime-dir",
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 64, 0).decode("ascii", errors="replace").strip()
            os.close(fd)
            raise UsageError(
                f"another agent of this machine is host {self._host} already (process {holder or 'unknown'})",
                hint="stop that one, or give this one another name with --host",
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        self._fd = fd

    def held(self) -> bool:
        """Whether this process has it."""
        return self._fd is not None

    def release(self) -> None:
        """Let another process have it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def last_session(self) -> str | None:
        """The session that the predecessor of this process kept."""
        try:
            return self._session_path.read_text(encoding="ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def note_session(self, session_id: str) -> None:
        """Remember the session for the successor of this process."""
        part = self._session_path.with_suffix(".part")
        part.write_text(session_id, encoding="ascii")
        part.replace(self._session_path)


def host_state(settings: AgentSettings, executors: tuple[str, ...], http: str = "") -> HostState:
    """What this host has. Totals, not what is free: they change when the machine does. ``http``: the agent's URL."""
    system = os.uname()
    return HostState(
        host=settings.host,
        machine=machine(settings.runtime_dir),
        address=settings.address,
        memory=psutil.virtual_memory().total // _MIB,
        cpu_units=len(os.sched_getaffinity(0)) * 1024,
        disk=psutil.disk_usage(str(settings.runtime_dir)).total // _MIB,
        port_range=settings.port_range,
        executors=executors,
        attributes={
            "os": system.sysname.lower(),
            "arch": system.machine,
            "kernel": system.release,
            "hostname": system.nodename,
        },
        agent_version=__version__,
        http=http,
        prepares=True,
    )
