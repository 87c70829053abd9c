"""The stores that a pass is tested on: what is stored, and what each process connects with."""

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from reconciler.model.events import Event
from reconciler.store.interface import Store
from reconciler.store.memory import MemorySpace, MemoryStore
from reconciler.store.sqlite import SqliteStore
from tests.support.sync import make_ours

Connect = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Callable[[], Connect]]:
    """Makes empty stores (with sentinels); each is a function that makes connections to it."""
    stores: list[Store] = []
    made = 0

    def new() -> Connect:
        nonlocal made
        made += 1
        space, path = MemorySpace(), tmp_path / f"store-{made}.db"

        def connect() -> Store:
            store: Store = MemoryStore(space) if request.param == "memory" else SqliteStore(path)
            stores.append(store)
            return store

        make_ours(connect())
        return connect

    yield new
    for store in stores:
        store.close()


@pytest.fixture
def store(new_store: Callable[[], Connect]) -> Store:
    """A connection to an empty store with sentinels."""
    return new_store()()


@pytest.fixture
def events() -> list[Event]:
    """What was emitted."""
    return []
