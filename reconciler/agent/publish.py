"""Writes what this host is and how its tasks are, and nothing while nothing changed. Called by ``loop``.

Both keys are the host's own: ``state/hosts/<host>`` is held by the agent's session (held = the host is alive), and
``state/status/<host>`` is only written behind that fence, so a predecessor that was frozen can't overwrite anything.
"""

import logging
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from reconciler.agent import identity
from reconciler.agent.host_view import NOT_ENTERED
from reconciler.agent.identity import HostLock
from reconciler.agent.lifecycle import NEVER
from reconciler.agent.pace import Rest
from reconciler.agent.settings import AgentSettings
from reconciler.agent.status import News, news
from reconciler.errors import StoreDenied, StoreError, UsageError
from reconciler.model import codec, keys
from reconciler.model.task import HostState, HostStatus
from reconciler.runtime.clock import Clock
from reconciler.runtime.http_access import is_anywhere
from reconciler.store import lease
from reconciler.store.interface import Committed, Entry, PutIf, Store
from reconciler.store.lease import SessionKeeper

log = logging.getLogger(__name__)

_CLAIM_AGAIN_S = 5.0
_RESTS = 50.0
"""For how many times as long as the last write took there is no other, so that a busy store gets one a second."""
_LEAST_REST_S = 0.4
_STOPS_INTERVALS = 3.0
"""Most tasks are gone by then: after ``drain_delay`` (2 s) and a moment to end."""


