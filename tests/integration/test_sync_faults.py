"""What may stand in a repository and is no manifest: refused in words that help, and what was applied stays."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError
from reconciler.manifests.git_remote import git_remote
from reconciler.manifests.git_source import GitSource
from reconciler.model import keys
from reconciler.store.connect import open_store
from reconciler.sync.once import sync_once
from tests.support.git import GitRepository, git_daemon
from tests.support.ports import port_block
from tests.support.sync import config, make_ours, manifest, state, values

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{name}'] * 9)}]\n" for name, after in zip("abcdefgh", "bcdefghi", strict=True)
)


def link(repository: GitRepository) -> None:
    (repository.path / "web.json").unlink()
    (repository.path / "web.json").symlink_to("/etc/passwd")


def ten_megabytes(repository: GitRepository) -> None:
    repository.write(
        {"large.yml": "# a comment of a hundred characters or so, over and over again, as a generator may\n" * 120_000}
    )


FAULTS: dict[str, tuple[Callable[[GitRepository], None], str]] = {
    "a binary file": (
        lambda it: it.write({"logo.yml": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"}),
        r"logo\.yml:1:1: error RC046 .* not UTF-8",
    ),
    "10 MB of YAML": (ten_megabytes, r"large\.yml:1:1: error RC0\d\d .*4 MiB"),
    "a billion values": (lambda it: it.write({"bomb.yml": BOMB}), r"bomb\.yml:\d+:\d+: error RC043"),
    "a link out of the repository": (link, r"web\.json is a symbolic link"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_manifest_is_refused_and_the_last_good_revision_stays(
    repository: GitRepository, tmp_path: Path, fault: str
) -> None:
    store = make_ours(open_store(f"sqlite://{tmp_path}/store.db", environ={}))
    source = GitSource("fleet", git_remote(repository.url), cache=tmp_path / "cache")
    good = repository.commit({"web.json": manifest(["web"])})
    sync_once(store, source, emit=lambda _: None)
    before = values(store, keys.CONFIG)
    assert len(config(store)) == 3

    put, words = FAULTS[fault]
    put(repository)
    repository.commit()
    with pytest.raises(ReconcilerError, match=words):
        sync_once(store, source, emit=lambda _: None)
    assert values(store, keys.CONFIG) == before

    repository.git("read-tree", "-u", "--reset", good)
    repository.commit({"api.json": manifest(["api"], cluster="second")})
    sync_once(store, source, emit=lambda _: None)
    assert len(config(store)) == 6
    source.close()
    store.close()


def test_a_tag_that_was_moved_is_followed_and_history_shows_it(repository: GitRepository, tmp_path: Path) -> None:
    store = make_ours(open_store(f"sqlite://{tmp_path}/store.db", environ={}))
    source = GitSource("fleet", git_remote(repository.url, tag="live"), cache=tmp_path / "cache")
    first = repository.commit({"web.json": manifest(["web"])})
    second = repository.commit({"web.json": manifest(["web"], desired=2)})
    for commit, desired, detail in (
        (first, 1, ""),
        (second, 2, ""),
        (first, 1, f"the history was rewritten: {second[:12]} is no longer part of it"),
    ):
        repository.git("tag", "--force", "live", commit)
        for _ in range(2):
            sync_once(store, source, emit=lambda _: None)
            last = state(store, "fleet").history[-1]
            assert (last.revision, last.result, last.detail) == (commit, "applied", detail)
        assert config(store)["config/services/web"]["desired"] == desired
    source.close()
    store.close()


MEASURED = """
import json, re, resource, sys
from pathlib import Path
from reconciler.errors import SourceError
from reconciler.manifests.git_remote import git_remote
from reconciler.manifests.git_source import GitSource

source = GitSource("fleet", git_remote(sys.argv[1]), cache=Path(sys.argv[2]))
said = ""
try:
    source.read()
except SourceError as error:
    said = str(error)
source.close()
# of this process the kernel's own count: the other one begins with what its parent had
ours_kb = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(json.dumps([said, int(ours_kb), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def test_a_huge_file_is_never_held_in_memory(repository: GitRepository, tmp_path: Path) -> None:
    """Neither by us nor by the git that we start: it is fetched and found too large as it streams by."""
    repository.commit({"dump.yml": b"\0" * 60_000_000})
    with git_daemon(tmp_path, port_block()[0]) as url:
        words = [sys.executable, "-c", MEASURED, f"{url}/{repository.path.name}/.git", str(tmp_path / "cache")]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    said, ours_kb, gits_kb = json.loads(done.stdout)
    assert "dump.yml has 57 MiB" in said
    assert max(ours_kb, gits_kb) < 55_000
