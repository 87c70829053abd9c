"""Where the planner's knowledge comes from: the store, the executors, the health provider. Called by ``loop``.

Each source is looked at in a loop of its own, so that one that hangs delays no other, and keeps its newest result as an
immutable value. A look that fails changes nothing but ``problem``: what was known stays known.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from reconciler.agent.host_view import (
    Evidence,
    ExecutorView,
    Finding,
    HealthEntry,
    HealthView,
    IssuedView,
    Unusable,
)
from reconciler.agent.lifecycle import TaskKey
from reconciler.agent.pace import Rest
from reconciler.agent.settings import AgentSettings
from reconciler.errors import ExecutorError, StoreDenied, StoreError, StoreNotOurs
from reconciler.executors.interface import Executor, Owner
from reconciler.health.interface import HealthProvider, Registration
from reconciler.model import codec, keys
from reconciler.model.manifests import TaskDefinition
from reconciler.model.preparation import Preparation
from reconciler.model.task import HostStatus, Task
from reconciler.runtime.clock import Clock
from reconciler.store import sentinel
from reconciler.store.interface import Entry, Store

_MOST_DEFINITIONS: Final = 4096
_ISSUED_RESTS: Final = 50.0
_LEAST_ISSUED_REST_S: Final = 0.05
HEALTH_GRACE_S: Final = 3.0
"""How long readings stand when no new ones can be had; then they are unknown."""


class IssuedSource:
    """What is issued to this host, and what the single keys say about tasks that the listing lacks."""

    def __init__(
        self,
        store: Store,
        owner: Owner,
        settings: AgentSettings,
        clock: Clock,
        *,
        recalled: IssuedView | None = None,
        definitions: Mapping[str, TaskDefinition] | None = None,
    ) -> None:
        """``recalled``: what stands until the store has answered once. ``definitions``, by digest, are known already,
        also of tasks that are not issued any more.
        """
        self._store = store
        self._owner = owner
        self._host = settings.host
        self._prefix = keys.tasks_of_host(settings.host)
        self._preparations = keys.preparations_of_host(settings.host)
        self._clock = clock
        self._watched = 0
        self._rest = Rest(clock, times=_ISSUED_RESTS, least_s=_LEAST_ISSUED_REST_S, most_s=settings.look_interval_s)
        self._look_took_s = 0.0
        self._status_index = 0
        self._went_back_at: float | None = None
        self._definitions: dict[str, TaskDefinition | Unusable] = {**(definitions or {})}
        self.view = recalled or IssuedView()
        self._own = (keys.status(settings.host), *sentinel.SENTINELS)
        self.held: frozenset[TaskKey] = frozenset()
        """Issues of tasks that are on this host; the loop sets it."""
        self.published: HostStatus | None = None
        """What the predecessor of this process last published."""

    def look(self) -> None:
        """Read everything anew. Raises StoreError; then what was known stands."""
        began = self._clock.monotonic()
        try:
            self.view = self._read()
        except StoreError as error:
            not_ours = self.view.not_ours or isinstance(error, StoreNotOurs)
            self.view = msgspec.structs.replace(self.view, problem=error.message, not_ours=not_ours)
            raise
        finally:
            self._look_took_s = self._clock.monotonic() - began

    def wait(self, timeout_s: float) -> bool:
        """Block until something may have been issued or taken back.

        The first change is told at once, what follows soon after it together: so hosts that get many tasks look at them
        a few times, not once for each, the fewer times the longer the store takes to answer.
        """
        time.sleep(self._rest.left_s)
        before = self._watched
        self._watched = self._store.wait(self._prefix, before, timeout_s)
        self._rest.begin(self._look_took_s)
        return self._watched != before

    def note_status(self, index: int) -> None:
        """The status of this host was written at this index. Any thread."""
        self._status_index = max(self._status_index, index)

    def note_back(self, index: int) -> None:
        """The status of this host is older than it was, or gone (0): the store went back. Any thread."""
        self._went_back_at = self._clock.monotonic()
        self._status_index = index

    def _read(self) -> IssuedView:
        began, status_index = self._clock.monotonic(), self._status_index
        entries = self._store.get_all((self._prefix, *self._own))
        if not self.view.known:
            self.published = _status(entries.get(keys.status(self._host)))
        asked = [_preparation(entry) for key, entry in entries.items() if key.startswith(self._preparations)]
        preparations = {f"{each.cluster}/{each.service}": each for each in asked if each and each.host == self._host}
        records = [_task(entry) for key, entry in entries.items() if keys.is_task_by_host(key)]
        tasks = {task.id: task for task in records if task and task.host == self._host}
        findings = {
            key: self._find(key) for key in self.held if key.id not in tasks or tasks[key.id].issue != key.issue
        }
        if findings:
            # again, so that a store that was wiped or restored meanwhile makes none of them count
            status_index = self._status_index
            entries = self._store.get_all(self._own)
        self._look_for_a_restore(status_index, entries.get(keys.status(self._host)))
        found = sentinel.read_from(self._store, entries)
        if found != self._owner.store_id:
            raise StoreNotOurs(
                f"{self._store.url} is another store now ({found[:8]}, not {self._owner.store_id[:8]})",
                hint="what runs is left as it is; restart the agent if it should work for the new store",
            )
        issued = [*tasks.values(), *(finding.record for finding in findings.values() if finding.record)]
        return IssuedView(
            began=began,
            tasks=tasks,
            problem=None,
            went_back_at=self._went_back_at,
            definitions=self._definitions_of([*issued, *preparations.values()]),
            findings=findings,
            preparations=preparations,
        )

    def _look_for_a_restore(self, known: int, entry: Entry | None) -> None:
        """A store that was restored has an older status of this host than we had seen before we read it, or none.

        The listing's own index proves nothing: Consul's goes back whenever it forgets deletions (after 15 minutes).
        """
        index = entry.index if entry is not None else 0
        if index < known:
            self.note_back(index)
        else:
            self.note_status(index)

    def _find(self, key: TaskKey) -> Finding:
        """The one consistent read that may stop a task (rule 5)."""
        at = self._clock.monotonic()
        try:
            entry = self._store.get(keys.task_by_id(key.id))
        except StoreError as error:
            return Finding(Evidence.UNKNOWN, at, error.message)
        if entry is None:
            return Finding(Evidence.NOT_ISSUED, at, "it is not issued any more")
        task = _task(entry)
        if task is None:
            return Finding(Evidence.UNKNOWN, at, f"{entry.key} can't be read")
        if task.host != self._host:
            return Finding(Evidence.NOT_ISSUED, at, f"it is issued to host {task.host}")
        if task.issue != key.issue:
            return Finding(Evidence.NOT_ISSUED, at, f"issue {task.issue} of it takes its place")
        return Finding(Evidence.ISSUED, at, "it is still issued", task)

    def _definitions_of(self, tasks: Sequence[Task | Preparation]) -> Mapping[str, TaskDefinition | Unusable]:
        """Definitions by digest; what was read once is never read again."""
        wanted = {}
        for task in tasks:
            known = self._definitions.get(task.digest)
            if known is None or (isinstance(known, Unusable) and not known.permanent):
                wanted[task.digest] = task
        if wanted:
            self._definitions |= self._read_definitions(wanted)
        while len(self._definitions) > _MOST_DEFINITIONS:
            del self._definitions[next(iter(self._definitions))]
        return dict(self._definitions)

    def _read_definitions(self, wanted: Mapping[str, Task | Preparation]) -> dict[str, TaskDefinition | Unusable]:
        """The definitions of tasks, by digest: in one request, or one by one when some are denied."""
        if len(wanted) > 1:
            with contextlib.suppress(StoreDenied):
                entries = self._store.get_all(sorted({_definition_key(task) for task in wanted.values()}))
                return {
                    digest: _definition(task, entries.get(_definition_key(task))) for digest, task in wanted.items()
                }
        found: dict[str, TaskDefinition | Unusable] = {}
        for digest, task in wanted.items():
            try:
                found[digest] = _definition(task, self._store.get(_definition_key(task)))
            except StoreDenied as error:
                found[digest] = Unusable(error.message, permanent=False)
        return found


class ExecutorSource:
    """What one executor has."""

    def __init__(self, executor: Executor, clock: Clock, is_the_agent: Callable[[], bool]) -> None:
        """``is_the_agent``: whether this process is the host's agent, and does not only look (a dry run)."""
        self._executor = executor
        self._clock = clock
        self._is_the_agent = is_the_agent
        self._taken_over = False
        self.view = ExecutorView()

    def look(self) -> None:
        """Look at everything. Raises ExecutorError when an executor that is there can't be seen."""
        began = self._clock.monotonic()
        unavailable = self._executor.unavailable()
        try:
            observed = tuple(self._executor.observe())
            if not self._taken_over and self._is_the_agent():
                self._executor.take_over(observed)
                self._taken_over = True
        except ExecutorError as error:
            problem = unavailable or error.message
            self.view = msgspec.structs.replace(self.view, problem=problem, unavailable=problem)
            if unavailable is None:
                raise
        else:
            self.view = ExecutorView(began=began, observed=observed, problem=None, unavailable=unavailable)

    def wait(self, timeout_s: float) -> bool:
        """Block until something may have started or ended."""
        return self._executor.wait(timeout_s)


