"""Where objects are written: what is recorded of it, at which cost, and that nothing depends on it."""

import json
from collections.abc import Callable, Sequence

import pytest

from reconciler.model import keys
from reconciler.model.events import Event, Level
from reconciler.model.provenance import MOST_OBJECTS, SHARDS
from reconciler.operations.apply import apply
from reconciler.runtime.whoami import whoami
from reconciler.store.interface import CommitResult, DeleteIf, Operation, Store
from reconciler.store.memory import MemoryStore
from reconciler.sync.passes import SourceSync
from tests.support.clock import HandClock
from tests.support.sync import (
    ListedSource,
    WatchedStore,
    config,
    declared_in,
    definition,
    hold,
    is_provenance,
    make_ours,
    manifest,
    revision,
    state,
    values,
)

TWO = """\
clusters:
- name: main
  services: [web]

services:
- name: web
  task_name: web
  task_version: 1
  desired: 1
"""
WEB = """\
task_definitions:
- name: web
  version: 1
  containers:
  - {name: main, type: bash, executor: {start: [sleep 9]}}
"""


@pytest.fixture
def store() -> Store:
    return make_ours(MemoryStore())


def sync_of(store: Store, source: ListedSource, events: list[Event] | None = None) -> SourceSync:
    return SourceSync(store, source, clock=HandClock(), emit=(lambda _: None) if events is None else events.append)


def test_each_object_has_the_line_the_commit_and_the_author_of_its_file(store: Store) -> None:
    source = ListedSource("fleet", revision("r1", {"main.yml": TWO, "tasks/web.yml": WEB}))
    sync, fence = sync_of(store, source), hold(store, "fleet")
    sync.run(fence, source.read(), is_confirmed=True)
    source.revisions.append(revision("r2", {"main.yml": TWO.replace("desired: 1", "desired: 2"), "tasks/web.yml": WEB}))
    sync.run(fence, source.read(), is_confirmed=True)
    assert declared_in(store, "fleet") == {
        "config/clusters/main": ("main.yml", 2, "r2", "Ann"),
        "config/services/web": ("main.yml", 6, "r2", "Ann"),
        "config/task_definitions/web/1": ("tasks/web.yml", 2, "r1", "Ann"),
    }
    assert source.asked == [{"main.yml", "tasks/web.yml"}, {"main.yml"}], "git is asked about what changed only"


def test_a_comment_and_a_moved_file_write_the_new_place_and_no_object(store: Store) -> None:
    source = ListedSource("fleet", revision("r1", {"main.yml": TWO, "tasks/web.yml": WEB}))
    sync, fence = sync_of(store, source), hold(store, "fleet")
    sync.run(fence, source.read(), is_confirmed=True)
    before = values(store, keys.CONFIG)
    source.revisions.append(revision("r2", {"main.yml": TWO, "web.yml": "# the web\n" + WEB}))
    sync.run(fence, source.read(), is_confirmed=True)
    assert values(store, keys.CONFIG) == before
    assert declared_in(store, "fleet")["config/task_definitions/web/1"] == ("web.yml", 3, "r2", "Ann")
    assert len(declared_in(store, "fleet")) == 3


def test_a_pass_without_news_neither_reads_nor_writes_it(store: Store) -> None:
    watched = WatchedStore(store)
    source = ListedSource("fleet", revision("r1", {"main.yml": TWO, "web.yml": WEB}))
    sync, fence = sync_of(watched, source), hold(store, "fleet")
    sync.run(fence, source.read(), is_confirmed=True)
    watched.commits.clear()
    watched.listed.clear()
    sync.run(fence, source.read(), is_confirmed=True)
    assert watched.commits == []
    assert not any(prefix.startswith(keys.PROVENANCE) for prefix in watched.listed)
    sync_of(watched, source).run(fence, source.read(), is_confirmed=True)
    assert watched.commits == [], "nor does another process that finds it right"
    assert len(source.asked) == 1


def test_what_is_lost_is_made_again(store: Store) -> None:
    source = ListedSource("fleet", revision("r1", {"main.yml": TWO, "web.yml": WEB}))
    sync, fence = sync_of(store, source), hold(store, "fleet")
    sync.run(fence, source.read(), is_confirmed=True)
    before = declared_in(store, "fleet")
    lost, *_ = store.list(keys.PROVENANCE).entries
    store.commit([DeleteIf(lost.key, lost.index)])
    assert declared_in(store, "fleet") != before
    sync_of(store, source).run(fence, source.read(), is_confirmed=True)
    assert declared_in(store, "fleet") == before


