"""Knows at once when a container starts or dies: the engine's events, and plain looking where they can't be had."""

import contextlib
import json
import logging
import threading
from collections.abc import Sequence
from typing import Final

from reconciler.errors import ExecutorError
from reconciler.executors.docker_engine import Engine

log = logging.getLogger(__name__)

_LOOK_S: Final = 2.0


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
        self._changed: set[str] = set()

    def wait(self, timeout_s: float) -> bool:
        """Block until something may have happened (True), or the time is over (False)."""
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._follow, name="docker-events", daemon=True)
                self._thread.start()
        if not self._news.wait(timeout_s):
            return False
        self._news.clear()
        return not self._closed.is_set()

    def take_changed(self) -> set[str]:
        """Ids of containers that events came about since the last call.

        The engine tells of a death before its list shows it, so these are to be looked at one by one.
        """
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def close(self) -> None:
        """End the thread; a ``wait`` returns. The engine is to be closed before."""
        self._closed.set()
        self._news.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(_LOOK_S)

    def _follow(self) -> None:
        failures, before = 0, self._states()
        while not self._closed.is_set():
            try:
                for line in self._engine.events(self._filters):
                    failures = 0
                    if line:
                        with self._lock:
                            self._changed.add(json.loads(line)["Actor"]["ID"])
                    # An empty one says that the stream is open: whatever happened before, nobody listened.
                    self._news.set()
            except ExecutorError as error:
                failures += 1
                log.debug("%s", error.message)
                now = self._states()  # None: the engine is gone, which has to be seen, too
                if now != before:
                    before = now
                    self._news.set()
            self._closed.wait(min(_LOOK_S, 0.05 * 2 ** min(failures, 10)))

    def _states(self) -> list[tuple[str, str]] | None:
        with contextlib.suppress(ExecutorError):
            return sorted((each.id, each.state) for each in self._engine.containers(self._labels))
        return None
