"""Reads the store into a snapshot. The daemon keeps one ``Observer``; queries and ``--dry-run`` call ``observe``.

The order of the reads matters: heads and the placement sequence come before the tasks, so that a transaction that lands
in between makes ours fail; health comes last, so that it is never older than our own last transaction (rule 8); the
marks of the sources come first and once more at the end, so that a mix of revisions is noticed (rule 2). The sentinels
come last of all, so that whatever was deleted together with them is not taken for what people want.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

import msgspec

from reconciler.errors import StoreNotOurs, StoreUnreachable
from reconciler.model import codec, keys
from reconciler.model.manifests import Cluster, Host, Service, TaskDefinition
from reconciler.model.moved import to_compare
from reconciler.model.overrides import ClusterOverride, HostOverride, ServiceOverride
from reconciler.model.preparation import Preparation
from reconciler.model.source_state import SourceState
from reconciler.model.task import ClusterHead, HostState, HostStatus, PlacementSeq, Rollout, Task
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.scheduler import evidence
from reconciler.scheduler.cluster_view import ClusterView, Defined
from reconciler.scheduler.overrides import Overrides
from reconciler.scheduler.snapshot import Reading, Snapshot, scene, view_of
from reconciler.scheduler.timing import Timing
from reconciler.store import sentinel
from reconciler.store.interface import CommitResult, Entry, Operation, Store
from reconciler.store.kept import KeptListing

RESCHEDULE_AFTER_S = 30.0
ATTEMPTS = 5
FIRST = (keys.SOURCES, keys.CLUSTER_HEADS, keys.PLACEMENT, keys.ROLLOUTS, keys.OVERRIDES)

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R")


class Observer:
    """Reads again and again; decodes only what changed, and times what only time decides."""

    def __init__(
        self, store: Store, *, clock: Clock | None = None, reschedule_after_s: float = RESCHEDULE_AFTER_S
    ) -> None:
        self._store = store
        self._clock = clock or SystemClock()
        self._reschedule_after_s = reschedule_after_s
        self._decoded = _Decoded()
        self._tasks = KeptListing(store, keys.TASKS_BY_ID)
        self._statuses = KeptListing(store, keys.STATUSES)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget for how long anything has been as it is (rule 6: after a failover)."""
        self._timing = Timing()

    def read(self) -> Reading:
        """One reading of everything.

        Raises:
            StoreError: the store could not be read; nothing may be concluded.
        """
        for _ in range(ATTEMPTS):
            reading = self._read()
            if reading is not None:
                return reading
        raise StoreUnreachable("what the sources applied changed during each of several readings")

    def note(self, operations: Sequence[Operation], outcome: CommitResult) -> None:
        """Take in a transaction of our own, so that the next reading need not read all tasks because of it."""
        self._tasks.note(operations, outcome)

    def _read(self) -> Reading | None:
        store = self._store
        first = store.get_all(FIRST)
        marks, heads, placement, rollouts, overrides = (_under(first, name) for name in FIRST)
        tasks = self._tasks.read({entry.key: entry.index for entry in (*heads, *placement)})
        preparations = [entry for entry in rollouts if keys.is_preparation(entry.key)]
        plain = [entry for entry in rollouts if not keys.is_preparation(entry.key)]
        config = store.list(keys.CONFIG).entries
        hosts = store.list(keys.HOST_STATES).entries
        statuses = self._statuses.read({})
        last = store.get_all((keys.SOURCES, *sentinel.SENTINELS))
        indexes = {entry.key: entry.index for entry in marks}
        if indexes != {entry.key: entry.index for entry in _under(last, keys.SOURCES)}:
            return None
        doubt = None
        try:
            sentinel.read_from(store, last)
        except StoreNotOurs as error:
            doubt = error.message
        read = self._decoded
        sources = {each.source: each for each in read.all(marks, keys.SOURCES, SourceState)}
        moved = next((entry.index for entry in config if entry.key == keys.MOVED), 0)
        unmoved = to_compare(indexes, sources, moved)
        placed = next(iter(read.all(placement, keys.PLACEMENT, PlacementSeq)), PlacementSeq(seq=0))
        snapshot = Snapshot(
            clusters={each.name: each for each in read.all(config, keys.CLUSTERS, Cluster)},
            services={each.name: each for each in read.all(config, keys.SERVICES, Service)},
            definitions={
                (each.definition.name, each.definition.version): each
                for each in read.all(config, keys.TASK_DEFINITIONS, TaskDefinition, _defined)
            },
            host_configs={each.name: each for each in read.all(config, keys.HOSTS, Host)},
            tasks=tuple(read.all(tasks, keys.TASKS_BY_ID, Task)),
            host_states={each.host: each for each in read.all(hosts, keys.HOST_STATES, HostState)},
            present=frozenset(entry.key.removeprefix(keys.HOST_STATES) for entry in hosts if entry.holder),
            statuses={each.host: each for each in read.all(statuses, keys.STATUSES, HostStatus)},
            heads={each.cluster: each for each in read.all(heads, keys.CLUSTER_HEADS, ClusterHead)},
            rollouts={(each.cluster, each.service): each for each in read.all(plain, keys.ROLLOUTS, Rollout)},
            preparations=tuple(map(_preparation, preparations)),
            sources=sources,
            overrides=Overrides(
                services={each.service: each for each in read.all(overrides, keys.SERVICE_OVERRIDES, ServiceOverride)},
                hosts={each.host: each for each in read.all(overrides, keys.HOST_OVERRIDES, HostOverride)},
                clusters={each.cluster: each for each in read.all(overrides, keys.CLUSTER_OVERRIDES, ClusterOverride)},
                now=self._clock.wall(),
            ),
            unreadable=read.end(),
            doubt=doubt or evidence.crowded(unmoved),
            reschedule_after_s=self._reschedule_after_s,
        )
        written = (*overrides, *heads, *rollouts, *tasks, *placement)
        return Reading(
            scene=scene(self._timing.read(snapshot, self._clock.monotonic())),
            placement_seq=placed.seq,
            indexes={entry.key: entry.index for entry in written},
            unmoved=unmoved,
        )