def test_what_somebody_else_wrote_meanwhile_is_put_right(store: Store) -> None:
    source = ListedSource("fleet", revision("r1", {"main.yml": TWO, "web.yml": WEB}))
    sync, fence = sync_of(store, source), hold(store, "fleet")
    sync.run(fence, source.read(), is_confirmed=True)
    for entry in store.list(keys.PROVENANCE).entries:
        store.commit([DeleteIf(entry.key, entry.index)])
    source.revisions.append(revision("r2", {"main.yml": TWO, "web.yml": WEB + "# more"}))
    sync.run(fence, source.read(), is_confirmed=True)
    assert declared_in(store, "fleet")["config/services/web"] == ("main.yml", 6, "r1", "Ann")
    assert declared_in(store, "fleet")["config/task_definitions/web/1"][2] == "r2"


def test_a_pass_is_done_although_it_could_not_be_recorded(store: Store) -> None:
    from reconciler.errors import StoreDenied

    def refuse(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
        if is_provenance(operations):
            raise StoreDenied("403 Permission denied")
        return go()

    events: list[Event] = []
    source = ListedSource("fleet", revision("r1", {"main.yml": TWO, "web.yml": WEB}))
    sync, fence = sync_of(WatchedStore(store, refuse), source, events), hold(store, "fleet")
    for _ in range(3):
        assert not sync.run(fence, source.read(), is_confirmed=True).problems
    assert state(store, "fleet").mark.settled
    assert [event.message for event in events if event.level is Level.WARNING] == [
        "where objects are written could not be recorded, so `explain` can't tell: 403 Permission denied"
    ]
    assert len(source.asked) == 1, "what git said is kept until it can be written"


def test_a_definition_that_is_no_longer_declared_keeps_its_last_place(store: Store) -> None:
    source = ListedSource("fleet", revision("r1", {"main.json": manifest(["web", "api"])}))
    sync, fence = sync_of(store, source), hold(store, "fleet")
    sync.run(fence, source.read(), is_confirmed=True)
    source.revisions.append(revision("r2", {"main.json": manifest(["web"])}))
    sync.run(fence, source.read(), is_confirmed=True)
    assert "config/task_definitions/api/1" in config(store)
    assert "config/task_definitions/api/1" not in declared_in(store, "fleet")
    assert any(b'"declared":false' in entry.value for entry in store.list(keys.PROVENANCE).entries)


def test_thousands_of_objects_in_one_file_stay_far_below_what_a_value_may_hold(store: Store) -> None:
    files = {"main.json": json.dumps({"task_definitions": [definition(f"d{number}") for number in range(3_000)]})}
    watched = WatchedStore(store)
    source = ListedSource("fleet", revision("r1", files))
    sync_of(watched, source).run(hold(store, "fleet"), source.read(), is_confirmed=True)
    entries = store.list(keys.PROVENANCE).entries
    assert len(declared_in(store, "fleet")) == 3_000
    assert len(entries) <= 3_000 / MOST_OBJECTS
    assert len(entries) < SHARDS
    assert max(len(entry.value) for entry in entries) < store.limits.value_bytes / 2
    assert sum(map(is_provenance, watched.commits)) <= 3


def test_what_is_applied_by_hand_has_its_file_its_line_and_who_did_it(store: Store) -> None:
    apply(store, [("here/main.yml", TWO.encode()), ("here/web.yml", WEB.encode())])
    apply(store, [("there/web.yml", WEB.replace("version: 1", "version: 2").encode())])
    assert declared_in(store, "apply") == {
        "config/clusters/main": ("here/main.yml", 2, "", whoami()),
        "config/services/web": ("here/main.yml", 6, "", whoami()),
        "config/task_definitions/web/1": ("here/web.yml", 2, "", whoami()),
        "config/task_definitions/web/2": ("there/web.yml", 2, "", whoami()),
    }
    before = values(store, keys.PROVENANCE)
    apply(store, [("there/web.yml", WEB.replace("version: 1", "version: 2").encode())])
    assert values(store, keys.PROVENANCE) == before
