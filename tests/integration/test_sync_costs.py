"""What a pass costs is counted here, never timed: it grows with the change, and not with the fleet."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reconciler.manifests.git_remote import git_remote
from reconciler.manifests.git_source import GitSource
from reconciler.runtime.clock import SystemClock
from reconciler.store.interface import Held
from reconciler.store.memory import MemoryStore
from reconciler.sync.passes import SourceSync
from tests.support.git import GitRepository
from tests.support.sync import WatchedStore, hold, make_ours, manifest

SIZES = (50, 500)
A_FOLDER = 10
FETCH = 3
"""Commands of git: what the copy had, the fetch, what it has now."""
LOOK = 6
"""Reads of the store with which a pass begins, each a key or a listing: the sentinels, the marks of the sources around
``config/*``, and what operators said of other sources."""


class Cost(msgspec.Struct, frozen=True):
    """Commands and objects read of git, files parsed; reads of the store, transactions, and what these write."""

    commands: int
    objects: int
    files: int
    reads: int
    transactions: int
    writes: int


def services(numbers: range, desired: int = 1) -> dict[str, str | bytes | None]:
    """A file for each service, in folders of ten."""
    return {
        f"{number // A_FOLDER}/{number}.json": manifest([f"s{number}"], cluster=f"c{number}", desired=desired)
        for number in numbers
    }


class Fleet:
    """A repository of so many services, and a store that has them."""

    def __init__(self, size: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repository = GitRepository(folder / f"repository-{size}")
        self.repository.commit(services(range(size)))
        self._commands = self._objects = 0
        self._store = WatchedStore(make_ours(MemoryStore()))
        self._source = GitSource("fleet", git_remote(self.repository.url), cache=folder / f"cache-{size}")
        start, read = self._source._mirror._start, self._source._object

        def counted_start(*arguments: Any, **options: Any) -> Any:
            self._commands += 1
            return start(*arguments, **options)

        def counted_read(sha: bytes, kind: bytes) -> bytes:
            self._objects += 1
            return read(sha, kind)

        monkeypatch.setattr(self._source._mirror, "_start", counted_start)
        monkeypatch.setattr(self._source, "_object", counted_read)
        self._sync = SourceSync(self._store, self._source, clock=SystemClock(), emit=lambda _: None)
        self._fence: Held = hold(self._store, "fleet")
        self.run()

    def run(self) -> Cost:
        """One pass over the source, as the daemon does it when something is new."""
        before, done = self._so_far(), len(self._store.commits)
        outcome = self._sync.run(self._fence, self._source.read(), is_confirmed=True)
        assert not outcome.problems
        commits = self._store.commits[done:]
        commands, objects, files, reads = (now - then for now, then in zip(self._so_far(), before, strict=True))
        writes = sum(not isinstance(each, Held) for each in itertools.chain.from_iterable(commits))
        return Cost(commands, objects, files, reads, len(commits), writes)

    def _so_far(self) -> tuple[int, int, int, int]:
        return self._commands, self._objects, self._sync.parsed_files, self._store.reads


def test_what_a_pass_costs_grows_with_the_change_and_not_with_the_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in SIZES:
        fleet = Fleet(size, tmp_path, monkeypatch)
        assert fleet.run() == Cost(commands=FETCH, objects=0, files=0, reads=LOOK, transactions=0, writes=0), (
            "nothing is new"
        )
        fleet.repository.commit(services(range(7, 8), desired=2))
        # git says that the history was not rewritten, and who changed the file; out of it come the root, the folder and
        # the file; written are the service, the source's mark, which source moved, and where the file's objects are
        # declared. What operators said of services and of hosts is read because the change may end it
        assert fleet.run() == Cost(commands=FETCH + 2, objects=3, files=1, reads=LOOK + 3, transactions=2, writes=4)
        fleet.repository.commit(services(range(20), desired=3))
        twenty = fleet.run()
        assert (twenty.objects, twenty.files) == (1 + 2 + 20, 20)
        assert twenty.transactions == 2
        assert twenty.writes <= 20 + 2 + 20
