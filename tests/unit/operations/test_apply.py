"""``apply -f`` on the embedded stores: one way to write config, that never deletes and takes nothing over."""

import json
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import msgspec
import pytest

from reconciler.errors import InvalidManifests, RevisionRefused, StoreError
from reconciler.model import keys
from reconciler.model.events import Event
from reconciler.operations.apply import ApplyResult, apply
from reconciler.runtime.clock import SystemClock
from reconciler.store.interface import CommitResult, DeleteIf, Operation, Put, Store
from reconciler.store.memory import MemoryStore
from reconciler.store.sqlite import SqliteStore
from reconciler.sync.loop import SyncDaemon
from reconciler.sync.passes import SourceSync
from tests.support.sync import (
    Killed,
    ListedSource,
    WatchedStore,
    config,
    definition,
    hold,
    make_ours,
    manifest,
    revision,
    service,
    state,
    values,
)
from tests.support.wait import wait_until


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.db")
    yield make_ours(made)
    made.close()


def files(*contents: str) -> list[tuple[str, bytes]]:
    return [(f"file-{number}.json", content.encode()) for number, content in enumerate(contents)]


def services(*names: str, **more: int) -> str:
    return json.dumps({"services": [service(name, **more) for name in names]})


def test_it_says_what_it_created_updated_and_left(store: Store) -> None:
    result = apply(store, files(manifest(["web", "api"])))
    assert (result.created, result.updated, result.unchanged) == (5, 0, 0)
    assert result.lines()[-1] == "5 created, 0 updated, 0 unchanged"
    assert result.lines()[0] == "task definition api version 1 created"
    result = apply(store, files(manifest(["web", "api"], desired=4)))
    assert (result.created, result.updated, result.unchanged) == (0, 2, 3)
    assert result.lines()[0] == "service api updated (desired)"


def test_its_json_form_is_stable(store: Store) -> None:
    apply(store, files(manifest(["web"])))
    result = json.loads(msgspec.json.encode(apply(store, files(manifest(["web"], desired=2)))))
    assert result.pop("revision").startswith("sha256:")
    assert result == {
        "created": 0,
        "updated": 1,
        "deleted": 0,
        "unchanged": 2,
        "applied": [
            {"key": "config/services/web", "object": "service web", "action": "updated", "fields": ["desired"]}
        ],
        "warnings": [],
        "ended": [],
    }


def test_rule_14_it_is_a_source_with_a_mark_and_a_lock(store: Store) -> None:
    watched = WatchedStore(store)
    result = apply(watched, files(manifest(["web"])))
    assert {thing["managed_by"] for thing in config(store).values()} == {"apply"}
    recorded = state(store, "apply")
    assert (recorded.mark.settled, recorded.mark.revision) == (True, result.revision)
    assert recorded.mark.counts.total == 3
    lock = store.get("sync/apply")
    assert lock is not None
    assert lock.holder is None, "free again"
    writes = [
        operations for operations in watched.commits if any(each.key.startswith("config/") for each in operations)
    ]
    assert [operations[0].key for operations in writes] == ["sync/apply"]


def test_rule_14_it_never_deletes(store: Store) -> None:
    apply(store, files(manifest(["web", "api"])))
    apply(store, files(manifest(["other"], cluster="second")))
    assert {"config/services/web", "config/services/api", "config/services/other"} <= config(store).keys()
    assert state(store, "apply").mark.counts.total == 8
    assert state(store, "apply").retired == {}


def test_applying_the_same_again_writes_nothing(store: Store) -> None:
    apply(store, files(manifest(["web"])))
    before = values(store, "config/", "state/")
    result = apply(store, files(manifest(["web"])))
    assert (result.created, result.updated, result.unchanged) == (0, 0, 3)
    assert values(store, "config/", "state/") == before


def test_what_is_stored_already_may_be_referred_to(store: Store) -> None:
    apply(store, files(json.dumps({"task_definitions": [definition("web")]})))
    apply(store, files(services("web")))
    apply(store, files('{"clusters": [{"name": "main", "services": ["web"]}]}'))
    assert len(config(store)) == 3


def test_invalid_manifests_write_nothing_and_every_problem_is_said(store: Store) -> None:
    before = values(store, "config/", "state/")
    with pytest.raises(InvalidManifests) as caught:
        apply(store, files(services("web"), '{"services": [{"name": "x", "nonsense": 1}]}'))
    assert "file-0.json:1:" in str(caught.value)
    assert "file-1.json:1:" in str(caught.value)
    assert values(store, "config/", "state/") == before


def test_flags_that_no_agent_takes_are_refused_as_validate_refuses_them(store: Store) -> None:
    container = {"name": "main", "type": "docker", "executor": {"image": "nginx", "flags": ["--rm"]}}
    broken = {"task_definitions": [definition("web") | {"containers": [container]}]}
    with pytest.raises(InvalidManifests, match="RC062"):
        apply(store, files(json.dumps(broken)))
    assert config(store) == {}


