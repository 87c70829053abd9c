"""Real git repositories with manifests in them."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.wait import wait_until


class GitRepository:
    """A work tree that tests commit to, and that sources read from (over ``url``)."""

    def __init__(self, path: Path, branch: str = "main") -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", f"--initial-branch={branch}")

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What the git command printed; the user's own settings are kept out of it."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ann Author",
            "GIT_AUTHOR_EMAIL": "ann@example.org",
            "GIT_COMMITTER_NAME": "Ann Author",
            "GIT_COMMITTER_EMAIL": "ann@example.org",
        }
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=environment, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "replace").strip()

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Write files into the work tree; None removes one."""
        for name, content in files.items():
            path = self.path / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str | bytes | None] | None = None, message: str = "Change manifests") -> str:
        """Commit ``files`` beside what is in the work tree; the commit's id."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")


@contextlib.contextmanager
def git_daemon(folder: Path, port: int) -> Iterator[str]:
    """A real ``git daemon`` for the repositories in a folder; its URL."""
    command = ["git", "-c", "safe.directory=*", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"]
    command += [f"--port={port}", f"--base-path={folder}"]
    daemon = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return True
        return daemon.poll() is not None

    try:
        wait_until(listens, what="git daemon to listen")
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.communicate(timeout=10)


@pytest.fixture
def make_repository(tmp_path: Path) -> Callable[..., GitRepository]:
    """Makes repositories under the test's own folder."""
    made = 0

    def make(branch: str = "main") -> GitRepository:
        nonlocal made
        made += 1
        return GitRepository(tmp_path / f"repository-{made}", branch)

    return make


@pytest.fixture
def repository(make_repository: Callable[..., GitRepository]) -> GitRepository:
    """An empty repository with the branch ``main``."""
    return make_repository()
