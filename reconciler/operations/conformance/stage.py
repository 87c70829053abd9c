"""The stage that the script plays on: a source, some hosts, and a picture of the store after every change.

One thread does everything, so nothing but the scheduler under test moves between two pictures except what the script
itself did. ``script`` declares, waits for what should come of it, and says what that proves.
"""

from collections.abc import Callable
from typing import Final

from reconciler.errors import StoreError
from reconciler.model import keys
from reconciler.model.manifests import Service, TaskDefinition
from reconciler.model.task import HostState
from reconciler.operations.conformance.audit_records import RecordAudit
from reconciler.operations.conformance.audit_steps import Moment, StepAudit
from reconciler.operations.conformance.declared import Declared
from reconciler.operations.conformance.hosts import Behaviour, PretendedHost
from reconciler.operations.conformance.picture import Picture, picture_of
from reconciler.operations.conformance.rules import Ledger
from reconciler.operations.conformance.source import ConfigSource
from reconciler.runtime.clock import Clock
from reconciler.store.interface import Entry, Store

TURN_S: Final = 0.1
"""How long to wait for a change; the hosts' tasks begin and stop in between."""
QUIET_S: Final = 1.0
RESTLESS_S: Final = 4.0
PORTS: Final = (20000, 20009)
MEMORY: Final = 1000
CPU_UNITS: Final = 1000

Say = Callable[[str], None]


class NoProgress(StoreError):
    """The cluster could not be brought to where the next part begins."""


def host_states(cluster: str) -> list[HostState]:
    """Three hosts that can run the script's tasks, and one that lacks the executor."""
    return [
        HostState(
            host=f"{cluster}-host-{number}",
            machine=f"conformance-{cluster}-{number}",
            address="127.0.0.1",
            memory=MEMORY,
            cpu_units=CPU_UNITS,
            port_range=PORTS,
            executors=("docker",) if number == 4 else ("bash",),
            attributes={"pretended": "yes"},
            agent_version="conformance",
        )
        for number in (1, 2, 3, 4)
    ]


