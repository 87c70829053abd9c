"""Manifests from real git servers on loopback: `git daemon`, and `git http-backend` behind a login."""

import base64
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import SourceError
from reconciler.manifests.git_remote import git_remote
from reconciler.manifests.git_source import GitSource
from tests.support.git import GitRepository, git_daemon
from tests.support.ports import port_block
from tests.support.tcp_proxy import TcpProxy

ROOT = Path(__file__).parents[2]
LOGIN = "deploy:s3cret"


class _Backend(BaseHTTPRequestHandler):
    """CGI to git, for whoever knows the login."""

    root: Path

    def _answer(self) -> None:
        expected = "Basic " + base64.b64encode(LOGIN.encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": "deploy",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        done = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # noqa: N815 - named by the standard library

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def http_url(tmp_path: Path) -> Iterator[str]:
    handler = type("Backend", (_Backend,), {"root": tmp_path})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_over_http_with_a_login_that_nothing_shows(http_url: str, repository: GitRepository, tmp_path: Path) -> None:
    first = repository.commit({"web.yml": "clusters: []\n"})
    path = f"{repository.path.name}/.git"
    source = GitSource("fleet", git_remote(f"http://{LOGIN}@{http_url}/{path}"), cache=tmp_path / "cache")
    assert source.read().id == first
    second = repository.commit({"web.yml": "clusters: [] # two\n"})
    assert source.read().files == {"web.yml": b"clusters: [] # two\n"}
    repository.git("reset", "--quiet", "--hard", first)
    forced = repository.commit({"web.yml": "clusters: [] # three\n"})
    seen = source.read()
    assert (seen.id, seen.rewritten, source.follows(forced, second)) == (forced, True, False)
    source.close()
    assert "s3cret" not in source.location

    stranger = GitSource("other", git_remote(f"http://deploy:wrong@{http_url}/{path}"), cache=tmp_path / "other")
    with pytest.raises(SourceError, match="access was denied") as refused:
        stranger.read()
    assert "wrong" not in str(refused.value)
    stranger.close()


def test_over_http_with_a_token_as_the_documentation_says(
    http_url: str, repository: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = repository.commit({"web.yml": "clusters: []\n"})
    page = (ROOT / "docs/gitops.md").read_text()
    (documented,) = re.findall(r"^```ini\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    documented = documented.replace("https://example.org", f"http://{http_url}")
    in_a_file = documented.replace("/etc/reconciler/git-token", str(tmp_path / "token"))
    in_the_environment = documented.replace("$(cat /etc/reconciler/git-token)", "$GIT_TOKEN")
    assert "password=$GIT_TOKEN" in page
    (tmp_path / "token").write_text("s3cret\n")
    monkeypatch.setenv("GIT_TOKEN", "s3cret")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    for number, settings in enumerate((in_a_file, in_the_environment)):
        (tmp_path / "gitconfig").write_text(settings)
        remote = git_remote(f"http://{http_url}/{repository.path.name}/.git")
        source = GitSource("fleet", remote, cache=tmp_path / f"cache-{number}")
        assert source.read().id == first
        source.close()


def test_from_a_git_daemon_also_when_it_was_away(repository: GitRepository, tmp_path: Path) -> None:
    first = repository.commit({"web.yml": "clusters: []\n"})
    port = port_block()[0]
    url = f"git://127.0.0.1:{port}/{repository.path.name}/.git"
    source = GitSource("fleet", git_remote(url, branch="main"), cache=tmp_path / "cache")
    with pytest.raises(SourceError, match="could not be fetched"):
        source.read()
    with git_daemon(tmp_path, port):
        assert source.read().id == first
    with pytest.raises(SourceError, match="could not be fetched"):
        source.read()
    earlier = source.at(first)
    assert earlier is not None, "what was read once is still there"
    source.close()


def test_an_answer_that_breaks_off_anywhere_is_never_taken_for_a_whole_one(
    repository: GitRepository, tmp_path: Path, tcp_proxy: Callable[[str, int], TcpProxy]
) -> None:
    """The server dies in the middle of a pack, or its connection does."""
    first = repository.commit({"web.yml": "clusters: []\n"})
    port = port_block()[0]
    with git_daemon(tmp_path, port):
        proxy = tcp_proxy("127.0.0.1", port)
        remote = git_remote(f"git://{proxy.hostport}/{repository.path.name}/.git", branch="main")
        source = GitSource("fleet", remote, cache=tmp_path / "cache")
        assert source.read().id == first
        # random, so that the pack is long
        second = repository.commit({f"{number}.yml": os.urandom(3000).hex() for number in range(20)})
        before = len(proxy.answered)
        GitSource("whole", remote, cache=tmp_path / "whole").read()
        length = len(proxy.answered) - before
        for share in (0.1, 0.5, 0.9):
            proxy.cut_answers_after(int(length * share))
            with pytest.raises(SourceError, match="could not be fetched"):
                source.read()
            kept = source.at(first)
            assert kept is not None
            assert kept.files == {"web.yml": b"clusters: []\n"}
        proxy.cut_answers_after(None)
        revision = source.read()
        assert (revision.id, len(revision.files)) == (second, 21)
        source.close()
