"""What tests of sync need: manifests by the number, a source whose revisions they set, a store that fails on demand."""

import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from reconciler.errors import SourceError, StoreUnreachable
from reconciler.manifests.source import Commit, Revision
from reconciler.model import keys
from reconciler.model.codec import decode
from reconciler.model.provenance import ProvenanceShard
from reconciler.model.source_state import SourceState
from reconciler.store import lease, sentinel
from reconciler.store.interface import CommitResult, Entry, Held, Limits, Listing, Operation, Session, Store
from reconciler.store.kept import one_by_one

STORE_ID = "the-store-of-this-test"


def definition(name: str, version: int = 1, command: str = "sleep 1000", **more: Any) -> dict[str, Any]:
    container = {"name": "main", "type": "bash", "executor": {"start": [command]}}
    return {"name": name, "version": version, "containers": [container], **more}


def service(name: str, version: int = 1, desired: int = 1, **more: Any) -> dict[str, Any]:
    return {"name": name, "task_name": name, "task_version": version, "desired": desired, **more}


def manifest(
    services: Iterable[str] = (), *, cluster: str = "main", version: int = 1, desired: int = 1, command: str = "sleep 9"
) -> str:
    """One cluster with services, and a definition for each of them."""
    names = list(services)
    return json.dumps(
        {
            "clusters": [{"name": cluster, "services": names}],
            "services": [service(name, version, desired) for name in names],
            "task_definitions": [definition(name, version, command) for name in names],
        }
    )


def revision(id: str, files: Mapping[str, str]) -> Revision:  # noqa: A002 - as the source names it
    """A revision with these files; equal files are equal contents."""
    return Revision(
        id=id,
        content=repr(sorted(files.items())),
        files={name: content.encode() for name, content in files.items()},
        author="Ann",
        subject=f"Change to {id}",
    )


class ListedSource:
    """Hands out the revisions that a test lists, the last one first; each follows from those before it."""

    kind = "git"
    environment: str | None = None
    location = "https://example.org/fleet.git"

    def __init__(self, name: str, *revisions: Revision) -> None:
        self.name = name
        self.revisions = list(revisions)
        self.dropped: list[str] = []
        self.failure: SourceError | None = None
        self.reads = 0
        self.asked: list[frozenset[str]] = []
        """The files whose commits were asked for, by call."""
        self._woken = threading.Event()

    def read(self) -> Revision:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return self.revisions[-1]

    def at(self, revision: str) -> Revision | None:
        return next((each for each in self.revisions if each.id == revision), None)

    def follows(self, revision: str, earlier: str) -> bool | None:
        ids = [each.id for each in self.revisions]
        if earlier in self.dropped:
            return False
        if earlier not in ids or revision not in ids:
            return None
        return ids.index(revision) >= ids.index(earlier)

    def last_changes(self, revision: str, files: Collection[str], timeout_s: float) -> Mapping[str, Commit]:
        upto = [each.id for each in self.revisions].index(revision)
        self.asked.append(frozenset(files))
        found = {}
        for before, each in zip([None, *self.revisions], self.revisions[: upto + 1], strict=False):
            for name in files:
                if before is None or before.files.get(name) != each.files.get(name):
                    found[name] = Commit(id=each.id, author=each.author, subject=each.subject, at=7.0)
        return found

    def wait(self, timeout_s: float) -> bool:
        woken = self._woken.wait(timeout_s)
        self._woken.clear()
        return woken

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._woken.set()


class Killed(BaseException):
    """The process ended here; nothing after this runs (it is no ``Exception``, so that nobody catches it)."""


OnCommit = Callable[[int, Sequence[Operation], Callable[[], CommitResult]], CommitResult]


