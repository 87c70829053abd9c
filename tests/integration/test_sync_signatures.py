"""Only what is signed is applied: commits signed by real ssh and gpg keys, with the real programs."""

import json
from pathlib import Path

import pytest

from reconciler.errors import SourceError, UntrustedRevision
from reconciler.manifests.git_remote import git_remote
from reconciler.manifests.git_source import GitSource
from reconciler.store.connect import open_store
from reconciler.sync.once import sync_once
from tests.support.git import GitRepository
from tests.support.gpg import GpgKeys
from tests.support.program import Program
from tests.support.sshd import make_ssh_key
from tests.support.sync import config, make_ours, manifest


def commit(repository: GitRepository, desired: int, key: Path | None) -> str:
    """A commit that wants so many instances, signed by the key if there is one."""
    repository.write({"web.json": manifest(["web"], desired=desired)})
    repository.git("add", "--all")
    signing = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={key}"] if key else []
    repository.git(*signing, "commit", "--quiet", *(["-S"] if key else []), "-m", f"Want {desired}")
    return repository.head


def test_unsigned_and_foreign_commits_are_refused_and_the_last_good_one_stays(
    program: Program, repository: GitRepository
) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    program.environ["XDG_CACHE_HOME"] = str(program.folder / "cache")
    ours, theirs = make_ssh_key(program.folder, "ours"), make_ssh_key(program.folder, "theirs")
    signers = program.folder / "signers"
    signers.write_text(f"ann@example.org {ours.with_suffix('.pub').read_text()}")
    words = ("sync", "--git", repository.url, "--name", "fleet", "--once", "--verify-signatures", str(signers))

    def desired() -> int:
        store = open_store(program.environ["RECONCILER_STORE"], environ={})
        found: int = config(store)["config/services/web"]["desired"]
        store.close()
        return found

    commit(repository, 1, ours)
    program.ok(*words)
    assert desired() == 1
    for number, key in ((2, None), (3, theirs)):
        bad = commit(repository, number, key)
        refused = program.run(*words)
        assert refused.returncode == 1
        assert f"commit {bad[:12]} is not signed as it must be" in refused.stderr
        assert desired() == 1
        (row,) = json.loads(program.run("status", "--format", "json").stdout)["sources"]
        assert not row["ok"]
        assert "is not signed" in row["problems"][0]
        past = json.loads(program.ok("history", "fleet", "--format", "json"))[0]
        assert (past["revision"], past["result"]) == (bad, "refused")
        assert (past["author"], past["subject"]) == ("Ann Author", f"Want {number}")
        assert "is not signed" in past["detail"]

    signers.write_text(signers.read_text() + f"eve@example.org {theirs.with_suffix('.pub').read_text()}")
    program.ok(*words)
    assert desired() == 3
    commit(repository, 4, ours)
    program.ok(*words)
    assert desired() == 4
    program.ok("rollback", "fleet", repository.git("rev-parse", "HEAD~2"))
    refused = program.run(*words)
    assert (refused.returncode, desired()) == (1, 4), "it is not signed, so nobody goes back to it either"


def gpg_commit(repository: GitRepository, key: str, content: str) -> str:
    """A commit signed by a gpg key."""
    repository.write({"web.json": content})
    repository.git("add", "--all")
    repository.git("-c", f"user.signingKey={key}", "commit", "--quiet", "--allow-empty", "-S", "-m", "Signed by gpg")
    return repository.head


def test_of_gpg_signatures_only_those_by_a_valid_key_of_the_file_count(
    repository: GitRepository, gpg_keys: GpgKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the keyring of whoever runs sync knows and trusts them all; that must not matter
    monkeypatch.setenv("GNUPGHOME", str(gpg_keys.home))
    ours, foreign, revoked, expired = (gpg_keys.make(name) for name in ("ours", "foreign", "revoked", "expired"))
    signers = tmp_path / "signers.asc"
    signers.write_text(gpg_keys.export(ours, revoked, expired))
    ssh_key, ssh_signers = make_ssh_key(tmp_path, "ssh-key"), tmp_path / "ssh-signers"
    ssh_signers.write_text(f"bob@example.org {ssh_key.with_suffix('.pub').read_text()}")
    store = make_ours(open_store(f"sqlite://{tmp_path}/store.db", environ={}))
    source = GitSource("fleet", git_remote(repository.url), cache=tmp_path / "cache", signers=[signers, ssh_signers])

    def desired() -> int:
        found: int = config(store)["config/services/web"]["desired"]
        return found

    def is_refused(reason: str) -> None:
        with pytest.raises(UntrustedRevision, match=reason) as refused:
            sync_once(store, source, emit=lambda _: None)
        assert str(signers) in str(refused.value.hint)
        assert desired() == 1

    good = gpg_commit(repository, ours, manifest(["web"], desired=1))
    sync_once(store, source, emit=lambda _: None)
    gpg_commit(repository, foreign, manifest(["web"], desired=2))
    is_refused(f"gpg key {foreign[-16:]} is in none of the files")
    repository.commit({"web.json": manifest(["web"], desired=3)})
    is_refused("it has no ssh or gpg signature")

    for key, spoil, reason in (
        (revoked, gpg_keys.revoke, f"gpg key {revoked[-16:]} was revoked"),
        (expired, gpg_keys.expire, f"gpg key {expired[-16:]} has expired"),
    ):
        signed_before = gpg_commit(repository, key, manifest(["web"], desired=4))
        another = GitSource("fleet", git_remote(repository.url), cache=tmp_path / f"before-{key}", signers=[signers])
        assert another.read().id == signed_before, "nothing is said against the key yet"
        another.close()
        spoil(key)
        signers.write_text(gpg_keys.export(ours, revoked, expired))
        is_refused(reason)

    signed = repository.git("cat-file", "commit", good)
    tampered = signed.replace("Signed by gpg", "Signed by someone")
    forged = repository.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=f"{tampered}\n".encode())
    repository.git("reset", "--quiet", "--soft", forged)
    is_refused("it was changed afterwards")

    commit(repository, 9, ssh_key)
    sync_once(store, source, emit=lambda _: None)
    assert desired() == 9, "files of both kinds count side by side"
    source.close()
    store.close()


def test_a_file_without_a_key_is_said_and_nothing_is_read(repository: GitRepository, tmp_path: Path) -> None:
    repository.commit({"web.json": manifest(["web"])})
    for content, words in (
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n", "holds no gpg key that can be used"),
        (b"\x99\x01\x8d\x04", "is no text"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", "holds a private key"),
    ):
        (tmp_path / "signers").write_bytes(content)
        source = GitSource(
            "fleet", git_remote(repository.url), cache=tmp_path / "cache", signers=[tmp_path / "signers"]
        )
        with pytest.raises(SourceError, match=words):
            source.read()
        source.close()
