"""The script's own source: writes what it declares into ``config/*``, with lock and mark, as ``sync`` does.

It writes each revision in one transaction, so that the audits know to the index what a scheduler could have seen; and
it can stop in the middle of one on purpose, which ``sync`` never does.
"""

import msgspec

from reconciler.errors import StoreError
from reconciler.model import codec, keys
from reconciler.model.manifests import ConfigObject
from reconciler.model.source_state import SourceState, SyncMark
from reconciler.operations.conformance.declared import Declared
from reconciler.store import lease
from reconciler.store.interface import Committed, DeleteIf, Operation, Put, Store, Unknown
from reconciler.store.lease import SessionKeeper
from reconciler.sync.config_view import owner_of

ATTEMPTS = 5


def source_name(cluster: str) -> str:
    """The source that a script for ``cluster`` writes as."""
    return f"conformance-{cluster}"


class ConfigSource:
    """Holds the source's lock and writes revisions."""

    def __init__(self, store: Store, cluster: str, keeper: SessionKeeper) -> None:
        self._store = store
        self._name = source_name(cluster)
        self._keeper = keeper
        self._key = keys.source(self._name)
        self._revision = 0

    def write(self, declared: Declared, *, is_settled: bool = True) -> Declared:
        """Make ``config/*`` what ``declared`` says; returns it with the index of the transaction.

        ``is_settled`` False: the mark says that more of the revision is still to come.

        Raises:
            StoreError: it could not be written.
        """
        self._revision += 1
        value = codec.encode(self._state(declared, is_settled=is_settled))
        wanted = {keys.config(each): codec.encode(self._owned(each)) for each in declared.objects()}
        for _ in range(ATTEMPTS):
            outcome = self._store.commit(
                [
                    lease.fence(keys.sync_lock(self._name), self.session),
                    Put(self._key, value),
                    *self._operations(wanted),
                ]
            )
            written = self._store.get(self._key)
            if written is not None and written.value == value and isinstance(outcome, Committed | Unknown):
                return msgspec.structs.replace(declared, index=written.index)
        raise StoreError(f"{self._key} could not be written: {outcome}")

    def open(self) -> None:
        """Take the source's lock. Raises StoreError when somebody else has it."""
        if not lease.take(self._store, keys.sync_lock(self._name), b"reconciler conformance", self.session):
            raise StoreError(
                f"another conformance run holds {keys.sync_lock(self._name)} in {self._store.url}",
                hint="Wait for its end, or take another --cluster.",
            )

    def close(self) -> None:
        """Leave no lock behind."""
        entry = self._store.get(keys.sync_lock(self._name))
        if entry is not None and entry.holder == self.session:
            self._store.commit([DeleteIf(entry.key, entry.index)])

    @property
    def session(self) -> str:
        """The session that holds it. Raises StoreError."""
        session = self._keeper.session_id
        if session is None:
            raise StoreError(f"{self._store.url}: the session of this run has ended")
        return session

    def _operations(self, wanted: dict[str, bytes]) -> list[Operation]:
        stored = {entry.key: entry for entry in self._store.list(keys.CONFIG).entries}
        mine = {key: entry for key, entry in stored.items() if owner_of(entry.value) == self._name}
        puts = [Put(key, value) for key, value in wanted.items() if key not in stored or stored[key].value != value]
        deletes = [DeleteIf(key, entry.index) for key, entry in reversed(mine.items()) if key not in wanted]
        return [*puts, *deletes]

    def _owned(self, each: ConfigObject) -> ConfigObject:
        return msgspec.structs.replace(each, managed_by=self._name)

    def _state(self, declared: Declared, *, is_settled: bool) -> SourceState:
        revision, before = f"step-{self._revision}", f"step-{self._revision - 1}"
        mark = SyncMark(
            settled=is_settled,
            revision=revision if is_settled else before,
            to=None if is_settled else revision,
            chunk=self._revision,
            counts=declared.counts,
        )
        return SourceState(source=self._name, kind="conformance", location="reconciler conformance", mark=mark)
