"""An override ends when git changes its very field, for good: what says later what it said before wakes it no more."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reconciler.model import keys
from reconciler.model.codec import decode, encode
from reconciler.model.manifests import Host, Service
from reconciler.model.overrides import ServiceOverride
from reconciler.operations import overrides, replacements
from reconciler.operations.apply import apply
from reconciler.operations.overrides import Said
from reconciler.runtime.clock import SystemClock
from reconciler.scheduler.observe import Observer
from reconciler.store.interface import CommitResult, Committed, Operation, Put, Store
from reconciler.store.memory import MemoryStore
from reconciler.sync.passes import SourceSync
from tests.support.sync import (
    Killed,
    ListedSource,
    WatchedStore,
    change,
    dies_at,
    hold,
    make_ours,
    manifest,
    revision,
    state,
    values,
)

SAID = Said(by="ann", reason="load test", now=SystemClock().wall())


class Git:
    """A source, what it commits, and one pass after each commit."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.source = ListedSource("prod", revision("r0", {"main.json": manifest(["web"])}))
        self.told: list[str] = []
        self._fence = hold(store, "prod")
        self._sync = SourceSync(
            store, self.source, clock=SystemClock(), emit=lambda event: self.told.append(event.message)
        )

    def commit(self, **fields: Any) -> None:
        """Commit one revision, with the hosts given and this many web's, and apply it."""
        content = json.loads(manifest(["web"], desired=fields.pop("desired", 3)))
        content |= {name: fields.pop(name) for name in ("hosts",) if name in fields}
        content["services"] = [] if fields.pop("gone", False) else [each | fields for each in content["services"]]
        content["clusters"] = [
            each | {"services": [s["name"] for s in content["services"]]} for each in content["clusters"]
        ]
        id_ = f"r{len(self.source.revisions)}"
        self.source.revisions.append(revision(id_, {"main.json": json.dumps(content)}))
        self.go()

    def go(self) -> None:
        assert not self._sync.run(self._fence, self.source.read(), is_confirmed=True).problems


@pytest.fixture
def store() -> Store:
    return make_ours(MemoryStore())


@pytest.fixture
def git(store: Store) -> Git:
    made = Git(store)
    made.commit(desired=3)
    return made


def desired(store: Store) -> int:
    """What counts, for the scheduler."""
    snapshot = Observer(store).read().scene.snapshot
    return snapshot.overrides.service(snapshot.services["web"]).desired


def of_web(store: Store) -> ServiceOverride | None:
    entry = store.get(keys.service_override("web"))
    return decode(entry.value, ServiceOverride, entry.key) if entry else None


def test_what_git_changed_and_changed_back_wakes_no_old_override(git: Git, store: Store) -> None:
    overrides.scale(store, "web", 4, SAID)
    git.commit(desired=3, task_version=1, max=9)
    assert desired(store) == 4, "another field ends nothing"
    git.commit(desired=6)
    assert desired(store) == 6
    assert "ends the override scale web 4, by ann" in git.told[-1]
    assert "ends the override scale web 4, by ann" in state(store, "prod").history[-1].detail
    git.commit(desired=3)
    assert desired(store) == 3


def test_only_the_part_that_ended_goes(git: Git, store: Store) -> None:
    replacements.restart(store, "web", SAID)
    overrides.stop(store, "web", SAID)
    git.commit(desired=6)
    left = of_web(store)
    assert left is not None
    assert left.scaled is None
    assert left.restarted is not None


def test_a_service_that_comes_again_begins_without_what_was_said_of_the_one_before(git: Git, store: Store) -> None:
    replacements.restart(store, "web", SAID)
    overrides.scale(store, "web", 4, SAID)
    git.commit(gone=True)
    assert of_web(store) is None
    # as an older version of this program left it behind
    store.commit([Put(keys.service_override("web"), encode(ServiceOverride(service="web", restarted=None)))])
    git.commit(desired=3)
    assert of_web(store) is None


def test_apply_ends_an_override_as_well_and_says_so(store: Store) -> None:
    def files(count: int) -> list[tuple[str, bytes]]:
        return [("main.json", manifest(["web"], desired=count).encode())]

    apply(store, files(3))
    overrides.stop(store, "web", SAID)
    assert apply(store, files(5)).lines()[-2] == "ends the override stop web, by ann"
    assert not apply(store, files(3)).ended
    assert desired(store) == 3


