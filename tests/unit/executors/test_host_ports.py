"""A task never starts on a port that somebody else has."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.errors import ExecutorError
from reconciler.executors.host_ports import require_free
from reconciler.model.ports import HostPort


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_an_error_that_names_who_has_it(address: str) -> None:
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ExecutorError, match=rf"port {port} is taken by .*pid {os.getpid()}") as caught:
            require_free(HostPort(port))
        assert caught.value.permanent
        require_free(HostPort(port, "udp"))
    require_free(HostPort(port))


def test_a_port_of_udp_is_another_one_than_that_of_tcp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        with pytest.raises(ExecutorError, match=rf"udp port {port} is taken by .*pid {os.getpid()}"):
            require_free(HostPort(port, "udp"))
        require_free(HostPort(port))


def test_connections_that_were_closed_just_now_are_no_obstacle() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the server's side closes first, and so waits in TIME_WAIT
        client.close()
    require_free(HostPort(port))


def test_the_engines_proxy_without_a_container_is_waited_for_as_one_comes_up_or_goes_down(tmp_path: Path) -> None:
    proxy = tmp_path / "docker-proxy"
    proxy.symlink_to(sys.executable)
    listen = "import socket; s = socket.create_server(('', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen([proxy, "-c", listen], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = HostPort(int(process.stdout.readline()))
        with pytest.raises(ExecutorError, match=r"is taken by docker-proxy \(pid") as refused:
            require_free(port)
        assert not refused.value.permanent
        with pytest.raises(ExecutorError, match="is taken by container web") as refused:
            require_free(port, lambda _: "container web")
        assert refused.value.permanent
        process.communicate("")