def test_what_a_source_manages_is_not_taken_over(store: Store) -> None:
    """Flux, Argo CD: two owners fought for one object."""
    source = ListedSource("fleet", revision("r1", {"x.json": manifest(["web"])}))
    sync = SourceSync(store, source, clock=SystemClock(), emit=lambda _: None)
    sync.run(hold(store, "fleet"), source.read(), is_confirmed=True)
    before = values(store, "config/", "state/")
    with pytest.raises(RevisionRefused, match="service web is managed by source fleet") as caught:
        apply(store, files(services("web", desired=9)))
    assert caught.value.exit_code == 1
    assert values(store, "config/", "state/") == before


def test_what_nobody_manages_is_not_taken_over(store: Store) -> None:
    store.commit([Put("config/services/web", b'{"name":"web","task_name":"web","task_version":1,"desired":1}')])
    with pytest.raises(RevisionRefused, match="no source manages it"):
        apply(store, files(manifest(["web"])))


def test_rule_11_a_known_version_keeps_its_content(store: Store) -> None:
    apply(store, files(manifest(["web"])))
    with pytest.raises(RevisionRefused, match="a version never changes"):
        apply(store, files(manifest(["web"], command="other")))
    apply(store, files(manifest(["web"], command="other")), mutable_versions=True)


def test_warnings_come_with_the_result(store: Store) -> None:
    lonely = json.dumps({"services": [service("lonely")], "task_definitions": [definition("lonely")]})
    result = apply(store, files(lonely))
    assert len(result.warnings) == 1
    assert result.lines()[0] == result.warnings[0]


def test_it_tells_what_it_did(store: Store) -> None:
    events: list[Event] = []
    apply(store, files(manifest(["web"])), emit=events.append)
    assert [event.message.partition(":")[2].partition(": ")[2] for event in events] == [
        "3 created, 0 updated, 0 deleted"
    ]


def test_beside_a_daemon_each_keeps_to_its_own(store: Store) -> None:
    source = ListedSource("fleet", revision("r1", {"x.json": manifest(["web"])}))
    daemon = SyncDaemon(store, source, emit=lambda _: None, poll_s=0.02)
    daemon.start()
    try:
        wait_until(lambda: store.get(keys.source("fleet")), what="the daemon's revision")
        apply(store, files(manifest(["mine"], cluster="second")))
        reads = source.reads
        wait_until(lambda: source.reads > reads + 5, what="some more passes of the daemon")
    finally:
        daemon.stop()
    owners = {key: thing["managed_by"] for key, thing in config(store).items() if key.startswith(keys.SERVICES)}
    assert owners == {"config/services/web": "fleet", "config/services/mine": "apply"}


def test_two_at_once_take_turns(store: Store) -> None:
    results: list[ApplyResult] = []
    threads = [
        threading.Thread(
            target=lambda name=name: results.append(apply(store, files(manifest([name], cluster=f"c-{name}"))))
        )
        for name in ("a", "b", "c")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [result.created for result in results] == [3, 3, 3]
    assert state(store, "apply").mark.counts.total == 9


def test_it_does_not_wait_for_ever(store: Store) -> None:
    hold(store, "apply")
    with pytest.raises(StoreError, match="another process has been working on source apply"):
        apply(store, files(manifest(["web"])), lock_wait_s=0.2)
    assert config(store) == {}


class TestOneThatWasKilled:
    NAMES = tuple(f"s{number}" for number in range(80))

    @pytest.fixture
    def half(self, store: Store) -> None:
        """An ``apply`` of more than one transaction ended after the first."""

        def die(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
            if sum(each.key.startswith("config/") for each in operations) and len(operations) < 64:
                raise Killed
            return go()

        with pytest.raises(Killed):
            apply(WatchedStore(store, die), files(manifest(self.NAMES)))
        assert not state(store, "apply").mark.settled
        lock = store.get("sync/apply")
        assert lock is not None
        store.commit([DeleteIf(lock.key, lock.index)])

    @pytest.mark.usefixtures("half")
    def test_rule_03_the_same_files_complete_it(self, store: Store) -> None:
        apply(store, files(manifest(self.NAMES)))
        recorded = state(store, "apply")
        assert recorded.mark.settled
        assert recorded.mark.counts.total == 161

    @pytest.mark.usefixtures("half")
    def test_rule_03_other_files_do_not_make_a_mix_look_whole(self, store: Store) -> None:
        before = values(store, "config/", "state/")
        with pytest.raises(RevisionRefused, match="was ended before it had written everything") as caught:
            apply(store, files(manifest(["other"], cluster="second")))
        assert "Apply the same files once more" in str(caught.value)
        assert values(store, "config/", "state/") == before
        apply(store, files(manifest(["other"], cluster="second")), abandon_unfinished=True)
        assert state(store, "apply").mark.settled
