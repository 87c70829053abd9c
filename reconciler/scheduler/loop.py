"""The scheduler's daemon: hold the locks of our clusters, look, plan, act; again whenever something changes.

Started by wiring. Any number of processes may run; the one that holds ``schedulers/<cluster>`` schedules that cluster,
the others wait for the lock and read almost nothing.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from prometheus_client import Counter, Gauge

from reconciler.errors import StoreError, StoreUnreachable
from reconciler.model import codec, keys
from reconciler.model.events import Event, Level
from reconciler.model.manifests import Cluster
from reconciler.model.task import ClusterHead
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.runtime.runner import RESYNC_S, Loop, Waker
from reconciler.scheduler import announcements
from reconciler.scheduler.apply import Applier
from reconciler.scheduler.observe import RESCHEDULE_AFTER_S, Observer
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import Reading, clusters_of, view_of
from reconciler.scheduler.steps import Plan
from reconciler.store import lease
from reconciler.store.interface import Entry, Store

ACTIONS = Counter("reconciler_scheduler_actions_total", "Actions carried out: tasks issued, withdrawn", ["cluster"])
PENDING = Gauge("reconciler_scheduler_pending_tasks", "Tasks that no host has room for", ["cluster"])
HELD = Gauge("reconciler_scheduler_clusters_held", "Clusters that this process schedules")

STANDBY_S: Final = 5.0
"""How often a process without a lock asks for it, should the watch have missed that it is free."""
REFUSED_S: Final = 0.2
"""How long to wait after a transaction was refused, before the next look."""
RESTS: Final = 2.0
"""For how many times as long as the last pass took it rests, so that a busy fleet does not keep it looking."""
REST_MOST_S: Final = 2.0
SESSION_PATIENCE_S: Final = 10.0
WAIT_S: Final = 30.0

ALWAYS_WATCHED: Final = (keys.CLUSTERS, keys.SCHEDULER_LOCKS)
HOLDERS_WATCH: Final = (keys.CONFIG, keys.STATUSES, keys.HOST_STATES, keys.SOURCES, keys.OVERRIDES)


class Pass(msgspec.Struct):
    """What came of one look at all our clusters."""

    moved: bool = False
    refused: bool = False
    look_again_s: float = RESYNC_S


class SchedulerDaemon:
    """One scheduler process: a loop, its session, and the watches that wake it."""

    def __init__(
        self,
        store: Store,
        *,
        scheduler_name: str = "default",
        emit: Callable[[Event], None],
        clock: Clock | None = None,
        identity: str | None = None,
        session_ttl_s: float = lease.TTL_S,
        reschedule_after_s: float = RESCHEDULE_AFTER_S,
    ) -> None:
        """``identity`` is what the lock shows to people: which process schedules the cluster."""
        self._store = store
        self._name = scheduler_name
        self._emit = emit
        self._clock = clock or SystemClock()
        self._identity = identity or f"{socket.gethostname()}:{os.getpid()}"
        self._observer = Observer(store, clock=self._clock, reschedule_after_s=reschedule_after_s)
        self._loop = Loop("scheduler", self._step, clock=self._clock, on_stop=self._give_up_all)
        self._keeper = lease.SessionKeeper(
            store, "scheduler", session_ttl_s, clock=self._clock, on_change=self._loop.wake
        )
        self._wakers = [
            Waker(f"watch {prefix}", self._watch(prefix), [self._loop]) for prefix in (*ALWAYS_WATCHED, *HOLDERS_WATCH)
        ]
        self._session_id: str | None = None
        self._session_since = self._clock.monotonic()
        self._held: set[str] = set()
        self._last_moved = ""
        self._said: dict[str, dict[str, str]] = {}
        self._rest_s = 0.0
        self._passing = threading.Lock()
        self._quit = threading.Event()

    @property
    def loops(self) -> Sequence[Loop]:
        """For ``/healthz``."""
        return (self._loop,)

    @property
    def held(self) -> frozenset[str]:
        """The clusters that this process schedules now."""
        return frozenset(self._held)

    def start(self) -> None:
        """Start all threads; returns at once."""
        self._keeper.start()
        self._loop.start()
        for waker in self._wakers:
            waker.start()

    def stop(self) -> None:
        """Finish the transaction that runs, release the locks, end the session."""
        self._quit.set()
        for waker in self._wakers:
            waker.stop()
        self._loop.stop()
        self._keeper.close()

    def _watch(self, prefix: str) -> Callable[[], bool]:
        after = 0

        def wait() -> bool:
            nonlocal after
            # whatever happens during a pass and the rest after it is told by the next answer
            with self._passing:
                pass
            self._quit.wait(self._rest_s)
            before, after = after, self._store.wait(prefix, after, WAIT_S)
            return after != before and (bool(self._held) or prefix in ALWAYS_WATCHED)

        return wait

    def _step(self) -> float | None:
        self._quit.wait(self._rest_s)
        session_id = self._keeper.session_id
        if session_id != self._session_id:
            self._session_id, self._session_since = session_id, self._clock.monotonic()
            for name in sorted(self._held):
                self._tell(name, "our session ended, so another scheduler may have taken over", Level.WARNING)
            self._held = set()
            HELD.set(0)
        if session_id is None:
            return self._wait_for_session()
        with self._passing:
            waiting = self._take_locks(session_id)
            again_s = STANDBY_S if waiting else RESYNC_S
            if not self._held:
                return again_s
            began = self._clock.monotonic()
            done = self._schedule(self._observer.read(), session_id)
            self._rest_s = min(REST_MOST_S, RESTS * (self._clock.monotonic() - began))
        if done.refused:
            return REFUSED_S
        return 0.0 if done.moved else min(again_s, done.look_again_s)

    def _wait_for_session(self) -> float:
        """The keeper wakes us when there is one; after a while it is a fault that ``/healthz`` shows."""
        waited_s = self._clock.monotonic() - self._session_since
        if waited_s > SESSION_PATIENCE_S:
            raise StoreUnreachable(f"{self._store.url} has given no session for {waited_s:.0f} s")
        return 1.0

    def _take_locks(self, session_id: str) -> bool:
        """Hold the lock of each of our clusters that nobody holds; True when somebody else holds one."""
        found = self._store.get_all((keys.CLUSTERS, keys.CLUSTER_HEADS, keys.SCHEDULER_LOCKS))
        served, ours = self._clusters(found.values())
        holders = {key: entry.holder for key, entry in found.items() if key.startswith(keys.SCHEDULER_LOCKS)}
        before, held = self._held, set()
        for name in sorted(before - served):
            self._give_up(name, session_id)
        for name in sorted(ours | (before & served)):
            key = keys.scheduler_lock(name)
            holder = holders.get(key)
            if holder == session_id or (
                holder is None and lease.take(self._store, key, self._identity.encode(), session_id)
            ):
                held.add(name)
        if held and not before:
            self._observer.begin_anew()
        for name in sorted(held - before):
            self._tell(name, f"scheduled by {self._identity}")
        for name in sorted(before & served - held):
            self._tell(name, "another scheduler took over", Level.WARNING)
        self._held = held
        HELD.set(len(held))
        return bool(ours - held)

    def _clusters(self, found: Iterable[Entry]) -> tuple[set[str], set[str]]:
        """The clusters that this process may go on serving, and those that it should serve.

        One whose declaration can't be read is kept by whoever has it (and held, see ``evidence``), and not taken.
        """
        declared: dict[str, Cluster] = {}
        heads: dict[str, ClusterHead] = {}
        unreadable = set()
        for entry in found:
            name = entry.key.rpartition("/")[2]
            try:
                if entry.key.startswith(keys.CLUSTERS):
                    declared[name] = codec.decode(entry.value, Cluster, entry.key)
                elif entry.key.startswith(keys.CLUSTER_HEADS):
                    heads[name] = codec.decode(entry.value, ClusterHead, entry.key)
            except codec.Undecodable:
                unreadable.add(name)
        ours = set(clusters_of(declared, heads, self._name)) - unreadable
        return ours | unreadable, ours

    def _schedule(self, reading: Reading, session_id: str) -> Pass:
        """Plan and act on each cluster, until one moved: what the others were planned on is old then."""
        done = Pass()
        # the one that moved last comes last, so that a busy cluster does not starve the others
        for name in sorted(self._held, key=lambda name: (name <= self._last_moved, name)):
            view = view_of(reading.scene, name, self._name)
            planned = plan(view, self._clock.wall())
            self._announce(planned)
            if planned.release:
                self._give_up(name, session_id)
                self._held.discard(name)
            if planned.look_again_s is not None:
                done.look_again_s = min(done.look_again_s, planned.look_again_s)
            if not planned.steps:
                continue
            self._last_moved = name
            applier = Applier(
                self._store,
                reading,
                view,
                session_id=session_id,
                now=self._clock.wall(),
                clock=self._clock,
                note=self._observer.note,
            )
            try:
                stopped = applier.apply(planned, lambda: self._quit.is_set() or self._keeper.session_id != session_id)
            finally:
                for event in announcements.of_decisions(name, applier.done):
                    self._emit(event)
                ACTIONS.labels(name).inc(applier.actions)
            done.moved = True
            done.refused = stopped is not None and not applier.done
            if done.refused:
                self._tell(name, f"looking again: {stopped}", Level.DEBUG)
            break
        return done

    def _announce(self, planned: Plan) -> None:
        events, self._said[planned.cluster] = announcements.of_obstacles(planned, self._said.get(planned.cluster, {}))
        for event in events:
            self._emit(event)
        PENDING.labels(planned.cluster).set(sum(pending.count for pending in planned.pending))

    def _tell(self, cluster: str, message: str, level: Level = Level.INFO) -> None:
        self._emit(Event(loop=announcements.LOOP, subject=cluster, message=message, level=level))

    def _give_up(self, name: str, session_id: str) -> None:
        lease.give_up(self._store, keys.scheduler_lock(name), self._identity.encode(), session_id)
        self._tell(name, f"no longer scheduled by {self._identity}")

    def _give_up_all(self) -> None:
        session_id = self._keeper.session_id
        if session_id is None:
            return
        for name in sorted(self._held):
            try:
                self._give_up(name, session_id)
            except StoreError:
                break  # the session ends next, and the locks with it
        self._held = set()


def dry_run(store: Store, *, scheduler_name: str = "default", now: float) -> tuple[Plan, ...]:
    """What a scheduler of this name would do now, cluster by cluster; takes no lock and writes nothing."""
    scene = Observer(store).read().scene
    names = clusters_of(scene.snapshot.clusters, scene.snapshot.heads, scheduler_name)
    return tuple(plan(view_of(scene, name, scheduler_name), now) for name in names)
