"""Waits for a key or prefix to move: what a ``Waker`` calls. For loops."""

from collections.abc import Callable
from typing import Final

from reconciler.store.interface import Store

WATCH_S: Final = 30.0


class Watch:
    """Each call blocks until something below the prefix may have changed (True), or the time is over (False)."""

    def __init__(self, store: Store, prefix: str, moved: Callable[[], None] | None = None) -> None:
        """``moved`` is called before it returns True."""
        self._store = store
        self._prefix = prefix
        self._moved = moved
        self._index = 0

    def __call__(self) -> bool:
        index = self._store.wait(self._prefix, self._index, WATCH_S)
        is_news = index != self._index or index == 0
        self._index = index
        if is_news and self._moved is not None:
            self._moved()
        return is_news