def dies_at(fatal: int, moment: str) -> OnCommit:
    """Have a ``WatchedStore`` end the process at a commit, "before …" it is carried out or after."""

    def on_commit(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
        if number == fatal and moment.startswith("before"):
            raise Killed
        answer = go()
        if number == fatal:
            raise Killed
        return answer

    return on_commit


class WatchedStore:
    """A store that counts what is asked of it, can be ``is_away``, and hands each commit to ``on_commit``.

    That gets the number of the commit (from 1), its operations and a function that carries it out.
    """

    def __init__(
        self,
        store: Store,
        on_commit: OnCommit | None = None,
        *,
        operations: int = 64,
    ) -> None:
        """``operations``: how many a commit may have; with few, a small revision takes many commits."""
        self.operations = operations
        self.inner = store
        self.on_commit = on_commit
        self.commits: list[tuple[Operation, ...]] = []
        self.reads = 0
        self.listed: list[str] = []
        self.is_away = False

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def limits(self) -> Limits:
        return msgspec.structs.replace(self.inner.limits, operations=self.operations)

    def get(self, key: str) -> Entry | None:
        self._reach()
        self.reads += 1
        return self.inner.get(key)

    def list(self, prefix: str) -> Listing:
        self._reach()
        self.reads += 1
        self.listed.append(prefix)
        return self.inner.list(prefix)

    def get_all(self, names: Sequence[str]) -> Mapping[str, Entry]:
        return one_by_one(self, names)

    def list_again(self, prefix: str, known: Listing) -> Listing:
        return self.list(prefix)

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        self._reach()
        self.commits.append(tuple(operations))
        if self.on_commit is None:
            return self.inner.commit(operations)
        return self.on_commit(len(self.commits), operations, lambda: self.inner.commit(operations))

    @property
    def decisive(self) -> Sequence[tuple[Operation, ...]]:
        """The commits on which anything rests: not those that say where objects are written."""
        return [each for each in self.commits if not is_provenance(each)]

    def wait(self, prefix: str, after: int, timeout_s: float) -> int:
        self._reach()
        return self.inner.wait(prefix, after, timeout_s)

    def open_session(self, name: str, ttl_s: float) -> Session:
        self._reach()
        return WatchedSession(self, self.inner.open_session(name, ttl_s))

    def resume_session(self, session_id: str, name: str, ttl_s: float) -> Session | None:
        return self.inner.resume_session(session_id, name, ttl_s)

    def close(self) -> None:
        self.inner.close()

    def _reach(self) -> None:
        if self.is_away:
            raise StoreUnreachable("the store is away (by the test)")


class WatchedSession:
    """A session that is not renewed while its store is away."""

    def __init__(self, store: WatchedStore, inner: Session) -> None:
        self._store = store
        self._inner = inner
        self.id = inner.id
        self.ttl_s = inner.ttl_s

    def renew(self) -> bool:
        self._store._reach()
        return self._inner.renew()

    def close(self) -> None:
        if not self._store.is_away:
            self._inner.close()


def is_provenance(operations: Sequence[Operation]) -> bool:
    """Whether a commit only says where objects are written."""
    return all(isinstance(each, Held) or each.key.startswith(keys.PROVENANCE) for each in operations)


def make_ours(store: Store) -> Store:
    """An empty store with its sentinels."""
    sentinel.ensure(store, STORE_ID)
    return store


def hold(store: Store, source: str) -> Held:
    """Hold a source's lock with a session of one's own, taking it from whoever is dead."""
    session = store.open_session(f"test {source}", 600.0)
    entry = store.get(keys.sync_lock(source))
    assert entry is None or entry.holder is None, "somebody else is alive"
    assert lease.take(store, keys.sync_lock(source), b"{}", session.id)
    return lease.fence(keys.sync_lock(source), session.id)


def config(store: Store) -> dict[str, dict[str, Any]]:
    """All objects in ``config/*``, decoded."""
    return {
        entry.key: json.loads(entry.value)
        for entry in store.list(keys.CONFIG).entries
        if entry.key not in {keys.CONFIG_SENTINEL, keys.MOVED}
    }


def state(store: Store, source: str) -> SourceState:
    """What is recorded of a source."""
    entry = store.get(keys.source(source))
    assert entry is not None, f"nothing is recorded of {source}"
    return decode(entry.value, SourceState, entry.key)


def declared_in(store: Store, source: str) -> dict[str, tuple[str, int, str, str]]:
    """What is recorded of where a source's declared objects stand: file, line, commit, author, by key."""
    return {
        f"{keys.CONFIG}{key}": (record.file, line, record.commit, record.author)
        for entry in store.list(keys.provenance_of_source(source)).entries
        for record in decode(entry.value, ProvenanceShard, entry.key).files
        for key, line in record.objects.items()
        if record.declared
    }


def values(store: Store, *prefixes: str) -> dict[str, bytes]:
    """Everything under some prefixes as it is stored, but which source moved last."""
    entries = (entry for prefix in prefixes for entry in store.list(prefix).entries)
    return {entry.key: entry.value for entry in entries if entry.key != keys.MOVED}


def change(value: bytes, **fields: Any) -> bytes:
    """A stored object with other fields."""
    return msgspec.json.encode(json.loads(value) | fields, order="sorted")
