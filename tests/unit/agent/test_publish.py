"""What the agent knows of its own status and record besides what it reads of its tasks."""

import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.agent.identity import HostLock
from reconciler.agent.observe import IssuedSource
from reconciler.agent.publish import Publisher
from reconciler.agent.settings import AgentSettings
from reconciler.errors import StoreDenied
from reconciler.executors.interface import Owner
from reconciler.model import codec, keys
from reconciler.model.task import Health, HostStatus, Phase, TaskStatus
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.store import sentinel
from reconciler.store.interface import CommitResult, Operation, Put
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support.clock import HandClock
from tests.support.wait import wait_until


class ClosedPlace(MemoryStore):
    """Where an agent may be denied to write beside its tasks, as with a token that all hosts share."""

    is_closed = False

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        if self.is_closed and any(each.key == keys.placeholder("h1") for each in operations):
            raise StoreDenied("no rights")
        return super().commit(operations)


class Host:
    """The two parts of an agent that see the status of its host, without the loops that call them."""

    def __init__(
        self, folder: Path, *, clock: Clock | None = None, publish_interval_s: float = 0.0, session_ttl_s: float = 1.0
    ) -> None:
        self.space = MemorySpace()
        self.store = ClosedPlace(self.space)
        owner = Owner(sentinel.ensure(self.store, "a-store"), "machine")
        settings = AgentSettings(
            host="h1",
            address="127.0.0.1",
            runtime_dir=folder,
            publish_interval_s=publish_interval_s,
            session_ttl_s=session_ttl_s,
        )
        self.has_session = threading.Event()
        clock = clock or SystemClock()
        self.issued = IssuedSource(self.store, owner, settings, clock)
        self.publisher = Publisher(
            self.store,
            settings,
            HostLock(settings, owner.store_id),
            clock,
            executors=lambda: (),
            trusted=lambda: True,
            on_session=self.has_session.set,
            on_written=self.issued.note_status,
            on_back=self.issued.note_back,
        )
        self.publisher.open()

    def publish(self, note: str) -> None:
        """Publish a status, as often as it takes."""
        self.publisher.wanted = HostStatus(host="h1", tasks={}, notes=(note,))

        def is_there() -> bool:
            self.publisher.publish()
            entry = self.store.get(keys.status("h1"))
            return entry is not None and codec.decode(entry.value, HostStatus, entry.key).notes == (note,)

        wait_until(is_there, what=f"the status {note} is published")

    def close(self) -> None:
        self.publisher.close(keep_session=False)


@pytest.fixture
def host(tmp_path: Path) -> Generator[Host]:
    with closing(Host(tmp_path)) as made:
        yield made


def test_rule_05_a_restore_is_noticed_though_a_newer_status_was_written_before_anybody_looked(host: Host) -> None:
    host.publish("one")
    backup = host.space.snapshot()
    host.publish("two")
    host.issued.look()
    assert host.issued.view.went_back_at is None
    host.space.restore(backup)
    for number in range(20):  # indexes go on where they were, as Consul's do
        host.store.commit([Put("state/other", str(number).encode())])
    host.publish("three")
    host.issued.look()
    assert host.issued.view.went_back_at is not None


def test_a_session_that_does_not_hold_the_hosts_record_is_no_contact(host: Host) -> None:
    began = host.publisher.contact_at
    assert host.has_session.wait(10.0)
    assert host.publisher.contact_at == began
    host.publish("one")
    assert host.publisher.contact_at > began


@pytest.mark.parametrize("closed", [False, True])
def test_a_host_keeps_its_place_where_it_may_and_works_where_it_may_not(host: Host, *, closed: bool) -> None:
    host.store.is_closed = closed
    host.publish("one")
    assert (host.store.get(keys.placeholder("h1")) is None) is closed
    host.issued.look()
    assert host.issued.view.tasks == {}


def test_a_task_that_stops_is_told_of_once_when_it_is_gone_unless_that_takes_long(tmp_path: Path) -> None:
    clock = HandClock()
    healthy = TaskStatus(phase=Phase.RUNNING, health=Health.PASSING, issue=1)
    stopping, starting = TaskStatus(phase=Phase.STOPPING, issue=1), TaskStatus(phase=Phase.STARTING, issue=2)
    with closing(Host(tmp_path, clock=clock, publish_interval_s=1.0, session_ttl_s=1000.0)) as host:
        publisher = host.publisher
        host.publish("both run")
        clock.pass_by(1.0)

        def want(**tasks: TaskStatus) -> None:
            publisher.wanted = HostStatus(host="h1", tasks=tasks)

        def publishes() -> bool:
            publisher.publish()
            return publisher.published == publisher.wanted

        want(a=healthy, b=healthy)
        assert publishes()
        clock.pass_by(10.0)
        want(a=stopping, b=healthy)
        assert not publishes()
        clock.pass_by(2.5)
        assert not publishes()
        want(b=healthy)
        assert publishes(), "it is gone"

        clock.pass_by(10.0)
        want(b=stopping)
        assert not publishes()
        clock.pass_by(1.5)
        want(b=stopping, c=starting)
        assert not publishes(), "what starts waits a second of its own"
        clock.pass_by(1.0)
        assert publishes()
        clock.pass_by(10.0)
        want(b=stopping, c=TaskStatus(phase=Phase.STOPPING, issue=2))
        assert not publishes()
        clock.pass_by(3.0)
        assert publishes(), "that takes long"
