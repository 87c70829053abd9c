"""``reconciler sync`` as processes of their own: killed, frozen, relieved."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.model import keys
from reconciler.store.connect import open_store
from reconciler.store.interface import Store
from tests.support.git import GitRepository
from tests.support.program import Daemon, Program
from tests.support.sync import config, make_ours, manifest, state
from tests.support.wait import wait_until

TAKEOVER_S = 60.0

Sync = Callable[[], Daemon]


@pytest.fixture(params=["sqlite", pytest.param("consul", marks=pytest.mark.consul)])
def store(request: pytest.FixtureRequest, tmp_path: Path, program: Program) -> Iterator[Store]:
    """How the test looks at the store of the program."""
    url = f"sqlite://{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("consul").new_url()
    program.use(url)
    store = open_store(url, environ={})
    yield make_ours(store)
    store.close()


@pytest.fixture
def sync(program: Program, repository: GitRepository, store: Store) -> Sync:
    """Starts a process that syncs the repository as source ``fleet``; each has a cache of its own."""
    started = 0

    def start() -> Daemon:
        nonlocal started
        started += 1
        program.environ["XDG_CACHE_HOME"] = str(program.folder / f"cache-{started}")
        return program.start(
            "sync", "--git", repository.url, "--name", "fleet", "--poll", "0.2", "--http", "127.0.0.1:0"
        )

    return start


def names(first: str, count: int) -> list[str]:
    return [f"{first}-{number}" for number in range(count)]


def services(store: Store) -> set[str]:
    return {key.removeprefix(keys.SERVICES) for key in config(store) if key.startswith(keys.SERVICES)}


def applied(store: Store) -> str:
    if store.get(keys.source("fleet")) is None:
        return ""
    mark = state(store, "fleet").mark
    return mark.revision if mark.settled else ""


def is_applying(store: Store) -> bool:
    return store.get(keys.source("fleet")) is not None and not state(store, "fleet").mark.settled


def holder(store: Store) -> str | None:
    entry = store.get(keys.sync_lock("fleet"))
    return entry.holder if entry else None


def arrives(store: Store, commit: str) -> None:
    wait_until(lambda: applied(store) == commit, what=f"{commit} in the store", timeout_s=TAKEOVER_S)


def test_rule_03_killed_in_the_middle_of_a_large_revision_the_next_process_completes_it(
    store: Store, sync: Sync, repository: GitRepository
) -> None:
    repository.commit({"fleet.json": manifest(names("one", 700))})
    daemon = sync()
    wait_until(lambda: is_applying(store), what="the middle of the apply", every_s=0.001)
    daemon.kill()
    if not is_applying(store):
        pytest.skip("it was faster than the signal this time")
    # it deletes less than the brake lets pass, however much was written
    wanted = [*names("one", 695), *names("two", 100)]
    second = repository.commit({"fleet.json": manifest(wanted)})
    sync()
    arrives(store, second)
    assert services(store) == set(wanted)
    assert state(store, "fleet").mark.counts.services == len(wanted)


def test_when_the_one_that_works_is_killed_the_other_takes_over(
    store: Store, sync: Sync, repository: GitRepository
) -> None:
    first = repository.commit({"fleet.json": manifest(["web"])})
    one = sync()
    arrives(store, first)
    two = sync()
    wait_until(lambda: "standing by" in two.output(), what="the second to stand by")
    one.kill()
    second = repository.commit({"fleet.json": manifest(["web", "api"])})
    arrives(store, second)
    assert two.process.poll() is None


def test_when_the_one_that_works_is_stopped_the_other_takes_over_at_once(
    store: Store, sync: Sync, repository: GitRepository
) -> None:
    first = repository.commit({"fleet.json": manifest(["web"])})
    one = sync()
    arrives(store, first)
    two = sync()
    wait_until(lambda: "standing by" in two.output(), what="the second to stand by")
    old = holder(store)
    assert one.stop() == 0
    wait_until(lambda: holder(store) not in (None, old), what="the second to hold the lock")
    second = repository.commit({"fleet.json": manifest(["web", "api"])})
    arrives(store, second)


def test_rule_01_one_that_was_frozen_and_wakes_up_writes_nothing(
    store: Store, sync: Sync, repository: GitRepository
) -> None:
    first = repository.commit({"fleet.json": manifest(["web"])})
    one = sync()
    arrives(store, first)
    two = sync()
    wait_until(lambda: "standing by" in two.output(), what="the second to stand by")
    one.signal(signal.SIGSTOP)
    second = repository.commit({"fleet.json": manifest(["web", "api"])})
    arrives(store, second)
    by_two = holder(store)
    repository.git("checkout", "--quiet", "--detach", first)  # HEAD goes back: a tempting thing to apply
    before = [(entry.key, entry.index) for entry in store.list(keys.CONFIG).entries]
    two.signal(signal.SIGSTOP)
    one.signal(signal.SIGCONT)
    wait_until(lambda: "standing by" in one.output() or holder(store) != by_two, what="the first to find that it lost")
    written = [(entry.key, entry.index) for entry in store.list(keys.CONFIG).entries]
    if holder(store) == by_two:
        assert written == before
    two.signal(signal.SIGCONT)
