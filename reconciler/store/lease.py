"""Signs of life and locks: a session that is kept alive in the background, and the keys it holds.

Each daemon keeps one ``SessionKeeper``. ``session_id`` is None from the moment when the store may have ended the
session, by this process's own clock: a holder that can't reach the store stops acting by itself, and every write
carries the fence besides.
"""

import logging
import threading
from collections.abc import Callable

from reconciler.errors import StoreError
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.store.interface import Acquire, Committed, Held, Release, Session, Store, Unknown

log = logging.getLogger(__name__)

TTL_S = 6.0
RENEWALS_PER_TTL = 3
RETRIES_PER_TTL = 12


class SessionKeeper:
    """Keeps one session alive; opens another one when it is lost."""

    def __init__(
        self,
        store: Store,
        name: str,
        ttl_s: float = TTL_S,
        *,
        clock: Clock | None = None,
        resume: str | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """``resume``: the id of the predecessor's session, gone on with if it still lives (an agent's restart).

        ``on_change`` is called, in the keeper's thread, when ``session_id`` became another one.
        """
        self._store = store
        self._name = name
        self._ttl_s = ttl_s
        self._clock = clock or SystemClock()
        self._resume = resume
        self._on_change = on_change
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._deadline = 0.0
        self._renewed_at: float | None = None
        self._shown: str | None = None
        self._stopping = threading.Event()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"session {name}", daemon=True)

    def start(self) -> None:
        """Start to open and renew; returns at once."""
        self._thread.start()

    def wait_open(self, timeout_s: float) -> bool:
        """Wait until there first was a session; False if there is none in time."""
        return self._opened.wait(timeout_s)

    @property
    def session_id(self) -> str | None:
        """The session to act with now; None when there is none, or it may have ended already."""
        with self._lock:
            if self._session is None or self._clock.monotonic() >= self._deadline:
                return None
            return self._session.id

    @property
    def renewed_at(self) -> float | None:
        """When the last renewal that succeeded began, on the monotonic clock; None: there was none."""
        with self._lock:
            return self._renewed_at

    def remaining_s(self) -> float:
        """How much longer ``session_id`` may be used if no renewal succeeds; 0 when there is none."""
        with self._lock:
            return 0.0 if self._session is None else max(0.0, self._deadline - self._clock.monotonic())

    def close(self, *, keep: bool = False) -> None:
        """Stop renewing. The session ends now with all it holds, or, with ``keep``, is left to a successor."""
        self._stopping.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(30.0)
        with self._lock:
            session, self._session = self._session, None
        if session is not None and not keep:
            session.close()

    def tend(self) -> float:
        """Open or renew once; returns in how many seconds to do it again. The thread calls it, or a simulation does."""
        try:
            self._renew_or_open()
            again_s = self._ttl_s / RENEWALS_PER_TTL
        except StoreError as error:
            log.warning("session of %s: %s", self._name, error.message)
            again_s = self._ttl_s / RETRIES_PER_TTL
        self._tell()
        return again_s

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                again_s = self.tend()
            except Exception:  # without this thread the process would silently lose what it holds
                log.exception("session of %s: unforeseen", self._name)
                again_s = self._ttl_s / RETRIES_PER_TTL
            self._stopping.wait(again_s)

    def _renew_or_open(self) -> None:
        session = self._session
        if session is not None:
            began = self._clock.monotonic()
            if session.renew():
                self._hold(session, began)
                return
            log.warning("session of %s is gone; opening another one", self._name)
            with self._lock:
                self._session = None
        began = self._clock.monotonic()
        opened: Session | None = None
        if self._resume is not None:
            opened = self._store.resume_session(self._resume, self._name, self._ttl_s)
            self._resume = None
        if opened is None:
            began = self._clock.monotonic()
            opened = self._store.open_session(self._name, self._ttl_s)
        self._hold(opened, began)

    def _hold(self, session: Session, began: float) -> None:
        with self._lock:
            self._session, self._deadline, self._renewed_at = session, began + self._ttl_s, began
        self._opened.set()

    def _tell(self) -> None:
        shown = self.session_id
        if shown != self._shown:
            self._shown = shown
            if self._on_change is not None:
                self._on_change()


def take(store: Store, key: str, value: bytes, session_id: str) -> bool:
    """Hold ``key`` by the session and write ``value`` there; True when it is held (already, or now).

    False: somebody else holds it, or the session is gone. Raises StoreError.
    """
    outcome = store.commit([Acquire(key, value, session_id)])
    if isinstance(outcome, Unknown):
        entry = store.get(key)
        return entry is not None and entry.holder == session_id
    return isinstance(outcome, Committed)


def give_up(store: Store, key: str, value: bytes, session_id: str) -> None:
    """Let go of ``key`` and leave ``value`` there, if the session holds it. Raises StoreError."""
    outcome = store.commit([Release(key, value, session_id)])
    if isinstance(outcome, Unknown):
        log.info("giving up %s: %s; it ends with the session otherwise", key, outcome.why)


def fence(key: str, session_id: str) -> Held:
    """What makes a commit fail once the session does not hold ``key`` any more."""
    return Held(key, session_id)
