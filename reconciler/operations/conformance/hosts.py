"""Hosts that only pretend: their records are held by sessions of their own, their statuses follow what is issued.

They keep what agents promise: a task that was withdrawn is listed until it has stopped, an id is never run in two
issues at once, nothing is written that did not change.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from reconciler.errors import StoreError
from reconciler.model import codec, keys
from reconciler.model.task import Health, HostState, HostStatus, Phase, Task, TaskStatus
from reconciler.operations.conformance.picture import Picture
from reconciler.runtime.clock import Clock
from reconciler.store import lease
from reconciler.store.interface import Committed, Put, Store
from reconciler.store.lease import SessionKeeper

START_S: Final = 0.4
STOP_S: Final = 0.4
OPEN_S: Final = 15.0


class Behaviour(msgspec.Struct, kw_only=True):
    """How tasks behave on all hosts. ``sick``: name and version of definitions whose tasks run and are critical."""

    start_s: float = START_S
    stop_s: float = STOP_S
    sick: frozenset[tuple[str, int]] = frozenset()


class Life(msgspec.Struct, frozen=True):
    """A task on a pretended host: its record, since when it is there, and since when it stops."""

    task: Task
    since: float
    stops_since: float | None = None


Lives = Mapping[tuple[str, int], Life]
"""By id and issue."""


def live(lives: Lives, issued: Iterable[Task], behaviour: Behaviour, now: float) -> dict[tuple[str, int], Life]:
    """What becomes of a host's tasks: new ones begin, withdrawn ones stop, stopped ones are gone."""
    wanted = {(task.id, task.issue): task for task in issued}
    after: dict[tuple[str, int], Life] = {}
    for key, life in lives.items():
        if key in wanted:
            after[key] = life
        elif life.stops_since is None:
            after[key] = msgspec.structs.replace(life, stops_since=now)
        elif now - life.stops_since < behaviour.stop_s:
            after[key] = life
    for key, task in wanted.items():
        # of two issues of one id the older one has to be gone first
        if key not in after and not any(other[0] == task.id for other in after):
            after[key] = Life(task, now)
    return after


def status_of(host: str, lives: Lives, behaviour: Behaviour, now: float) -> HostStatus:
    """What the host publishes of them."""
    return HostStatus(
        host=host,
        tasks={life.task.id: _task_status(life, behaviour, now) for _, life in sorted(lives.items(), reverse=True)},
    )


def _task_status(life: Life, behaviour: Behaviour, now: float) -> TaskStatus:
    phase, health = Phase.STARTING, Health.UNKNOWN
    if life.stops_since is not None:
        phase = Phase.STOPPING
    elif now - life.since >= behaviour.start_s:
        is_sick = (life.task.task_name, life.task.task_version) in behaviour.sick
        phase, health = Phase.RUNNING, Health.CRITICAL if is_sick else Health.PASSING
    return TaskStatus(
        phase=phase,
        issue=life.task.issue,
        health=health,
        attempt=1,
        port=life.task.port,
        ports=life.task.ports,
        published=life.task.published,
        memory=life.task.memory,
        cpu_units=life.task.cpu_units,
        disk=life.task.disk,
    )


class PretendedHost:
    """One of them; ``leave`` and ``come`` are what the network or a power cut does."""

    def __init__(self, store: Store, state: HostState, clock: Clock) -> None:
        self.state = state
        self._store = store
        self._clock = clock
        self._keeper: SessionKeeper | None = None
        self._lives: dict[tuple[str, int], Life] = {}
        self._published = b""

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.host

    def come(self) -> None:
        """Be present. Raises StoreError."""
        self._keeper = SessionKeeper(self._store, f"conformance host {self.name}", clock=self._clock)
        self._keeper.start()
        session = self._keeper.session_id if self._keeper.wait_open(OPEN_S) else None
        if session is None or not lease.take(
            self._store, keys.host_state(self.name), codec.encode(self.state), session
        ):
            raise StoreError(f"the record of host {self.name} could not be held")

    def leave(self) -> None:
        """Be missing: nothing of it is heard any more, and its record stays."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def react(self, picture: Picture, behaviour: Behaviour) -> bool:
        """Follow what is issued, and publish it if it changed; False: nothing was published."""
        session = self._keeper.session_id if self._keeper is not None else None
        if session is None:
            return False
        now = self._clock.monotonic()
        # a pretended agent reads its own prefix, as a real one does
        issued = [
            task for (host, _), entry in picture.by_host.items() if host == self.name if (task := _task(entry.value))
        ]
        self._lives = live(self._lives, issued, behaviour, now)
        value = codec.encode(status_of(self.name, self._lives, behaviour, now))
        if value == self._published:
            return False
        fence = lease.fence(keys.host_state(self.name), session)
        outcome = self._store.commit([fence, Put(keys.status(self.name), value)])
        self._published = value if isinstance(outcome, Committed) else b""
        return True


def _task(value: bytes) -> Task | None:
    try:
        return codec.decode(value, Task)
    except codec.Undecodable:
        return None
