"""A real OpenSSH server on loopback, run by whoever runs the tests, that lets in one key and nothing else."""

import getpass
import os
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.installed import installed
from tests.support.ports import port_block
from tests.support.wait import wait_until


def make_ssh_key(folder: Path, name: str) -> Path:
    """The private half; the other is beside it with ``.pub``."""
    key = folder / name
    command = [installed("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)]
    subprocess.run(command, check=True)
    return key


class SshServer:
    """Where it listens; ``key`` gets in, and ``known_hosts`` is a file that knows the server's own key."""

    def __init__(self, folder: Path) -> None:
        self.port = port_block()[0]
        self.key = make_ssh_key(folder, "client")
        host_key = make_ssh_key(folder, "host")
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host_key.with_suffix('.pub').read_text()}")
        self.log = folder / "sshd.log"
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\n"
            f"HostKey {host_key}\n"
            f"AuthorizedKeysFile {self.key}.pub\n"
            "AuthenticationMethods publickey\n"
            "PidFile none\nUsePAM no\nStrictModes no\n"
        )
        if os.geteuid() == 0:
            # sshd refuses to run as root without it; what starts it as a service makes it
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.process = subprocess.Popen(
            [installed("sshd"), "-D", "-f", str(folder / "sshd_config"), "-E", str(self.log)], stdin=subprocess.DEVNULL
        )
        wait_until(self._listens_or_ended, what="sshd to listen")
        assert self.process.poll() is None, self.log.read_text()

    def url(self, path: Path) -> str:
        """Of a repository on this machine."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def command(self, *, key: Path | None = None, known_hosts: Path | None = None) -> str:
        """For ``GIT_SSH_COMMAND``: the settings of the user who runs the tests are left out."""
        return (
            f"ssh -F none -i {key or self.key} -o IdentitiesOnly=yes -o IdentityAgent=none "
            f"-o UserKnownHostsFile={known_hosts or self.known_hosts} -o GlobalKnownHostsFile=none"
        )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def _listens_or_ended(self) -> bool:
        if self.process.poll() is not None:
            return True
        return self.log.exists() and "Server listening" in self.log.read_text()


@pytest.fixture(scope="module")
def sshd() -> Generator[SshServer]:
    with tempfile.TemporaryDirectory(prefix="sshd-") as folder:
        server = SshServer(Path(folder))
        yield server
        server.stop()
