"""Manifests over ssh, from a real sshd on loopback, with git's own means: a key, and the server's key known before."""

from pathlib import Path

import pytest

from reconciler.errors import SourceError
from reconciler.manifests.git_remote import git_remote
from reconciler.manifests.git_source import GitSource
from tests.support.git import GitRepository
from tests.support.program import Program
from tests.support.sshd import SshServer, make_ssh_key
from tests.support.sync import manifest


def test_sync_reads_over_ssh_with_the_key_that_git_is_told(
    program: Program, repository: GitRepository, sshd: SshServer
) -> None:
    repository.commit({"web.json": manifest(["web"])})
    program.use(f"sqlite://{program.folder}/store.db")
    program.environ["XDG_CACHE_HOME"] = str(program.folder / "cache")
    program.environ["GIT_SSH_COMMAND"] = sshd.command()
    words = ("sync", "--git", sshd.url(repository.path), "--name", "fleet", "--once")
    assert "3 created" in program.ok(*words)

    (program.folder / "nobody").touch()
    program.environ["GIT_SSH_COMMAND"] = sshd.command(known_hosts=program.folder / "nobody")
    refused = program.run(*words)
    assert refused.returncode == 2
    assert "the server's ssh key is not known" in refused.stderr
    assert "ssh-keyscan" in refused.stderr
    assert (program.folder / "nobody").read_text() == "", "nothing is taken on trust"


def test_another_key_on_either_side_is_refused_in_words_of_its_own(
    repository: GitRepository, sshd: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = repository.commit({"web.json": manifest(["web"])})
    other = make_ssh_key(tmp_path, "other")

    monkeypatch.setenv("GIT_SSH_COMMAND", sshd.command(key=other))
    stranger = GitSource("fleet", git_remote(sshd.url(repository.path)), cache=tmp_path / "stranger")
    with pytest.raises(SourceError, match=r"access was denied .*Permission denied \(publickey\)"):
        stranger.read()

    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{sshd.port} {other.with_suffix('.pub').read_text()}")
    monkeypatch.setenv("GIT_SSH_COMMAND", sshd.command(known_hosts=known))
    impostor = GitSource("fleet", git_remote(sshd.url(repository.path)), cache=tmp_path / "impostor")
    with pytest.raises(SourceError, match="the server's ssh key is another one than before"):
        impostor.read()

    monkeypatch.setenv("GIT_SSH_COMMAND", sshd.command())
    missing = GitSource("fleet", git_remote(sshd.url(tmp_path / "nowhere")), cache=tmp_path / "missing")
    with pytest.raises(SourceError, match="is no git repository"):
        missing.read()
    source = GitSource("fleet", git_remote(sshd.url(repository.path)), cache=tmp_path / "cache")
    assert source.read().id == first
    for each in (source, stranger, impostor, missing):
        each.close()