def test_a_drain_ends_with_the_field_and_not_with_the_object(git: Git, store: Store) -> None:
    h1: dict[str, Any] = {"name": "h1", "tags": {"zone": "a"}}
    git.commit(hosts=[h1])
    overrides.drain(store, "h1", SAID)
    git.commit(hosts=[])
    assert store.get(keys.host_override("h1")), "the host is there without an object, and somebody works on it"
    git.commit(hosts=[h1 | {"draining": True}])
    assert "ends the override drain h1, by ann" in git.told[-1]
    assert store.get(keys.host_override("h1")) is None
    git.commit(hosts=[h1])
    snapshot = Observer(store).read().scene.snapshot
    assert snapshot.overrides.drained(Host(name="h1")) is None


def test_to_put_right_what_was_changed_by_hand_ends_nothing(git: Git, store: Store) -> None:
    overrides.scale(store, "web", 4, SAID)
    stored = store.get(keys.service("web"))
    assert stored is not None
    store.commit([Put(stored.key, change(stored.value, desired=1))])
    git.go()
    assert desired(store) == 4


def test_a_hand_edit_and_a_commit_at_once_end_it_and_that_is_said(git: Git, store: Store) -> None:
    overrides.scale(store, "web", 4, SAID)
    stored = store.get(keys.service("web"))
    assert stored is not None
    store.commit([Put(stored.key, change(stored.value, desired=1))])
    git.commit(desired=3, max=9)
    assert of_web(store) is None
    assert "ends the override scale web 4, by ann (asleep: the store said 1)" in git.told[-1]


def test_an_operator_who_says_something_meanwhile_is_heard(store: Store) -> None:
    git = Git(WatchedStore(store))
    git.commit(desired=3)
    overrides.scale(store, "web", 4, SAID)

    def meanwhile(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
        if number == first:
            replacements.restart(store, "web", SAID)
        return go()

    assert isinstance(git.store, WatchedStore)
    first = len(git.store.commits) + 1
    git.store.on_commit = meanwhile
    git.commit(desired=6)
    left = of_web(store)
    assert left is not None
    assert (left.scaled, left.restarted is not None) == (None, True)


class Careless(WatchedStore):
    """With a planted bug: what ends overrides is written after what ends them, in a transaction of its own."""

    def commit(self, operations: Sequence[Operation]) -> CommitResult:
        ending = [each for each in operations if getattr(each, "key", "").startswith(keys.OVERRIDES)]
        first = super().commit([each for each in operations if each not in ending])
        return super().commit(ending) if ending and isinstance(first, Committed) else first


@pytest.mark.parametrize("moment", ["before it", "after it"])
@pytest.mark.parametrize("fatal", range(1, 5))
def test_killed_anywhere_the_field_and_its_override_change_together(moment: str, fatal: int) -> None:
    assert change_together(WatchedStore, moment, fatal)


def test_written_one_after_the_other_they_would_not() -> None:
    assert not all(change_together(Careless, "before it", fatal) for fatal in range(1, 5))


def change_together(kind: type[WatchedStore], moment: str, fatal: int) -> bool:
    """Whether of each service both have changed or neither, after sync was killed at its commit number ``fatal``."""
    names = [f"s{number}" for number in range(4)]
    store = make_ours(MemoryStore())
    apply(store, [("main.json", manifest(names, desired=3).encode())])
    for name in names:
        overrides.stop(store, name, SAID)
    watched = kind(store, operations=5)
    watched.on_commit = dies_at(fatal + 1, moment)  # the first one takes the lock
    with pytest.raises(Killed):
        apply(watched, [("main.json", manifest(names, desired=5).encode())])
    stored = {name: store.get(keys.service(name)) for name in names}
    return all(
        entry is not None
        and (decode(entry.value, Service, name).desired == 5) == (store.get(keys.service_override(name)) is None)
        for name, entry in stored.items()
    )


def test_nothing_more_is_read_when_no_such_field_changes(store: Store) -> None:
    watched = WatchedStore(store)
    git = Git(watched)
    git.commit(desired=3)
    watched.listed.clear()
    git.commit(desired=3, max=7)
    assert keys.SERVICE_OVERRIDES not in watched.listed
    assert values(store, keys.OVERRIDES) == {}
