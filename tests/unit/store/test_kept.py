"""What is kept of a listing is believed for a while only."""

from types import SimpleNamespace

import pytest

from reconciler.store import kept
from reconciler.store.interface import Listing, Put
from reconciler.store.memory import MemorySpace, MemoryStore


class Counting(MemoryStore):
    """Counts what is read whole; what is read again costs nothing."""

    whole = 0

    def list(self, prefix: str) -> Listing:
        self.whole += 1
        return super().list(prefix)

    def list_again(self, prefix: str, known: Listing) -> Listing:
        return super().list(prefix)


def test_what_changes_all_the_time_is_still_read_whole_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(kept, "time", SimpleNamespace(monotonic=lambda: now))
    store = Counting(MemorySpace())
    listing = kept.KeptListing(store, "state/status/")
    for second in range(100):
        now = float(second)
        store.commit([Put("state/status/h1", str(second).encode())])
        assert [entry.value for entry in listing.read({})] == [str(second).encode()]
    assert store.whole == 2, "at the start, and after a minute"