class HealthSource:
    """What the checks say, and who can be found by clients."""

    def __init__(self, provider: HealthProvider, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock
        self._read_at = clock.monotonic()
        self.view = HealthView()
        self.wanted: tuple[Mapping[str, Registration], frozenset[str]] | None = None
        """Who should be registered, and who is to be left as it is; None while nobody knows. The loop sets it."""

    def look(self) -> None:
        """Bring registrations in line, then read. Raises StoreError."""
        if self.wanted is None:
            return
        wanted, keep = self.wanted
        try:
            self._bring_in_line(wanted, keep)
            readings = self._provider.readings()
        except StoreError:
            if self._clock.monotonic() - self._read_at > HEALTH_GRACE_S:
                self.view = msgspec.structs.replace(self.view, entries={})
            raise
        self._read_at = self._clock.monotonic()
        entries = {
            task_id: HealthEntry(registration.task.issue, registration.attempt, readings[task_id])
            for task_id, registration in wanted.items()
            if task_id in readings
        }
        self.view = msgspec.structs.replace(self.view, entries=entries)

    def wait(self, timeout_s: float) -> bool:
        """Block until a reading may have changed."""
        return self._provider.wait(timeout_s)

    def _bring_in_line(self, wanted: Mapping[str, Registration], keep: frozenset[str]) -> None:
        """Those who leave first: a stop waits for that."""
        for task_id in sorted((self.view.registered or frozenset()) - wanted.keys() - keep):
            self._provider.withdraw(task_id)
            registered = (self.view.registered or frozenset()) - {task_id}
            self.view = msgspec.structs.replace(self.view, registered=registered)
        self._provider.synchronise(wanted, keep)
        self.view = msgspec.structs.replace(self.view, registered=frozenset(wanted) | keep)


def _definition_key(task: Task | Preparation) -> str:
    return keys.task_definition(task.task_name, task.task_version)


def _definition(task: Task | Preparation, entry: Entry | None) -> TaskDefinition | Unusable:
    """The definition of a task from what is stored under its name."""
    name = f"definition {task.task_name} version {task.task_version}"
    if entry is None:
        return Unusable(f"{name} is not in the store", permanent=False)
    try:
        definition = codec.decode(entry.value, TaskDefinition, entry.key)
    except codec.Undecodable as error:
        return Unusable(f"this agent does not understand it: {error.message}", permanent=True)
    if codec.digest(definition) != task.digest:
        return Unusable(f"{name} has been changed since the task was issued", permanent=True)
    return definition


def _status(entry: Entry | None) -> HostStatus | None:
    try:
        return codec.decode(entry.value, HostStatus, entry.key) if entry else None
    except codec.Undecodable:
        return None


def _preparation(entry: Entry) -> Preparation | None:
    """The record, or None if it can't be read: then nothing is fetched, and its scheduler says what it waits for."""
    try:
        return codec.decode(entry.value, Preparation, entry.key)
    except codec.Undecodable:
        return None


def _task(entry: Entry) -> Task | None:
    """The record, or None if it can't be read: then it proves nothing, in either direction."""
    try:
        return codec.decode(entry.value, Task, entry.key)
    except codec.Undecodable:
        return None
