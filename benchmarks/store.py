"""What one process gets out of each store: single reads and writes, and transactions as a scheduler writes them.

Consul is a dev agent of its own (``.cache/consul/consul`` or ``CONSUL_BIN``), on free ports; left out if there is none.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import measure
from reconciler.store.connect import open_store
from reconciler.store.interface import Committed, Put, Store
from tests.support.consul import FETCHED, ConsulAgent

VALUE = b'{"filler":"' + b"x" * 480 + b'"}'
SINGLES = 100
OPERATIONS = 60


@contextlib.contextmanager
def stores(folder: Path) -> Iterator[list[Store]]:
    """One of each kind."""
    opened = [open_store("memory:", environ={}), open_store(f"sqlite://{folder}/store.db", environ={})]
    agent = ConsulAgent(folder / "consul") if os.environ.get("CONSUL_BIN") or FETCHED.is_file() else None
    if agent is not None:
        agent.start()
        opened.append(agent.store())
    try:
        yield opened
    finally:
        for store in opened:
            store.close()
        if agent is not None:
            agent.stop()


def bench(store: Store) -> None:
    """The figures of one store."""
    counter = iter(range(10**9))

    def value() -> bytes:
        return VALUE + str(next(counter)).encode()

    def write() -> None:
        for number in range(SINGLES):
            assert store.commit([Put(f"bench/{number}", value())]) == Committed()

    def read() -> None:
        for number in range(SINGLES):
            assert store.get(f"bench/{number}") is not None

    def transaction() -> None:
        assert store.commit([Put(f"bench/{number}", value()) for number in range(OPERATIONS)]) == Committed()

    print(f"store: {store.url.split(':', 1)[0]}")
    measure("write single keys of 500 B", write, count=SINGLES, unit="writes")
    measure("read single keys", read, count=SINGLES, unit="reads")
    measure(f"a transaction of {OPERATIONS} writes", transaction, count=OPERATIONS, unit="writes")
    measure(f"list {SINGLES} keys", lambda: store.list("bench/"), count=SINGLES, unit="keys")


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder, stores(Path(folder)) as opened:
        for store in opened:
            bench(store)


if __name__ == "__main__":
    main()
