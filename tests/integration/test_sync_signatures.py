"""Only what is signed is applied: commits signed by real ssh keys, with the real program."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.store.connect import open_store
from tests.support.git import GitRepository
from tests.support.program import Program
from tests.support.sync import config, manifest

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def make_key(folder: Path, name: str) -> Path:
    key = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
    return key


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
    ours, theirs = make_key(program.folder, "ours"), make_key(program.folder, "theirs")
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
