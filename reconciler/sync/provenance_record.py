"""Keeps ``state/provenance/<source>/*`` as the applied revision says. ``passes`` and ``apply -f`` call it at their end.

It is for people only: whatever goes wrong here is said and fails no pass, and what is lost is made again.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from reconciler.errors import ReconcilerError, StoreError
from reconciler.manifests.load import Origin
from reconciler.manifests.source import Commit
from reconciler.model import keys
from reconciler.model.codec import Undecodable, decode, encode
from reconciler.model.provenance import DeclaredIn, ProvenanceShard
from reconciler.store import chunks
from reconciler.store.interface import Committed, DeleteIf, Held, Operation, PutIf, Store
from reconciler.sync.plan import Wanted
from reconciler.sync.provenance import File, Known, Made, changed, shards, unexplained

ATTEMPTS: Final = 3
WALK_S: Final = 10.0
"""How long git may look for the commits of files; at the first pass over a long history that may be all of it."""

LastChanges = Callable[[str, Collection[str], float], Mapping[str, Commit]]


class Applied(msgspec.Struct, frozen=True):
    """What a revision declares, and the contents of its files."""

    revision: str
    wanted: Mapping[str, Wanted]
    contents: Mapping[str, bytes]


class _Shard(msgspec.Struct, frozen=True):
    """A stored shard; ``index`` None: written by us, and not read since."""

    records: tuple[DeclaredIn, ...]
    index: int | None


class ProvenanceRecord:
    """What is recorded of one source, as far as this process knows."""

    def __init__(
        self, store: Store, source: str, *, by: str, last_changes: LastChanges | None, say: Callable[[str], None]
    ) -> None:
        """``by``: who applies, where there are no commits. ``last_changes``: asks git; None: there is no git."""
        self._store = store
        self._prefix = keys.provenance_of_source(source)
        self._by = by
        self._last_changes = last_changes
        self._say = say
        self._done: tuple[str, str] | None = None
        self._session = ""
        self._stored: dict[str, _Shard] = {}
        self._made: dict[tuple[str, str], Made] = {}
        self._digests: dict[str, tuple[bytes, str]] = {}
        self._told = ""

    def update(self, fence: Held, applied: Applied, kept: AbstractSet[str], now: float, *, is_whole: bool) -> None:
        """Record where the objects of an applied revision are written; never raises for the store's or git's sake.

        ``kept``: keys of other objects of the source that are still stored. ``is_whole``: as ``provenance.shards``.
        """
        if self._done == (fence.session, applied.revision):
            return
        try:
            self._update(fence, applied, kept, now, is_whole=is_whole)
        except (ReconcilerError, OSError) as error:
            self._session = ""
            why = error.message if isinstance(error, ReconcilerError) else str(error)
            if why != self._told:
                self._told = why
                self._say(f"where objects are written could not be recorded, so `explain` can't tell: {why}")
            return
        self._done, self._told = (fence.session, applied.revision), ""

    def _update(self, fence: Held, applied: Applied, kept: AbstractSet[str], now: float, *, is_whole: bool) -> None:
        files = self._files(applied)
        below_config = {key.removeprefix(keys.CONFIG) for key in kept}
        for _ in range(ATTEMPTS):
            is_first = self._session != fence.session
            if is_first:
                self._read()
                self._session = fence.session
            before = {name: shard.records for name, shard in self._stored.items()}
            known = Known.of(before)
            self._explain(applied.revision, files, known, now, also_without_commit=is_first)
            made = {
                name: self._made[name, file.digest] for name, file in files.items() if (name, file.digest) in self._made
            }
            after = shards(files, known, made, below_config, is_whole=is_whole)
            if self._write(fence, after, changed(before, after)):
                self._made = {}
                return
            self._session = ""
        raise StoreError(f"{self._prefix} was changed by somebody else meanwhile")

    def _files(self, applied: Applied) -> dict[str, File]:
        objects: dict[str, dict[str, int]] = defaultdict(dict)
        values: dict[str, dict[str, int]] = defaultdict(dict)
        for key, wanted in applied.wanted.items():
            if isinstance(wanted.origin, Origin):
                below = key.removeprefix(keys.CONFIG)
                objects[wanted.origin.file][below] = wanted.origin.line
                for file, line in wanted.origin.values_in:
                    values[file][below] = line
        digests = {}
        for name in objects.keys() | values.keys():
            content = applied.contents.get(name, b"")
            known = self._digests.get(name)
            is_same = known is not None and known[0] is content
            digests[name] = known if known and is_same else (content, hashlib.sha256(content).hexdigest()[:16])
        self._digests = digests
        return {name: File(digests[name][1], objects.get(name, {}), values.get(name, {})) for name in digests}

    def _read(self) -> None:
        found = {}
        for entry in self._store.list(self._prefix).entries:
            try:
                records = decode(entry.value, ProvenanceShard, entry.key).files
            except Undecodable:
                records = ()
            found[entry.key.removeprefix(self._prefix)] = _Shard(records, entry.index)
        self._stored = found

    def _explain(
        self, revision: str, files: Mapping[str, File], known: Known, now: float, *, also_without_commit: bool
    ) -> None:
        """Find out how files came to be as they are; what was found stays known until it is written."""
        asks_git = self._last_changes is not None
        names = unexplained(files, known, also_without_commit=also_without_commit and asks_git)
        names = {name for name in names if (name, files[name].digest) not in self._made}
        commits = self._last_changes(revision, names, WALK_S) if self._last_changes is not None and names else {}
        for name in names:
            made = Made(author=self._by, at=now) if not asks_git else Made()
            if commit := commits.get(name):
                made = Made(commit.id, commit.author, commit.subject, commit.at)
            self._made[name, files[name].digest] = made

    def _write(self, fence: Held, after: Mapping[str, tuple[DeclaredIn, ...]], names: Collection[str]) -> bool:
        """Write the shards ``names``; False: somebody else wrote, or nobody can say."""
        groups: list[list[Operation]] = []
        for name in names:
            stored, key = self._stored.get(name), self._prefix + name
            index = stored.index if stored else 0
            if stored is not None and index is None:
                entry = self._store.get(key)
                if entry is None or entry.value != encode(ProvenanceShard(files=stored.records)):
                    return False
                index = entry.index
            value = encode(ProvenanceShard(files=after[name])) if name in after else None
            groups.append([PutIf(key, value, index or 0) if value is not None else DeleteIf(key, index or 0)])
        spare_bytes = len(fence.key) + len(fence.session)
        indexes: dict[str, int] = {}
        for part in chunks.split(groups, self._store.limits, spare_operations=1, spare_bytes=spare_bytes):
            result = self._store.commit([fence, *part])
            if not isinstance(result, Committed):
                return False
            indexes.update(result.indexes)
        for name in names:
            if name in after:
                self._stored[name] = _Shard(after[name], indexes.get(self._prefix + name))
            else:
                self._stored.pop(name, None)
        return True