class Stage:
    """What is declared, what the hosts do, and what was seen."""

    def __init__(
        self,
        store: Store,
        cluster: str,
        scheduler: str,
        source: ConfigSource,
        ledger: Ledger,
        clock: Clock,
        *,
        patience_s: float,
        lost_s: float,
        say: Say,
    ) -> None:
        """``lost_s``: how long a host may be missing before its tasks have to run elsewhere."""
        self.store = store
        self.cluster = cluster
        self.scheduler = scheduler
        self.source = source
        self.ledger = ledger
        self.clock = clock
        self.patience_s = patience_s
        self.lost_s = lost_s
        self.say = say
        self.behaviour = Behaviour()
        self.is_judging = True
        states = host_states(cluster)
        self.hosts = {state.host: PretendedHost(store, state, clock) for state in states}
        self.declared = Declared()
        self.picture = picture_of(store.list(keys.STATE), cluster)
        self._records = RecordAudit(ledger, cluster, {state.host: state.port_range for state in states})
        self._steps = StepAudit(ledger, states)
        self._judged_by = self.declared
        self._index = 0
        self._lock: Entry | None = None

    @property
    def lock_key(self) -> str:
        """Where the scheduler's lock is."""
        return keys.scheduler_lock(self.cluster)

    @property
    def session(self) -> str:
        """This run's own session. Raises StoreError."""
        return self.source.session

    @property
    def workers(self) -> list[str]:
        """The hosts that can run the script's tasks."""
        return [name for name, host in self.hosts.items() if "bash" in host.state.executors]

    def declare(self, declared: Declared, *, is_settled: bool = True) -> None:
        """Write a revision."""
        # definitions stay until the end: records may name them
        self.declared = self.source.write(declared, is_settled=is_settled)

    def change(self, service: Service, *definitions: TaskDefinition) -> None:
        """Declare a service otherwise."""
        self.declare(self.declared.with_service(service, *definitions))

    def turn(self) -> None:
        """Wait a moment for a change, take a picture, judge it, and let the hosts react."""
        self._index = self.store.wait(keys.STATE, self._index, TURN_S)
        self.look()
        for host in self.hosts.values():
            host.react(self.picture, self.behaviour)

    def look(self) -> None:
        """Take a picture and judge it."""
        before = Moment(picture=self.picture, declared=self._judged_by)
        after = Moment(picture=picture_of(self.store.list(keys.STATE), self.cluster), declared=self.declared)
        lock_before, self._lock = self._lock, self.store.get(self.lock_key)
        self._steps.note(before.picture)
        if self.is_judging and after.picture.schedule != before.picture.schedule:
            self._records.look(after.picture, self.declared)
            self._steps.look(before, after)
            self._judge_lock(lock_before, after.picture)
        self.picture, self._judged_by = after.picture, self.declared

    def until(self, condition: Callable[[], bool], within_s: float | None = None) -> bool:
        """Go on until something is so; False if it is not within the patience."""
        deadline = self.clock.monotonic() + (self.patience_s if within_s is None else within_s)
        while not condition():
            if self.clock.monotonic() > deadline:
                return False
            self.turn()
        return True

    def watch(self, seconds: float, each: Callable[[], None] = lambda: None) -> None:
        """Go on for some time, whatever happens; ``each`` is called after every picture."""
        deadline = self.clock.monotonic() + seconds
        while self.clock.monotonic() < deadline:
            self.turn()
            each()

    def is_converged(self, name: str) -> bool:
        """Whether a service has as many tasks as desired, all of its version, all healthy."""
        service = self.declared.service(name)
        tasks = self.picture.of_service(name)
        if service is None:
            return not tasks
        return len(tasks) == service.desired and all(
            (task.task_name, task.task_version) == (service.task_name, service.task_version)
            and self.picture.is_healthy(task)
            for task in tasks
        )

    def are_converged(self) -> bool:
        """Whether all declared services are, and nothing else is issued."""
        names = {*self.declared.services, *(task.service for task in self.picture.tasks.values())}
        return all(self.is_converged(name) for name in names)

    def settle(self) -> bool:
        """Until everything is as declared, and nothing has been written for a while; False if that does not come."""
        quiet_since = converged_since = self.clock.monotonic()
        seen = self.picture.schedule

        def is_settled() -> bool:
            nonlocal quiet_since, converged_since, seen
            now = self.clock.monotonic()
            if not self.are_converged():
                quiet_since = converged_since = now
            elif self.picture.schedule != seen:
                quiet_since, seen = now, self.picture.schedule
            # who writes for ever breaks one rule, and can be put to the test for the others
            return now - quiet_since >= QUIET_S or now - converged_since >= RESTLESS_S

        if not self.until(is_settled):
            return False
        if self.clock.monotonic() - quiet_since < QUIET_S:
            seq = self.picture.head.seq if self.picture.head else "none"
            self.ledger.broken("quiescence", f"all was as declared for {RESTLESS_S:g} s, and seq went on, to {seq}")
        return True

    def shown(self, name: str) -> str:
        """The tasks of a service, for people."""
        tasks = self.picture.of_service(name)
        healthy = sum(self.picture.is_healthy(task) for task in tasks)
        ids = ", ".join(f"{task.id} on {task.host}" for task in sorted(tasks, key=lambda task: task.id)) or "none"
        return f"service {name} has {len(tasks)} tasks, {healthy} healthy: {ids}"

    def _judge_lock(self, before: Entry | None, picture: Picture) -> None:
        """Something was written since the last picture: somebody held the lock then, at one end or in between."""
        now = self._lock
        held = [entry.holder for entry in (before, now) if entry is not None and entry.holder]
        moved = (before.index if before else 0) != (now.index if now else 0)
        text = f"{self.lock_key} is held by session {held[-1]}" if held else f"{self.lock_key} moved"
        problem = f"something was written (seq {picture.head.seq if picture.head else 'none'}), and nobody held "
        self.ledger.judge("lock", None if held or moved else f"{problem}{self.lock_key}", text)