def observe(store: Store, cluster: str, scheduler: str | None = None) -> ClusterView:
    """One cluster as it is now, for whoever wants to show a plan: ``plan.plan(observe(store, name), now)``.

    Nothing is known here of how long hosts have been missing, so none counts as lost.
    """
    return view_of(Observer(store).read().scene, cluster, scheduler)


def _under(found: Mapping[str, Entry], prefix: str) -> list[Entry]:
    return [entry for key, entry in found.items() if key.startswith(prefix)]


def _preparation(entry: Entry) -> Preparation:
    """What a newer program wrote in a form of its own is nothing that we asked for: it is written anew, or goes."""
    try:
        return codec.decode(entry.value, Preparation, entry.key)
    except codec.Undecodable:
        cluster, service, host = entry.key.removeprefix(keys.ROLLOUTS).split("/", 2)
        return Preparation(cluster=cluster, service=service, host=host, task_name="", task_version=0, digest="")


def _defined(definition: TaskDefinition) -> Defined:
    return Defined(definition, codec.digest(definition))


class _Decoded:
    """Remembers what each value decoded to, so that a reading costs what changed."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[bytes, Any]] = {}
        self._next: dict[str, tuple[bytes, Any]] = {}
        self._problems: dict[str, str] = {}

    @overload
    def all(self, entries: Iterable[Entry], prefix: str, kind: type[T]) -> list[T]: ...
    @overload
    def all(self, entries: Iterable[Entry], prefix: str, kind: type[T], then: Callable[[T], R]) -> list[R]: ...
    def all(self, entries: Iterable[Entry], prefix: str, kind: type[T], then: Callable[[T], Any] | None = None) -> Any:
        """The values under ``prefix``, each made into something by ``then``; unreadable ones are left out and noted."""
        values = []
        for entry in entries:
            if not entry.key.startswith(prefix):
                continue
            known = self._last.get(entry.key)
            if known is None or known[0] != entry.value:
                try:
                    value = codec.decode(entry.value, kind, entry.key)
                except codec.Undecodable as error:
                    self._problems[entry.key] = error.message
                    continue
                known = (entry.value, then(value) if then else value)
            self._next[entry.key] = known
            values.append(known[1])
        return values

    def end(self) -> dict[str, str]:
        """Done with one reading; by key, why a value could not be read."""
        self._last, self._next = self._next, {}
        problems, self._problems = self._problems, {}
        return problems
