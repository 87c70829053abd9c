"""A store that was read once and never changes: what a snapshot file holds, or what a store would hold after a plan.

Queries and planners take it for any other store. ``queries.snapshot_file`` and ``queries.preview`` make it.
"""

from collections.abc import Iterable, Mapping, Sequence

from reconciler.errors import StoreDenied
from reconciler.store.interface import CommitResult, Entry, Limits, Listing, Operation, Session
from reconciler.store.kept import one_by_one


class FrozenStore:
    """Entries as they were read. Everything that would change them is refused."""

    limits = Limits()

    def __init__(self, url: str, entries: Iterable[Entry]) -> None:
        self.url = url
        self._entries = {entry.key: entry for entry in entries}
        self._keys = sorted(self._entries)

    def with_values(self, values: dict[str, bytes | None]) -> "FrozenStore":
        """The same with other values at some keys; None: no such key."""
        entries = dict(self._entries)
        for key, value in values.items():
            old = entries.pop(key, None)
            if value is not None:
                entries[key] = Entry(key, value, old.index if old else 1, old.holder if old else None)
        return FrozenStore(self.url, entries.values())

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def list(self, prefix: str) -> Listing:
        return Listing(tuple(self._entries[key] for key in self._keys if key.startswith(prefix)), 1)

    def get_all(self, names: Sequence[str]) -> Mapping[str, Entry]:
        return one_by_one(self, names)

    def list_again(self, prefix: str, known: Listing) -> Listing:  # noqa: ARG002 - as every store's
        return self.list(prefix)

    def wait(self, prefix: str, after: int, timeout_s: float) -> int:  # noqa: ARG002 - as every store's
        return 1

    def commit(self, operations: Sequence[Operation]) -> CommitResult:  # noqa: ARG002 - as every store's
        raise self._refusal()

    def open_session(self, name: str, ttl_s: float) -> Session:  # noqa: ARG002 - as every store's
        raise self._refusal()

    def resume_session(self, session_id: str, name: str, ttl_s: float) -> Session | None:  # noqa: ARG002 - as every store's
        raise self._refusal()

    def close(self) -> None:
        """Nothing is open."""

    def _refusal(self) -> StoreDenied:
        return StoreDenied(f"{self.url} is a snapshot, and a snapshot is never written")
