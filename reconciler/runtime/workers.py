"""A bounded number of daemon threads that carry out jobs in the order given, the urgent ones first.

Unlike ``concurrent.futures`` it never keeps a process alive: a loop that stops does not wait for a job that hangs.
Threads are made when there is work that waits for one. Used by the agent (starts, stops) and by health checks.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from reconciler.runtime.fair_queue import FairQueue

log = logging.getLogger(__name__)

Job: TypeAlias = Callable[[], None]


class Workers:
    """Runs jobs in up to ``most`` threads. A job that raises is logged and forgotten: jobs report by themselves."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._jobs: FairQueue[Job] = FairQueue()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, *jobs: Job, is_urgent: bool = False) -> None:
        """Carry out each of ``jobs`` as soon as a thread is free; after ``close`` they are dropped."""
        with self._changed:
            if self._closed:
                return
            for job in jobs:
                self._jobs.put(job, is_urgent=is_urgent)
            self._changed.notify(len(jobs))
        # each begins before it is asked whether one more is needed: not for what is done in a moment
        while self._start_one():
            pass

    def _start_one(self) -> bool:
        """Start one more thread, unless there are enough for what waits, or as many as there may be."""
        with self._changed:
            if self._idle >= len(self._jobs) or self._threads >= self._most:
                return False
            self._threads += 1
            self._idle += 1
            name = f"{self._name}-{self._threads}"
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError as error:  # the machine gives no more threads; whoever submits must not end of it
            with self._changed:
                self._threads -= 1
                self._idle -= 1
            log.warning("%s: no more threads for now, so what waits begins later: %s", self._name, error)
            return False
        return True

    def close(self, timeout_s: float = 0.0) -> bool:
        """Drop jobs that have not begun and wait for the others; False: some were still running after that time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
            while self._threads:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(left_s)
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._jobs or self._closed):
                    self._changed.wait()
                self._idle -= 1
                if not self._jobs:
                    self._threads -= 1
                    self._changed.notify_all()
                    return
                job = self._jobs.take()
            try:
                job()
            except Exception:  # a job that breaks must not cost a thread
                log.exception("%s: a job failed on something unforeseen", self._name)
            with self._changed:
                self._idle += 1
