"""The sync loop: one source's manifests → ``config/*``, for as long as the process runs. ``wiring`` starts it.

Any number of processes may run the same source: one holds ``sync/<source>`` and works, the others stand by. What was
read before the lock was taken is not used: the one who held it before may have applied something newer.
"""

import random
import threading
from collections.abc import Sequence
from typing import Final

import msgspec

from reconciler.errors import ReconcilerError, SourceError, StoreUnreachable
from reconciler.manifests.source import Revision, Source
from reconciler.model import keys
from reconciler.model.codec import Undecodable
from reconciler.model.events import Event, Level
from reconciler.model.intents import Suspension
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.runtime.compares import Compares
from reconciler.runtime.ids import new_id
from reconciler.runtime.runner import Loop, Waker
from reconciler.store import lease
from reconciler.store.interface import Held, Put, PutIf, Store
from reconciler.store.watch import WATCH_S, Watch
from reconciler.sync import observe
from reconciler.sync.brake import DeletionLimit
from reconciler.sync.gate import LOOK_S, Gate
from reconciler.sync.lock import who
from reconciler.sync.outcome import Outcome
from reconciler.sync.passes import Emit, SourceSync

POLL_S: Final = 30.0
RESYNC_S: Final = 60.0
LOOK_AGAIN_S: Final = 5.0
"""When a history that was rewritten is looked at a second time, before it is believed."""
_OPEN_S: Final = 1.0
_JITTER: Final = 0.1


