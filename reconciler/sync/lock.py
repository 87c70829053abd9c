"""The lock of a source, for those who need it for a moment: ``apply``, ``sync --once``.

It stands apart from ``loop``, which keeps it for as long as a daemon lives, so that a command starts without what only
daemons need (metrics, HTTP).
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Final

import msgspec

from reconciler.errors import StoreError, StoreUnreachable
from reconciler.model import keys
from reconciler.runtime.clock import Clock
from reconciler.store import lease, sentinel
from reconciler.store.interface import Held, Store

LOCK_WAIT_S: Final = 30.0


@contextlib.contextmanager
def holding(store: Store, source: str, *, wait_s: float, clock: Clock) -> Iterator[Held]:
    """Hold a source's lock for a moment, as soon as it is free.

    Raises:
        StoreError: it is not free within ``wait_s``, or there is no session to hold it with.
        StoreNotOurs: the sentinels are not there.
    """
    sentinel.read(store)  # says at once why nothing can be done here
    key = keys.sync_lock(source)
    deadline = clock.monotonic() + wait_s
    keeper = lease.SessionKeeper(store, f"sync {source}", clock=clock)
    keeper.start()
    try:
        if not keeper.wait_open(wait_s):
            raise StoreUnreachable(f"{store.url}: no session could be opened within {wait_s:g} s")
        index = 0
        while True:
            session = keeper.session_id
            if session is not None and lease.take(store, key, who(), session):
                break
            left_s = deadline - clock.monotonic()
            if left_s <= 0:
                raise StoreError(
                    f"another process has been working on source {source} for {wait_s:g} s",
                    hint=f"Try again later; the lock is {key} in {store.url}.",
                )
            index = store.wait(key, index, min(left_s, 1.0))
        yield lease.fence(key, session)
    finally:
        keeper.close()


def who() -> bytes:
    """What stands in a lock, for people who look at the store."""
    return msgspec.json.encode({"by": f"{socket.gethostname()}:{os.getpid()}"})
