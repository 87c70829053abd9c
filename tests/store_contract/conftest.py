"""The stores that the contract holds for: each test here runs against every one."""

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from reconciler.store.connect import open_store
from reconciler.store.interface import Store
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support.consul import ConsulAgent


class Backend:
    """A store that any number of processes connect to; here each connection stands for one."""

    def __init__(self, kind: str, connect: Callable[[], Store]) -> None:
        self.kind = kind
        self._connect = connect
        self._stores: list[Store] = []

    def connect(self) -> Store:
        """One more connection; closed after the test."""
        store = self._connect()
        self._stores.append(store)
        return store

    def close(self) -> None:
        for store in self._stores:
            store.close()


@pytest.fixture(params=["memory", "sqlite", pytest.param("consul", marks=pytest.mark.consul)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Backend]:
    """Each kind of store, empty."""
    connect: Callable[[], Store]
    if request.param == "memory":
        space = MemorySpace()
        connect = lambda: MemoryStore(space)  # noqa: E731 - one of three
    else:
        url = f"sqlite://{tmp_path}/store.db"
        if request.param == "consul":
            agent: ConsulAgent = request.getfixturevalue("consul")
            url = agent.new_url()
        connect = lambda: open_store(url, environ={})  # noqa: E731 - one of three
    made = Backend(request.param, connect)
    yield made
    made.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    """A connection to an empty store."""
    return backend.connect()


@pytest.fixture
def other(backend: Backend, store: Store) -> Store:
    """Another process's connection to the same store."""
    return backend.connect()
