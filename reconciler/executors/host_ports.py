"""Whether a port of this host is free, and who has it if it is not. The agent asks before it starts a task."""

import errno
import socket
from collections.abc import Callable
from typing import Final

import psutil

from reconciler.errors import ExecutorError
from reconciler.model.ports import HostPort

_PROXY: Final = "docker-proxy "
"""The engine's process that listens for a container."""
_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def require_free(port: HostPort, publisher: Callable[[HostPort], str | None] = lambda _: None) -> None:
    """Make sure that nobody has ``port``, at any address of this host.

    ``publisher`` names the container that publishes a port, if one does: the process that listens then is the engine's.

    Raises:
        ExecutorError: somebody has it, and who; permanent, unless a moment may help.
    """
    with socket.socket(socket.AF_INET, _KINDS[port.protocol]) as probe:
        if port.protocol == "tcp":
            # what is left of closed connections is no obstacle, a listener is
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port.number))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                by = publisher(port) or _holder(port)
                # no container has it by what the engine says: one comes up or goes down, perhaps the task's own
                raise taken(port, by, permanent=not by.startswith(_PROXY)) from error
            raise ExecutorError(f"{port} can't be used: {error.strerror}", permanent=True) from error


def taken(port: HostPort, by: str, *, permanent: bool = True) -> ExecutorError:
    """That somebody else has a port that a task needs."""
    return ExecutorError(f"{port} is taken by {by}", permanent=permanent)


def _holder(port: HostPort) -> str:
    """The process that listens there, as far as this user may see it."""
    try:
        for connection in psutil.net_connections(kind=port.protocol):
            at = connection.laddr
            listens = port.protocol == "udp" or connection.status == psutil.CONN_LISTEN
            if listens and at and at.port == port.number and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "something else on this host"
