"""Several names in one go, and for how long what was read may be kept, for whoever implements a store."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from reconciler.store.interface import Entry, Listing

KEPT_S: Final = 60.0
"""For less than the 15 minutes after which Consul forgets deletions, and with them that there was a change."""


class _Reader(Protocol):
    def get(self, key: str) -> Entry | None: ...
    def list(self, prefix: str) -> Listing: ...


def one_by_one(store: _Reader, names: Sequence[str]) -> Mapping[str, Entry]:
    """``Store.get_all`` for stores that are asked at no cost."""
    found: dict[str, Entry] = {}
    for name in names:
        entries = store.list(name).entries if name.endswith("/") else (store.get(name),)
        found |= {entry.key: entry for entry in entries if entry is not None}
    return found
