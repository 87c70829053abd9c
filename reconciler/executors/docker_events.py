"""Knows at once when a container starts or dies: the engine's events, and plain looking where they can't be had."""

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from reconciler.errors import ExecutorError
from reconciler.executors.docker_engine import Engine

log = logging.getLogger(__name__)

_LOOK_S: Final = 2.0
_AFTER_S: Final = (0.3, 1.5)
"""The engine tells of a death before its own list shows it, so one looks again a little later."""


class News:
    """Follows the events of containers with all of ``labels`` in a thread of its own, from the first ``wait`` on."""

    def __init__(self, engine: Engine, labels: Sequence[str]) -> None:
        self._engine = engine
        self._labels = list(labels)
        self._filters: Final = {"type": ["container"], "event": ["start", "die"], "label": self._labels}
        self._news = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._again_at: list[float] = []

    def wait(self, timeout_s: float) -> bool:
        """Block until something may have happened (True), or the time is over (False)."""
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._follow, name="docker-events", daemon=True)
                self._thread.start()
        now = time.monotonic()
        if self._news.wait(min([timeout_s, *(at - now for at in self._again_at[:1])])):
            self._news.clear()
            now = time.monotonic()
            self._again_at = [now + after for after in _AFTER_S]
            return not self._closed.is_set()
        if self._again_at and time.monotonic() >= self._again_at[0]:
            del self._again_at[0]
            return True
        return False

    def close(self) -> None:
        """End the thread; a ``wait`` returns. The engine is to be closed before."""
        self._closed.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(_LOOK_S)

    def _follow(self) -> None:
        failures, before = 0, self._states()
        while not self._closed.is_set():
            try:
                for _ in self._engine.events(self._filters):
                    failures = 0
                    # The first one says that the stream is open: whatever happened before, nobody listened.
                    self._news.set()
            except ExecutorError as error:
                failures += 1
                log.debug("%s", error.message)
                now = self._states()
                if now is not None and now != before:
                    before = now
                    self._news.set()
            self._closed.wait(min(_LOOK_S, 0.05 * 2 ** min(failures, 10)))

    def _states(self) -> list[tuple[str, str]] | None:
        with contextlib.suppress(ExecutorError):
            return sorted(self._engine.containers(self._labels))
        return None
