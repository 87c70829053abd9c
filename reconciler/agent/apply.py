"""Carries out what the planner asked of the executors, in parallel, and reports how it ended. Called by ``loop``.

Fetching, starting and stopping have threads of their own: a slow image must not keep others from starting, nor a task
that does not want to end keep others from stopping. Nothing is decided here.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from reconciler.agent.actions import Action, Cancel, CancelFetch, Fetch, Start, TakeDown
from reconciler.agent.host_view import Fetched, Outcome, Progress, Report
from reconciler.agent.lifecycle import TaskKey, Work
from reconciler.agent.secrets import Secrets, SecretsAway, hidden
from reconciler.errors import ExecutorError
from reconciler.executors import host_ports
from reconciler.executors.interface import Executor, Spec, StartCancelled, unless_cancelled
from reconciler.model.manifests import Container
from reconciler.model.ports import HostPort
from reconciler.runtime.clock import Clock
from reconciler.runtime.workers import Workers

log = logging.getLogger(__name__)

STARTS_PER_CORE: Final = 2
FETCHES_PER_CORE: Final = 2
STOPS_PER_CORE: Final = 16
"""Stops mostly wait for a process to end; starts keep the engine busy."""
MOST_TIMELY_STOPS: Final = 1024


class ExecutorAway(ExecutorError):
    """The engine went away in the middle of it. It is no fault of the task."""


class Hands:
    """The threads that start and stop."""

    def __init__(
        self,
        executors: Mapping[str, Executor],
        report: Callable[[Report], None],
        clock: Clock,
        *,
        permit: Callable[[Container], None],
        secrets: Secrets,
        before_stop: Callable[[], object] = lambda: None,
        parallel_starts: int = 0,
    ) -> None:
        """``report`` is called from several threads. ``permit`` raises for what this host's policy does not allow.
        ``before_stop`` is called first by each stop that has time.
        """
        cores = os.cpu_count() or 1
        self._executors = executors
        self._secrets = secrets
        self._report = report
        self._clock = clock
        self._permit = permit
        self._before_stop = before_stop
        self._fetches = Workers("fetch", FETCHES_PER_CORE * cores)
        self._starts = Workers("start", parallel_starts or STARTS_PER_CORE * cores)
        self._stops = Workers("stop", STOPS_PER_CORE * cores)
        # a thread for each: they are over in time, however many there are and whatever else is stopped
        self._timely_stops = Workers("timely stop", MOST_TIMELY_STOPS)
        # of their own, so that no start waits for what is needed later
        self._preparations = Workers("prepare", FETCHES_PER_CORE * cores)
        self._lock = threading.Lock()
        self._cancelled: set[TaskKey | str] = set()
        """The starts, and the preparations by their names."""

    def carry_out(self, actions: Sequence[Action]) -> None:
        """Begin all of it; returns at once."""
        plain_starts = []
        for action in actions:
            match action:
                case Start():
                    with self._lock:
                        self._cancelled.discard(action.key)
                    if action.fetches:
                        self._fetches.submit(partial(self._fetch, action))
                    else:
                        plain_starts.append(partial(self._start, action))
                case Fetch():
                    with self._lock:
                        self._cancelled.discard(action.name)
                    self._preparations.submit(partial(self._prepare, action))
                case TakeDown():
                    stops = self._stops if action.ends_by is None else self._timely_stops
                    stops.submit(partial(self._take_down, action))
                case Cancel():
                    with self._lock:
                        self._cancelled.add(action.key)
                case CancelFetch():
                    with self._lock:
                        self._cancelled.add(action.name)
        self._starts.submit(*plain_starts)

    def close(self, timeout_s: float) -> None:
        """Begin nothing more, and wait a little for what is under way. What is cut is found again by the next agent."""
        deadline = self._clock.monotonic() + timeout_s
        for workers in (self._fetches, self._starts, self._stops, self._timely_stops, self._preparations):
            if not workers.close(max(0.0, deadline - self._clock.monotonic())):
                log.warning("some starts or stops were still under way; the next agent goes on from what it finds")

    def _is_cancelled(self, key: TaskKey | str) -> bool:
        with self._lock:
            return key in self._cancelled

    def _fetch(self, action: Start) -> None:
        def fetch() -> bool:
            for spec in action.specs:
                if self._is_cancelled(action.key):
                    return False
                try:
                    self._fetch_one(spec, lambda: self._is_cancelled(action.key))
                except StartCancelled:
                    return False
            return not self._is_cancelled(action.key)

        if self._ended(action.key, Work.START, fetch, last=False):
            self._report(Progress(action.key))
            self._starts.submit(lambda: self._start(action))

    def _start(self, action: Start) -> None:
        def start() -> bool:
            # of all of them first: one that can't be had must not end what another has begun
            specs = [
                msgspec.structs.replace(each, values=self._secrets.values(each.container)) for each in action.specs
            ]
            for port in action.ports:
                host_ports.require_free(port, self._publisher)
            for spec in specs:
                if self._is_cancelled(action.key):
                    return False
                self._permit(spec.container)
                try:
                    with self._executor_for(spec) as executor:
                        executor.start(spec, lambda: self._is_cancelled(action.key))
                except StartCancelled:
                    return False
            return True

        self._ended(action.key, Work.START, start, last=True)

    def _publisher(self, port: HostPort) -> str | None:
        """The container that has a port, of whichever executor."""
        found = (executor.publisher(port) for executor in self._executors.values())
        return next((name for name in found if name), None)

    @contextlib.contextmanager
    def _executor_for(self, spec: Spec) -> Iterator[Executor]:
        """Errors are shown to people, and may repeat what an engine or a script was given."""
        executor = self._executors[spec.container.type]
        try:
            yield executor
        except StartCancelled:
            raise
        except ExecutorError as error:
            hint = hidden(error.hint, spec.values) if error.hint else None
            is_away = not error.permanent and executor.unavailable() is not None
            kind = ExecutorAway if is_away else ExecutorError
            raise kind(hidden(error.message, spec.values), hint=hint, permanent=error.permanent) from None

    def _take_down(self, action: TakeDown) -> None:
        def take_down() -> bool:
            if action.ends_by is None:
                self._before_stop()
            for position, target in enumerate(action.targets):
                executor = self._executors[target.kind]
                patience_s = action.patience_s(position, self._clock.monotonic())
                executor.stop(target.ref, target.container, patience_s, strict=action.ends_by is not None)
                if action.remove:
                    executor.remove(target.ref)
            return True

        self._ended(action.key, Work.TAKE_DOWN, take_down, last=True)

    def _prepare(self, action: Fetch) -> None:
        error, permanent, cancelled = None, False, False
        is_cancelled = partial(self._is_cancelled, action.name)
        try:
            for spec in action.specs:
                unless_cancelled(is_cancelled)
                self._secrets.values(spec.container)  # raises for one that can't be had
                self._fetch_one(spec, is_cancelled)
        except StartCancelled:
            cancelled = True
        except ExecutorError as failure:
            error, permanent = _told(failure), failure.permanent
        except Exception as failure:  # as for a task
            error = _unforeseen(failure, f"the preparation of {action.name}")
        digest = action.specs[0].digest
        self._report(Fetched(name=action.name, digest=digest, error=error, permanent=permanent, cancelled=cancelled))

    def _fetch_one(self, spec: Spec, is_cancelled: Callable[[], bool]) -> None:
        self._permit(spec.container)
        with self._executor_for(spec) as executor:
            executor.prepare(spec, is_cancelled)

    def _ended(self, key: TaskKey, work: Work, job: Callable[[], bool], *, last: bool) -> bool:
        """Run ``job`` and report its end, unless it went well and is not the ``last`` of this work."""
        error, permanent, waits, whole = None, False, False, False
        try:
            whole = job()
        except ExecutorError as failure:
            error, permanent, waits = _told(failure), failure.permanent, isinstance(failure, ExecutorAway | SecretsAway)
        except Exception as failure:  # a defect in one executor must not leave its task busy for ever
            error = _unforeseen(failure, f"{work} of {key.id}")
        if error is None and whole and not last:
            return True
        at = self._clock.monotonic()
        cancelled = error is None and not whole
        self._report(
            Outcome(key=key, work=work, at=at, error=error, permanent=permanent, waits=waits, cancelled=cancelled)
        )
        return False


def _told(failure: ExecutorError) -> str:
    return f"{failure.message} ({failure.hint})" if failure.hint else failure.message


def _unforeseen(failure: Exception, what: str) -> str:
    log.error("%s failed on something unforeseen", what, exc_info=failure)
    return f"unforeseen: {type(failure).__name__}: {failure}"
