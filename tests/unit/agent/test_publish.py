"""What the agent knows of its own status and record besides what it reads of its tasks."""

import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.agent.identity import HostLock
from reconciler.agent.observe import IssuedSource
from reconciler.agent.publish import Publisher
from reconciler.agent.settings import AgentSettings
from reconciler.executors.interface import Owner
from reconciler.model import codec, keys
from reconciler.model.task import HostStatus
from reconciler.runtime.clock import SystemClock
from reconciler.store import sentinel
from reconciler.store.interface import Put
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support.wait import wait_until


class Host:
    """The two parts of an agent that see the status of its host, without the loops that call them."""

    def __init__(self, folder: Path) -> None:
        self.space = MemorySpace()
        self.store = MemoryStore(self.space)
        owner = Owner(sentinel.ensure(self.store, "a-store"), "machine")
        settings = AgentSettings(
            host="h1", address="127.0.0.1", runtime_dir=folder, publish_interval_s=0.0, session_ttl_s=1.0
        )
        clock, self.has_session = SystemClock(), threading.Event()
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