class SyncDaemon:
    """Keeps ``config/*`` equal to one source."""

    def __init__(
        self,
        store: Store,
        source: Source,
        *,
        clock: Clock | None = None,
        emit: Emit,
        poll_s: float = POLL_S,
        mutable_versions: bool = False,
        heals: bool = True,
        limit: DeletionLimit | None = None,
        health_gate: Gate | None = None,
        session_ttl_s: float = lease.TTL_S,
    ) -> None:
        """``mutable_versions``: a task definition may change under one version (during development).

        ``heals``: what was changed by hand is put right; otherwise it is only reported. ``limit``: how much one
        revision may delete. ``health_gate``: what a revision must make healthy, or it is taken back.

        Raises:
            UsageError: the source's name can't be one.
        """
        self._store = store
        self._source = source
        self._clock = clock or SystemClock()
        self._emit = emit
        self._poll_s = poll_s
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._name = f"sync {source.name}"
        self._lock_key = keys.sync_lock(source.name)
        self._wake_key = keys.wake(source.name)
        self._source_moved = threading.Event()
        self._config_changed = threading.Event()
        self._sync = SourceSync(
            store,
            source,
            clock=self._clock,
            emit=emit,
            mutable_versions=mutable_versions,
            heals=heals,
            limit=limit,
            health_gate=health_gate,
        )
        self._compares = Compares(source.name)
        self._loop = Loop(self._name, self._step, clock=self._clock, resync_s=RESYNC_S, on_stop=self._let_go)
        self._keeper = lease.SessionKeeper(
            store, self._name, session_ttl_s, clock=self._clock, on_change=self._loop.wake
        )
        self._wakers = [
            Waker(f"{self._name}: source", self._wait_for_source, [self._loop]),
            Waker(f"{self._name}: config", Watch(store, keys.CONFIG, self._config_changed.set), [self._loop]),
            Waker(f"{self._name}: lock", Watch(store, self._lock_key), [self._loop]),
            Waker(f"{self._name}: wake", self._wait_for_notice, [self._loop]),
        ]
        self._notices = Watch(store, self._wake_key)
        self._notice: bytes | None = None
        self._held_by: str | None = None
        self._stood_by_for: str | None = None
        self._revision: Revision | None = None
        self._reads = 0
        self._read_at = 0.0
        self._concluded: tuple[str, str, bytes] | None = None
        self._suspended: Suspension | None = None
        self._unread = ""
        self._looked_at = 0.0
        self._look_at = 0.0
        """When the services of what is on trial are looked at next: wakes come more often."""

    @property
    def loops(self) -> Sequence[Loop]:
        """The loop inside, for ``/healthz``."""
        return [self._loop]

    @property
    def parsed_files(self) -> int:
        """How many files were parsed so far."""
        return self._sync.parsed_files

    @property
    def held(self) -> Held | None:
        """The fence, while this process holds the source's lock; for others that write about the source. Any thread."""
        session = self._keeper.session_id
        return lease.fence(self._lock_key, session) if session is not None and session == self._held_by else None

    def start(self) -> None:
        """Start all threads; returns at once."""
        self._keeper.start()
        self._loop.start()
        for waker in self._wakers:
            waker.start()

    def stop(self) -> None:
        """Finish the pass that runs, let go of the lock, end all threads."""
        for waker in self._wakers:
            waker.stop()
        # a read that hangs must not hold up the end; what is being written is written to its end
        self._source.close()
        self._loop.stop()
        self._keeper.close()

    def notify(self) -> None:
        """Somebody says that the source moved (a webhook). It is read at once, by whichever process works on it.

        Raises StoreError when another one does and can't be told; its next poll finds it all the same.
        """
        if self._held_by is not None:
            self._source_moved.set()
            self._loop.wake()
        else:
            self._store.commit([Put(self._wake_key, msgspec.json.encode({"id": new_id()}))])

    def _step(self) -> float | None:
        fence = self._hold()
        if fence is None:
            return None
        try:
            intent, said = observe.intent_of(self._store, self._source.name)
        except Undecodable as error:
            self._stand_still(fence, error)
            raise
        self._unread = ""
        suspension = intent.suspension(self._clock.wall()) if intent else None
        if suspension is not None:
            return self._hold_still(suspension)
        self._suspended = None
        failure = self._read()
        if failure is not None and self._loop.stopping:
            return None  # that is why it failed: nothing to record
        is_decided, trouble = self._look()
        conclusion = (self._revision.id if self._revision else "", failure.message if failure else "", said)
        now = self._clock.monotonic()
        is_news = self._config_changed.is_set() or conclusion != self._concluded or now - self._looked_at >= RESYNC_S
        if is_news or is_decided:
            self._config_changed.clear()
            self._concluded = None  # until the pass has come to its end
            outcome = self._sync.run(fence, self._revision, failure, is_confirmed=self._reads > 1, intent=intent)
            if not outcome.is_in_doubt:
                self._measure(outcome)
                self._concluded, self._looked_at = conclusion, now
            else:
                self._read_at = min(self._read_at, self._clock.monotonic() + min(self._poll_s, LOOK_AGAIN_S))
        if failure is not None or trouble is not None:
            raise failure or trouble or AssertionError
        self._compares.succeeded()
        due = min(self._read_at, self._look_at) if self._sync.trials.is_on else self._read_at
        return max(0.0, due - self._clock.monotonic())

    def _look(self) -> tuple[bool, ReconcilerError | None]:
        """Whether the trial of what is applied needs a pass; and why nobody can say, which holds up nothing else."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return False, None
        self._look_at = now + LOOK_S
        try:
            return self._sync.trials.look(), None
        except ReconcilerError as error:
            return False, error

    def _measure(self, outcome: Outcome) -> None:
        made, target = outcome.decision.plan, outcome.decision.target
        if made is not None and target is not None:
            self._compares.applied(target.revision, made.after.total)
        self._compares.refused(len(outcome.problems))

    def _hold(self) -> Held | None:
        """The fence if this process holds the source's lock, or could take it; None: another one works."""
        self._keeper.wait_open(_OPEN_S)
        session = self._keeper.session_id
        if session is None:
            self._held_by = None
            raise StoreUnreachable(f"{self._store.url}: there is no session to hold {self._lock_key} with")
        entry = self._store.get(self._lock_key)
        holder = entry.holder if entry else None
        if holder != session:
            self._held_by = None
            if holder is not None or not lease.take(self._store, self._lock_key, who(), session):
                self._stand_by(holder or "")
                return None
        if self._held_by != session:
            self._held_by, self._stood_by_for = session, None
            self._revision, self._concluded, self._reads, self._read_at = None, None, 0, 0.0
            self._sync.trials.forget()
            if self._store.get(self._wake_key) is None:
                # Consul wakes whoever watches a key that does not exist at every change of any other
                self._store.commit([PutIf(self._wake_key, b"{}", 0)])
        return lease.fence(self._lock_key, session)

    def _hold_still(self, suspension: Suspension) -> float | None:
        """Do nothing while an operator wants it so; when to look next."""
        if suspension != self._suspended:
            self._suspended = suspension
            message = f"suspended by {suspension.by}: {suspension.reason or 'no reason given'}; nothing is written"
            self._emit(Event(loop=self._name, subject=self._source.name, message=message, level=Level.WARNING))
        self._compares.suspended()
        self._sync.trials.forget()
        self._concluded, self._read_at = None, 0.0
        return max(0.0, suspension.until - self._clock.wall()) if suspension.until else None

    def _stand_still(self, fence: Held, error: Undecodable) -> None:
        """Record once why nothing is written, since what operators said can't be read."""
        self._concluded = None
        self._sync.trials.forget()
        if self._unread != error.message:
            self._sync.stand_still(fence, error.message)
            self._unread = error.message

    def _stand_by(self, holder: str) -> None:
        self._compares.forget()
        if holder and holder != self._stood_by_for:
            self._stood_by_for = holder
            message = f"another process works on source {self._source.name}; standing by"
            self._emit(Event(loop=self._name, subject=self._source.name, message=message, level=Level.INFO))

    def _read(self) -> SourceError | None:
        """Read the source if it is time to; the error if that fails, and then the last revision stays."""
        if self._clock.monotonic() < self._read_at and not self._source_moved.is_set():
            return None
        self._source_moved.clear()
        try:
            revision = self._source.read()
        except SourceError as error:
            return error
        is_same = self._revision is not None and self._revision.id == revision.id
        self._reads = self._reads + 1 if is_same else 1
        self._revision = revision
        self._read_at = self._clock.monotonic() + self._poll_s * (1.0 - _JITTER * self._rng.random())
        return None

    def _wait_for_source(self) -> bool:
        if not self._source.wait(WATCH_S):
            return False
        self._source_moved.set()
        return True

    def _wait_for_notice(self) -> bool:
        """Whether another process was told that the source moved; the watch alone may wake for less."""
        if not self._notices():
            return False
        entry = self._store.get(self._wake_key)
        before, self._notice = self._notice, entry.value if entry else None
        if before is None or self._notice in (None, before):
            return False
        self._source_moved.set()
        return True

    def _let_go(self) -> None:
        session = self._keeper.session_id
        if session is not None and self._held_by == session:
            lease.give_up(self._store, self._lock_key, who(), session)