class Publisher:
    """Holds the host's record and publishes the status of its tasks."""

    def __init__(
        self,
        store: Store,
        settings: AgentSettings,
        lock: HostLock,
        clock: Clock,
        *,
        executors: Callable[[], Sequence[str] | None],
        trusted: Callable[[], bool],
        on_session: Callable[[], None],
        on_written: Callable[[int], None],
        on_back: Callable[[int], None],
    ) -> None:
        """``executors`` names those that can start something now, None until all were looked at; ``trusted`` says
        whether the store is certainly ours. ``on_written`` is told the index of each status that is there,
        ``on_back`` that of one that is older than what was there before.
        """
        self._store = store
        self._settings = settings
        self._lock = lock
        self._clock = clock
        self._executors = executors
        self._trusted = trusted
        self._on_session = on_session
        self._on_written = on_written
        self._on_back = on_back
        self._machine = identity.machine(settings.runtime_dir)
        self._keeper: SessionKeeper | None = None
        self._noted: str | None = None
        self._held_by: str | None = None
        self._claimed_with: tuple[str, ...] = ()
        self._contact_at = clock.monotonic()
        self._claimed_at = clock.monotonic() - settings.poll_s
        self._index = 0
        self._may_keep_place = True
        self._since: dict[News, float] = {}
        interval_s = settings.publish_interval_s
        self._patience_s = {
            News.STOPS: _STOPS_INTERVALS * interval_s,
            News.ON_ITS_WAY: interval_s,
            News.UP: min(_LEAST_REST_S, interval_s),
            News.SETTLED: 0.0,
        }
        self._rest = Rest(clock, times=_RESTS, least_s=_LEAST_REST_S, most_s=settings.publish_interval_s)
        self._http = ""
        self._read: HostStatus | None = None
        self.hold: str | None = NOT_ENTERED
        """Why nothing may be started: this host's name is not ours (yet)."""
        self.wanted: HostStatus | None = None
        """What the status should be; the loop sets it."""
        self.published: HostStatus | None = None

    @property
    def contact_at(self) -> float:
        """When it was last certain that the store knows this host as present; at first, when this process began."""
        keeper, held_by = self._keeper, self._held_by
        if keeper is not None and held_by is not None and held_by == keeper.session_id:
            # a session that does not hold the host's record is a sign of life to nobody
            self._contact_at = max(self._contact_at, keeper.renewed_at or self._contact_at)
        return self._contact_at

    def announce(self, url: str) -> None:
        """Say before ``open`` where the agent's HTTP is; with all addresses, under that of this host."""
        parts = urlsplit(url)
        address = self._settings.address
        own = f"{parts.scheme}://{f'[{address}]' if ':' in address else address}:{parts.port}"
        self._http = own if is_anywhere(parts.hostname or "") else url

    def open(self) -> None:
        """Begin to be this host. Raises UsageError when it is certain that another machine is."""
        resume = self._lock.last_session()
        try:
            entry = self._store.get(keys.host_state(self._settings.host))
        except StoreError as error:
            # what runs can be looked after without the store; the rest follows when it is back
            log.warning("%s", error.message)
            entry = None
        if entry is not None and entry.holder is not None:
            other = self._other_machine(entry)
            if other is not None:
                raise UsageError(other, hint="stop that agent, or give this one another name with --host")
            resume = entry.holder
        self._keeper = SessionKeeper(
            self._store,
            f"agent {self._settings.host}",
            self._settings.session_ttl_s,
            clock=self._clock,
            resume=resume,
            on_change=self._on_session,
        )
        self._keeper.start()

    def publish(self) -> float | None:
        """Write what differs. Returns in how many seconds there is more to write. Raises StoreError."""
        session = self._keeper.session_id if self._keeper is not None else None
        executors = self._executors()
        if session is None or executors is None or not self._trusted():
            return self._settings.publish_interval_s
        if session != self._noted:
            self._lock.note_session(session)
            self._noted = session
        self._claim(session, tuple(sorted(executors)))
        if self._held_by != session:
            return _CLAIM_AGAIN_S
        if self.wanted is None:
            return None
        if self.wanted == self.published:
            self._since = {}
            return None
        now = self._clock.monotonic()
        due = self._due(news(self.published, self.wanted), now)
        if now < due:
            return due - now
        again_s = self._write(session, self.wanted)
        # not after one that failed: to rest is no success, and would defeat the loop's backoff
        self._rest.begin(self._clock.monotonic() - now)
        return again_s

    def found(self) -> tuple[HostStatus | None, str | None]:
        """What the planner has not said itself: the status that was read back, what keeps the name from being ours."""
        return self._read, self.hold

    def flush(self) -> None:
        """Write the last status now, if that is possible at all."""
        self._rest.until = self._clock.monotonic()
        self._since = dict.fromkeys(News, NEVER)
        try:
            self.publish()
        except StoreError as error:
            log.warning("the last status could not be written: %s", error.message)

    def close(self, *, keep_session: bool) -> None:
        """Stop being this host; with ``keep_session`` the successor of this process goes on before anybody notices."""
        if self._keeper is not None:
            self._keeper.close(keep=keep_session)

    def _due(self, latest: News, now: float) -> float:
        """When to write: as soon as the patience with any of what is new is over, and the rest after the last write."""
        self._since = {each: self._since.get(each, now) for each in News if each <= latest}
        return max(self._rest.until, min(since + self._patience_s[each] for each, since in self._since.items()))

    def _write(self, session: str, status: HostStatus) -> float | None:
        """Compare-and-set: a write whose answer was lost may land later, but never over a newer one."""
        fence = lease.fence(keys.host_state(self._settings.host), session)
        key = keys.status(self._settings.host)
        outcome = self._store.commit([fence, PutIf(key, codec.encode(status), self._index)])
        if not isinstance(outcome, Committed):
            # the host or the key may not be what they were: look before the next write
            self._held_by = None
            return self._settings.publish_interval_s
        index = outcome.indexes.get(key)
        if index is None:  # this store does not say it
            entry = self._store.get(key)
            index = entry.index if entry is not None else 0
        self._index = index
        self._on_written(index)
        self.published, self._since = status, {}
        return None

    def _claim(self, session: str, executors: tuple[str, ...]) -> None:
        """Hold the host's record with what is true now. Looks only now and then, and when there is a reason."""
        now = self._clock.monotonic()
        is_fresh = now - self._claimed_at < self._settings.poll_s and executors == self._claimed_with
        if self._held_by == session and is_fresh:
            return
        key, status_key = keys.host_state(self._settings.host), keys.status(self._settings.host)
        place = keys.placeholder(self._settings.host)
        found = self._store.get_all((key, status_key, *([place] if self._may_keep_place else [])))
        entry, status = found.get(key), found.get(status_key)
        if entry is not None and entry.holder not in (None, session):
            self.hold = self._other_machine(entry)
            if self.hold is not None:
                self._held_by = None
                return
            self._end_predecessor(entry.holder)
        elif entry is not None and self._other_machine(entry) is not None:
            log.warning("host %s was another machine before; nobody holds the name now", self._settings.host)
        value = codec.encode(identity.host_state(self._settings, executors, self._http))
        if entry is None or entry.holder != session or entry.value != value:
            if not lease.take(self._store, key, value, session):
                self._held_by = None
                return
            status = self._store.get(status_key)  # nobody else writes it from now on
        if self._may_keep_place and place not in found:
            self._keep_place(place)
        self._read_back(status)
        self._held_by, self._claimed_at, self._claimed_with, self.hold = session, now, executors, None

    def _keep_place(self, key: str) -> None:
        """Consul ends a watch on an empty prefix for whatever happens beside it. So there is always something."""
        try:
            self._store.commit([PutIf(key, b"{}", 0)])
        except StoreDenied as error:
            # without it a host that has no tasks asks more often while others get theirs, and that is all
            self._may_keep_place = False
            log.info("%s", error.message)

    def _read_back(self, entry: Entry | None) -> None:
        """What the status is now, so that an unchanged one is not written again."""
        index = entry.index if entry is not None else 0
        if index < self._index:
            self._on_back(index)  # before the next write, after which it looks as new as ever
        self._index = index
        try:
            self.published = codec.decode(entry.value, HostStatus, entry.key) if entry is not None else None
        except codec.Undecodable:
            self.published = None
        self._read = self.published

    def _other_machine(self, entry: Entry) -> str | None:
        """Who has this name, if it is another machine."""
        try:
            state = codec.decode(entry.value, HostState, entry.key)
        except codec.Undecodable as error:
            return error.message if entry.holder is not None else None
        if state.machine == self._machine:
            return None
        return f"the host name {self._settings.host} is held by another machine ({state.address})"

    def _end_predecessor(self, session_id: str | None) -> None:
        """An earlier agent of this machine has left a session; we hold the lock file, so it is not needed any more."""
        if session_id is None:
            return
        left = self._store.resume_session(session_id, f"agent {self._settings.host}", self._settings.session_ttl_s)
        if left is not None:
            left.close()
