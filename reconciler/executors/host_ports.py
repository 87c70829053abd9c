"""Whether a port of this host is free, and who has it if it is not. The agent asks before it starts a task."""

import errno
import socket

import psutil

from reconciler.errors import ExecutorError


def require_free(port: int) -> None:
    """Make sure that nobody listens on ``port`` (TCP, any address of this host).

    Raises:
        ExecutorError: somebody does, and who; permanent, since only another port helps.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # what is left of closed connections is no obstacle, a listener is
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ExecutorError(f"port {port} is taken by {_holder(port)}", permanent=True) from error
            raise ExecutorError(f"port {port} can't be used: {error.strerror}", permanent=True) from error


def _holder(port: int) -> str:
    """The process that listens there, as far as this user may see it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            at = connection.laddr
            if connection.status == psutil.CONN_LISTEN and at and at.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "something else on this host"
