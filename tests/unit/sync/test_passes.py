"""One pass at a time, on the embedded stores: what is written, what is refused, what is left alone."""

import json
from collections.abc import Callable, Sequence

import pytest

from reconciler.errors import SourceError, StoreError, StoreNotOurs, UsageError
from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.events import Event, Level
from reconciler.model.manifests import Service
from reconciler.model.source_state import SourceCounts, SourceState, SyncMark
from reconciler.model.task import PlacementSeq, Task
from reconciler.runtime.clock import SystemClock
from reconciler.store.interface import (
    CommitResult,
    Committed,
    Conflict,
    DeleteIf,
    Held,
    Operation,
    Put,
    PutIf,
    Store,
    Unknown,
)
from reconciler.sync.late import GRACE_S
from reconciler.sync.passes import SourceSync
from reconciler.sync.reconcile import ATTEMPTS
from tests.support.sync import (
    ListedSource,
    WatchedStore,
    change,
    config,
    definition,
    hold,
    is_provenance,
    manifest,
    revision,
    service,
    state,
    values,
)

RM = {"name": "main", "type": "docker", "executor": {"image": "nginx", "flags": ["--rm"]}}
R1 = revision("r1", {"main.json": manifest(["web", "api"])})
R2 = revision("r2", {"main.json": manifest(["web", "db"], desired=3)})


class WallClock(SystemClock):
    """A clock whose wall time is set by the test."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def wall(self) -> float:
        return self.now


def sync_of(store: Store, source: ListedSource, events: list[Event] | None = None, **more: object) -> SourceSync:
    clock = more.pop("clock", None) or WallClock()
    emit = (lambda _: None) if events is None else events.append
    return SourceSync(store, source, clock=clock, emit=emit, **more)  # type: ignore[arg-type]


def run(sync: SourceSync, fence: Held, *, is_confirmed: bool = True) -> None:
    source = sync._source
    sync.run(fence, source.read(), is_confirmed=is_confirmed)


class TestAPass:
    def test_a_revision_becomes_config_and_says_who_manages_it(self, store: Store) -> None:
        source = ListedSource("fleet", R1)
        run(sync_of(store, source), hold(store, "fleet"))
        stored = config(store)
        assert set(stored) == {
            "config/clusters/main",
            "config/services/api",
            "config/services/web",
            "config/task_definitions/api/1",
            "config/task_definitions/web/1",
        }
        assert {each["managed_by"] for each in stored.values()} == {"fleet"}
        recorded = state(store, "fleet")
        assert (recorded.mark.settled, recorded.mark.revision, recorded.seen) == (True, "r1", "r1")
        assert recorded.mark.counts == SourceCounts(clusters=1, services=2, task_definitions=2)
        assert (recorded.subject, recorded.author, recorded.problems) == ("Change to r1", "Ann", ())

    def test_the_next_revision_creates_updates_and_deletes_in_one_transaction(self, store: Store) -> None:
        source = ListedSource("fleet", R1)
        watched = WatchedStore(store)
        sync, fence = sync_of(watched, source), hold(store, "fleet")
        run(sync, fence)
        source.revisions.append(R2)
        watched.commits.clear()
        run(sync, fence)
        assert len(watched.decisive) == 1
        stored = config(store)
        assert {"config/services/db", "config/services/web"} == {key for key in stored if "services" in key}
        assert stored["config/services/web"]["desired"] == 3
        assert stored["config/task_definitions/api/1"], "definitions go late"
        assert state(store, "fleet").retired == {"api/1": 1_700_000_000}

    def test_moving_and_renaming_files_changes_no_object(self, store: Store) -> None:
        """Argo CD: a rename restarted everything."""
        moved = revision("r2", {"deep/er/other.json": R1.files["main.json"].decode()})
        source = ListedSource("fleet", R1)
        sync, fence = sync_of(store, source), hold(store, "fleet")
        run(sync, fence)
        before = {entry.key: entry.index for entry in store.list(keys.CONFIG).entries}
        source.revisions.append(moved)
        run(sync, fence)
        assert {entry.key: entry.index for entry in store.list(keys.CONFIG).entries} == before
        assert state(store, "fleet").mark.revision == "r2"

    @pytest.mark.parametrize("name", ["apply", "", "a/b", "_", "x" * 65, "a\n"])
    def test_a_name_that_no_source_can_have_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(UsageError):
            sync_of(store, ListedSource(name))


class TestQuiescence:
    def test_once_converged_nothing_is_written_or_parsed(self, store: Store, events: list[Event]) -> None:
        source = ListedSource("fleet", R1)
        watched = WatchedStore(store)
        clock = WallClock()
        sync, fence = sync_of(watched, source, events, clock=clock), hold(store, "fleet")
        run(sync, fence)
        commits, parsed, told = len(watched.commits), sync.parsed_files, len(events)
        for _ in range(5):
            clock.now += 1000
            run(sync, fence)
        assert (len(watched.commits), sync.parsed_files, len(events)) == (commits, parsed, told)

    def test_a_restarted_process_finds_that_there_is_nothing_to_do(self, store: Store) -> None:
        source = ListedSource("fleet", R1)
        fence = hold(store, "fleet")
        run(sync_of(store, source), fence)
        watched = WatchedStore(store)
        run(sync_of(watched, source), fence)
        assert watched.commits == []

    def test_a_refused_revision_is_recorded_once(self, store: Store, events: list[Event]) -> None:
        source = ListedSource("fleet", R1)
        watched = WatchedStore(store)
        sync, fence = sync_of(watched, source, events), hold(store, "fleet")
        run(sync, fence)
        source.revisions.append(revision("bad", {"main.json": "{}"}))
        run(sync, fence)
        commits, parsed, told = len(watched.commits), sync.parsed_files, len(events)
        for _ in range(3):
            run(sync, fence)
        assert (len(watched.commits), sync.parsed_files, len(events)) == (commits, parsed, told)

    def test_one_changed_file_among_many_is_the_only_one_parsed_and_written(self, store: Store) -> None:
        files = {f"{number}.json": manifest([f"s{number}"], cluster=f"c{number}") for number in range(100)}
        source = ListedSource("fleet", revision("r1", files))
        watched = WatchedStore(store)
        sync, fence = sync_of(watched, source), hold(store, "fleet")
        run(sync, fence)
        parsed = sync.parsed_files
        watched.commits.clear()
        source.revisions.append(revision("r2", files | {"7.json": manifest(["s7"], cluster="c7", desired=5)}))
        run(sync, fence)
        assert sync.parsed_files == parsed + 1
        decided, noted = watched.commits
        assert [operation.key for operation in decided[2:]] == [keys.MOVED, "config/services/s7"]
        assert len(noted) == 2, "the fence, and one small record of the file"
        assert isinstance(noted[1], PutIf)
        assert len(noted[1].value) < 2_000


class TestRefusals:
    """Config stays as it was, and the reason is recorded."""

    def test_one_broken_file_stops_the_revision_and_every_problem_is_named(
        self, store: Store, events: list[Event]
    ) -> None:
        """Flux: one bad file blocked everything, and errors came one at a time."""
        source = ListedSource("fleet", R1)
        sync, fence = sync_of(store, source, events), hold(store, "fleet")
        run(sync, fence)
        before = values(store, keys.CONFIG)
        broken = {
            "main.json": R2.files["main.json"].decode(),
            "a.yml": "services:\n- name: x\n  nonsense: 1\n",
            "b.yml": "\t",
            "c.json": json.dumps({"task_definitions": [definition("db", 7) | {"containers": [RM]}]}),
        }
        source.revisions.append(revision("r2", broken))
        run(sync, fence)
        assert values(store, keys.CONFIG) == before
        recorded = state(store, "fleet")
        assert (recorded.mark.revision, recorded.mark.settled, recorded.seen) == ("r1", True, "r2")
        assert recorded.problem_count == len(recorded.problems) >= 2
        assert any(problem.startswith("a.yml:3:3: error") for problem in recorded.problems), recorded.problems
        assert any(problem.startswith("b.yml:1:1: error") for problem in recorded.problems), recorded.problems
        assert any(" RC062 " in problem for problem in recorded.problems), recorded.problems
        assert [event.level for event in events][-1] is Level.ERROR
        source.revisions.append(revision("r3", {"main.json": R2.files["main.json"].decode()}))
        run(sync, fence)
        recorded = state(store, "fleet")
        assert (recorded.mark.revision, recorded.problems, recorded.problem_count) == ("r3", (), 0)

    def test_a_first_revision_that_is_broken_is_recorded_too(self, store: Store) -> None:
        run(sync_of(store, ListedSource("fleet", revision("r1", {"a.yml": "\t"}))), hold(store, "fleet"))
        recorded = state(store, "fleet")
        assert (recorded.mark.revision, recorded.mark.counts.total, recorded.seen) == ("", 0, "r1")
        assert recorded.problems

    def test_thousands_of_problems_fit_into_the_record(self, store: Store) -> None:
        files = {f"{number}.yml": f"services:\n- name: s{number}\n  {'x' * 2000}: 1\n" for number in range(300)}
        run(sync_of(store, ListedSource("fleet", revision("r1", files))), hold(store, "fleet"))
        recorded = state(store, "fleet")
        assert (len(recorded.problems), recorded.problem_count >= 300) == (20, True)
        assert len(encode(recorded)) < 20_000

    def test_a_source_that_cannot_be_read_writes_no_config(self, store: Store, events: list[Event]) -> None:
        """git2consul: what could not be read for a moment was taken for deleted."""
        source = ListedSource("fleet", R1)
        sync, fence = sync_of(store, source, events), hold(store, "fleet")
        run(sync, fence)
        before = values(store, keys.CONFIG)
        for _ in range(3):
            sync.run(fence, None, SourceError("example.org is down"), is_confirmed=False)
        assert values(store, keys.CONFIG) == before
        recorded = state(store, "fleet")
        assert (recorded.mark.revision, recorded.seen, recorded.problems) == ("r1", "r1", ("example.org is down",))
        run(sync, fence)
        assert state(store, "fleet").problems == ()
        assert [event.message for event in events][-2:] == ["example.org is down", "the problems are over"]

    def test_two_sources_that_declare_one_object_are_an_error_that_names_both(self, store: Store) -> None:
        """Flux, Argo CD: two owners fought for one object."""
        run(sync_of(store, ListedSource("one", R1)), hold(store, "one"))
        before = values(store, keys.CONFIG)
        two = ListedSource("two", revision("t1", {"x.json": manifest(["web"], cluster="second")}))
        run(sync_of(store, two), hold(store, "two"))
        assert values(store, keys.CONFIG) == before
        assert all("is managed by source one" in problem for problem in state(store, "two").problems)
        assert state(store, "one").problems == ()

    def test_rule_11_a_known_version_with_other_content(self, store: Store) -> None:
        source = ListedSource("fleet", R1)
        sync, fence = sync_of(store, source), hold(store, "fleet")
        run(sync, fence)
        source.revisions.append(revision("r2", {"main.json": manifest(["web", "api"], command="other")}))
        run(sync, fence)
        recorded = state(store, "fleet")
        assert recorded.mark.revision == "r1"
        assert recorded.problem_count == 2
        assert "a version never changes" in recorded.problems[0]

    def test_during_development_it_is_applied(self, store: Store) -> None:
        source = ListedSource("dev", R1)
        sync, fence = sync_of(store, source, mutable_versions=True), hold(store, "dev")
        run(sync, fence)
        source.revisions.append(revision("r2", {"main.json": manifest(["web", "api"], command="other")}))
        run(sync, fence)
        assert state(store, "dev").mark.revision == "r2"

    def test_an_empty_revision_deletes_nothing(self, store: Store) -> None:
        """Argo CD: one bad change pruned everything."""
        source = ListedSource("fleet", R1)
        sync, fence = sync_of(store, source), hold(store, "fleet")
        run(sync, fence)
        before = values(store, keys.CONFIG)
        source.revisions.append(revision("r2", {}))
        run(sync, fence)
        assert values(store, keys.CONFIG) == before
        assert "declares nothing" in state(store, "fleet").problems[0]


class TestOthers:
    def test_siblings_and_foreign_keys_are_never_touched(self, store: Store) -> None:
        """git2consul: deleting a prefix wiped its siblings, even the whole store."""
        foreign = {
            "config/services/we": b'{"name":"we"}',
            "config/services/webshop": encode(Service(name="webshop", task_name="x", task_version=1, desired=1)),
            "config/app/database": b"postgres://",
            "config/services/web/extra": b"odd",
        }
        assert isinstance(store.commit([Put(key, value) for key, value in foreign.items()]), Committed)
        source = ListedSource("fleet", R1)
        sync, fence = sync_of(store, source), hold(store, "fleet")
        run(sync, fence)
        source.revisions.append(revision("r2", {"x.json": manifest(["other"])}))
        run(sync, fence)
        stored = values(store, keys.CONFIG)
        assert "config/services/web" not in stored
        assert {key: stored[key] for key in foreign} == foreign

    def test_several_sources_keep_their_own_objects(self, store: Store) -> None:
        one = ListedSource("one", revision("a", {"x.json": manifest(["a1", "a2"], cluster="a")}))
        two = ListedSource("two", revision("b", {"x.json": manifest(["b1"], cluster="b")}))
        syncs = [(sync_of(store, source), hold(store, source.name)) for source in (one, two)]
        for each in syncs:
            run(*each)
        one.revisions.append(revision("a2", {"x.json": manifest(["a3"], cluster="a")}))
        for each in syncs:
            run(*each)
        services = {key: thing["managed_by"] for key, thing in config(store).items() if "services" in key}
        assert services == {"config/services/a3": "one", "config/services/b1": "two"}

    def test_two_sources_at_the_same_moment_do_not_both_get_an_object(self, store: Store) -> None:
        """Both see that it is not there; the second write fails and sees why."""
        two = ListedSource("two", revision("b", {"x.json": manifest(["web"], cluster="b")}))
        second, fence = sync_of(store, two), hold(store, "two")

        def first_the_other(
            number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]
        ) -> CommitResult:
            if number == 1:
                run(second, fence)
            return go()

        watched = WatchedStore(store, first_the_other)
        run(sync_of(watched, ListedSource("one", R1)), hold(store, "one"))
        assert config(store)["config/services/web"]["managed_by"] == "two"
        assert "is managed by source two" in state(store, "one").problems[0]
        assert state(store, "one").mark.revision == ""


class TestDrift:
    @pytest.fixture
    def converged(self, store: Store, events: list[Event]) -> tuple[SourceSync, Held, dict[str, bytes]]:
        sync, fence = sync_of(store, ListedSource("fleet", R1), events), hold(store, "fleet")
        run(sync, fence)
        events.clear()
        return sync, fence, values(store, keys.CONFIG)

    def test_what_was_edited_by_hand_is_put_right_and_said(
        self, store: Store, converged: tuple[SourceSync, Held, dict[str, bytes]], events: list[Event]
    ) -> None:
        sync, fence, before = converged
        store.commit([Put("config/services/web", change(before["config/services/web"], desired=9))])
        run(sync, fence)
        assert values(store, keys.CONFIG) == before
        assert "update service web (desired)" in events[0].message
        assert events[0].level is Level.WARNING

    def test_what_was_deleted_by_hand_is_put_back(
        self, store: Store, converged: tuple[SourceSync, Held, dict[str, bytes]]
    ) -> None:
        sync, fence, before = converged
        entry = store.get("config/clusters/main")
        assert entry is not None
        store.commit([DeleteIf(entry.key, entry.index)])
        run(sync, fence)
        assert values(store, keys.CONFIG) == before

    def test_the_key_that_says_which_source_moved_is_put_back(self, store: Store) -> None:
        sync, fence = sync_of(watched := WatchedStore(store), ListedSource("fleet", R1)), hold(store, "fleet")
        run(sync, fence)
        moved = store.get(keys.MOVED)
        assert moved is not None
        store.commit([DeleteIf(keys.MOVED, moved.index)])
        run(sync, fence)
        assert store.get(keys.MOVED) is not None
        watched.commits.clear()
        run(sync, fence)
        assert watched.commits == []

    def test_a_definition_edited_by_hand_is_put_right_too(
        self, store: Store, converged: tuple[SourceSync, Held, dict[str, bytes]]
    ) -> None:
        sync, fence, before = converged
        key = "config/task_definitions/web/1"
        store.commit([Put(key, change(before[key], memory=64))])
        run(sync, fence)
        assert values(store, keys.CONFIG) == before

    def test_an_object_that_claims_to_be_ours_and_is_not_declared_goes(
        self, store: Store, converged: tuple[SourceSync, Held, dict[str, bytes]]
    ) -> None:
        sync, fence, before = converged
        store.commit([Put("config/services/extra", change(before["config/services/web"], name="extra"))])
        run(sync, fence)
        assert values(store, keys.CONFIG) == before

    def test_each_repair_writes_another_mark(
        self, store: Store, converged: tuple[SourceSync, Held, dict[str, bytes]]
    ) -> None:
        """Rule 1: a transaction that is late must not be able to land after its successor."""
        sync, fence, before = converged
        chunks = [state(store, "fleet").mark.chunk]
        for desired in (7, 8):
            store.commit([Put("config/services/web", change(before["config/services/web"], desired=desired))])
            run(sync, fence)
            chunks.append(state(store, "fleet").mark.chunk)
        assert chunks == sorted(set(chunks))

    def test_it_is_put_right_while_the_newest_revision_is_broken(self, store: Store, events: list[Event]) -> None:
        source = ListedSource("fleet", R1, revision("bad", {"main.json": "{}"}))
        fence = hold(store, "fleet")
        run(sync_of(store, ListedSource("fleet", R1)), fence)
        before = values(store, keys.CONFIG)
        store.commit([Put("config/services/web", change(before["config/services/web"], desired=9))])
        run(sync_of(store, source, events), fence)
        assert values(store, keys.CONFIG) == before
        recorded = state(store, "fleet")
        assert (recorded.mark.revision, recorded.seen, bool(recorded.problems)) == ("r1", "bad", True)

    def test_it_is_put_right_while_the_source_is_away(self, store: Store) -> None:
        source = ListedSource("fleet", R1)
        fence = hold(store, "fleet")
        run(sync_of(store, source), fence)
        before = values(store, keys.CONFIG)
        store.commit([Put("config/services/web", change(before["config/services/web"], desired=9))])
        sync_of(store, source).run(fence, None, SourceError("down"), is_confirmed=False)
        assert values(store, keys.CONFIG) == before
        assert state(store, "fleet").problems == ("down",)


class TestEvidence:
    """Rule 5: nothing is concluded from a part."""

    def test_rule_05_without_a_sentinel_nothing_is_written(self, store: Store) -> None:
        sync, fence = sync_of(store, ListedSource("fleet", R1)), hold(store, "fleet")
        run(sync, fence)
        for key in (keys.CONFIG_SENTINEL, keys.STATE_SENTINEL):
            entry = store.get(key)
            assert entry is not None
            store.commit([DeleteIf(key, entry.index)])
            before = values(store, "config/", "state/")
            with pytest.raises(StoreNotOurs):
                run(sync, fence)
            assert values(store, "config/", "state/") == before
            store.commit([Put(key, entry.value)])

    def test_rule_05_another_store_is_noticed(self, store: Store) -> None:
        sync, fence = sync_of(store, ListedSource("fleet", R1)), hold(store, "fleet")
        run(sync, fence)
        other = b'{"store_id":"another"}'
        store.commit([Put(keys.CONFIG_SENTINEL, other), Put(keys.STATE_SENTINEL, other)])
        with pytest.raises(StoreNotOurs, match="another store now"):
            run(sync, fence)

    def test_rule_05_a_listing_that_lacks_objects_is_noticed(self, store: Store) -> None:
        """As a token shows it that may not read everything."""
        fence = hold(store, "fleet")
        run(sync_of(store, ListedSource("fleet", R1)), fence)

        class Narrow(WatchedStore):
            def list(self, prefix: str):  # type: ignore[no-untyped-def]
                listing = self.inner.list(prefix)
                shown = tuple(entry for entry in listing.entries if "services" not in entry.key)
                return type(listing)(shown, listing.index)

        narrow = Narrow(store)
        with pytest.raises(StoreNotOurs, match="lists no service"):
            run(sync_of(narrow, ListedSource("fleet", R1)), fence)
        assert narrow.commits == []


class TestRewrittenHistory:
    def test_rule_03_it_is_believed_when_it_is_seen_a_second_time(self, store: Store, events: list[Event]) -> None:
        source = ListedSource("fleet", R1)
        sync, fence = sync_of(store, source, events), hold(store, "fleet")
        run(sync, fence)
        source.revisions.append(R2)
        source.dropped.append("r1")
        before = values(store, "config/", "state/")
        outcome = sync.run(fence, source.read(), is_confirmed=False)
        assert outcome.is_in_doubt
        assert values(store, "config/", "state/") == before
        assert "the history was rewritten" in events[-1].message
        run(sync, fence)
        assert state(store, "fleet").mark.revision == "r2"

    def test_a_repository_of_unknown_descent_under_the_same_name_deletes_nothing(self, store: Store) -> None:
        fence = hold(store, "fleet")
        run(sync_of(store, ListedSource("fleet", R1)), fence)
        before = values(store, keys.CONFIG)
        run(sync_of(store, ListedSource("fleet", R2)), fence)
        assert values(store, keys.CONFIG) == before
        assert "has nothing to do with r1" in state(store, "fleet").problems[0]


def big(number: int, *, count: int = 70, desired: int = 1) -> dict[str, str]:
    """A revision of ``2 * count + 1`` objects, of which most differ from those of another number."""
    return {"main.json": manifest([f"s{number}-{each}" for each in range(count)], desired=desired)}


class TestLargeRevisions:
    def test_rule_02_the_mark_says_applying_until_the_last_transaction(self, store: Store) -> None:
        marks = []

        def note(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
            answer = go()
            if is_provenance(operations):
                return answer
            recorded = state(store, "fleet")
            stored = sum(thing["managed_by"] == "fleet" for thing in config(store).values())
            assert recorded.mark.counts.total == stored, "the counts are those after each transaction"
            marks.append((recorded.mark.settled, recorded.mark.revision, recorded.mark.to))
            return answer

        source = ListedSource("fleet", revision("r1", big(1)))
        sync, fence = sync_of(WatchedStore(store, note), source), hold(store, "fleet")
        run(sync, fence)
        assert marks == [(False, "", "r1"), (False, "", "r1"), (True, "r1", None)]
        marks.clear()
        source.revisions.append(revision("r2", big(2)))
        run(sync, fence)
        assert marks == [(False, "r1", "r2")] * (len(marks) - 1) + [(True, "r2", None)]
        assert len(marks) > 3

    def test_rule_02_a_source_that_begins_anew_is_noticed_too(self, store: Store) -> None:
        moved = []
        for each in (R1, R2):
            run(sync_of(store, ListedSource("fleet", each)), fence := hold(store, "fleet"))
            moved.append(store.get(keys.MOVED))
            marks = store.get(keys.source("fleet")), store.get(fence.key)
            store.commit([DeleteIf(entry.key, entry.index) for entry in marks if entry])
        assert moved[0]
        assert moved[1]
        assert moved[0].index < moved[1].index, "schedulers compare that"

    def test_rule_08_no_transaction_is_larger_than_the_store_takes(self, store: Store) -> None:
        watched = WatchedStore(store)
        long = "x" * 30_000
        files = {"main.json": json.dumps({"task_definitions": [definition(f"d{n}", command=long) for n in range(40)]})}
        run(sync_of(watched, ListedSource("fleet", revision("r1", files))), hold(store, "fleet"))
        assert len(watched.commits) > 1
        assert state(store, "fleet").mark.counts.task_definitions == 40

    def test_rule_01_every_transaction_is_fenced_and_moves_the_mark(self, store: Store) -> None:
        watched = WatchedStore(store)
        fence = hold(store, "fleet")
        source = ListedSource("fleet", revision("r1", big(1)))
        sync = sync_of(watched, source)
        run(sync, fence)
        source.revisions.append(revision("r2", big(2)))
        run(sync, fence)
        seen = set()
        for operations in watched.decisive:
            assert operations[0] == fence
            mark = operations[1]
            assert isinstance(mark, PutIf)
            assert mark.key == "state/sync/fleet"
            seen.add(mark.value)
        assert len(seen) == len(watched.decisive)
        assert all(operations[0] == fence for operations in watched.commits)


class TestUncertainty:
    def test_rule_01_a_commit_that_nobody_can_vouch_for_is_looked_at_again(self, store: Store) -> None:
        for is_done in (True, False):
            name = f"fleet-{is_done}"
            lost = {2, 4}

            def lose(
                number: int,
                operations: Sequence[Operation],
                go: Callable[[], CommitResult],
                *,
                is_done: bool = is_done,
                lost: set[int] = lost,
            ) -> CommitResult:
                if number in lost:
                    if is_done:
                        go()
                    return Unknown("the connection broke")
                return go()

            files = {"main.json": manifest([f"{is_done}{number}" for number in range(70)], cluster=name)}
            source = ListedSource(name, revision("r1", files))
            run(sync_of(WatchedStore(store, lose), source), hold(store, name))
            recorded = state(store, name)
            assert (recorded.mark.settled, recorded.mark.revision) == (True, "r1")
            assert recorded.mark.counts.total == 141

    def test_rule_01_a_transaction_that_is_late_does_nothing(self, store: Store) -> None:
        late: list[Callable[[], CommitResult]] = []

        def delay(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
            if number == 2:
                late.append(go)
                return Unknown("timeout")
            return go()

        source = ListedSource("fleet", revision("r1", big(1)))
        sync, fence = sync_of(WatchedStore(store, delay), source), hold(store, "fleet")
        run(sync, fence)
        source.revisions.append(revision("r2", big(2)))
        run(sync, fence)
        before = values(store, "config/", "state/")
        assert isinstance(late[0](), Conflict)
        assert values(store, "config/", "state/") == before

    def test_a_store_that_never_says_yes_is_given_up_for_now(self, store: Store) -> None:
        watched = WatchedStore(store, lambda *_: Unknown("no leader"))
        with pytest.raises(StoreError, match="could not be written"):
            run(sync_of(watched, ListedSource("fleet", R1)), hold(store, "fleet"))
        assert len(watched.commits) == ATTEMPTS

    def test_slow_progress_is_progress(self, store: Store) -> None:
        """Every second answer is lost, and there are more transactions than attempts without progress."""
        watched = WatchedStore(store, lambda number, _, go: go() if number % 2 else Unknown("lost"))
        run(sync_of(watched, ListedSource("fleet", revision("r1", big(1, count=400)))), hold(store, "fleet"))
        assert len(watched.commits) > 2 * ATTEMPTS
        assert state(store, "fleet").mark.settled


class TestHolders:
    def test_a_holder_that_lost_the_lock_writes_nothing(self, store: Store) -> None:
        stale = hold(store, "fleet")
        sync = sync_of(store, ListedSource("fleet", R1))
        run(sync, stale)
        entry = store.get(stale.key)
        assert entry is not None
        store.commit([DeleteIf(entry.key, entry.index)])
        run(sync_of(store, ListedSource("fleet", R1, R2)), hold(store, "fleet"))
        before = values(store, "config/", "state/")
        with pytest.raises(StoreError, match="is lost"):
            run(sync_of(store, ListedSource("fleet", R1, R2, R1)), stale)
        assert values(store, "config/", "state/") == before

    def test_a_holder_that_loses_the_lock_half_way_leaves_the_rest_to_the_next(self, store: Store) -> None:
        stale = hold(store, "fleet")
        files = big(1)

        def steal(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
            if number == 2:
                entry = store.get(stale.key)
                assert entry is not None
                store.commit([DeleteIf(entry.key, entry.index)])
            return go()

        source = ListedSource("fleet", revision("r1", files))
        with pytest.raises(StoreError, match="is lost"):
            run(sync_of(WatchedStore(store, steal), source), stale)
        recorded = state(store, "fleet")
        assert (recorded.mark.settled, recorded.mark.to) == (False, "r1")
        run(sync_of(store, source), hold(store, "fleet"))
        recorded = state(store, "fleet")
        assert (recorded.mark.settled, recorded.mark.revision) == (True, "r1")


class TestTakeoverInTheMiddle:
    """Rule 3."""

    @pytest.fixture
    def half(self, store: Store) -> Held:
        """r1 is applied, and r2 half-way; its holder is gone."""
        fence = hold(store, "fleet")
        source = ListedSource("fleet", revision("r1", big(1)))
        run(sync_of(store, source), fence)
        source.revisions.append(revision("r2", big(2)))

        def stop(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
            if number > 2:
                raise StoreError("the process ends here")
            return go()

        with pytest.raises(StoreError):
            run(sync_of(WatchedStore(store, stop), source), fence)
        assert not state(store, "fleet").mark.settled
        return fence

    def services(self, store: Store) -> set[str]:
        return {key.rpartition("/")[2].partition("-")[0] for key in config(store) if key.startswith(keys.SERVICES)}

    def test_rule_03_the_next_holder_completes_it(self, store: Store, half: Held) -> None:
        run(sync_of(store, ListedSource("fleet", revision("r1", big(1)), revision("r2", big(2)))), half)
        assert self.services(store) == {"s2"}
        assert state(store, "fleet").mark.revision == "r2"

    def test_rule_03_or_goes_on_to_what_came_after(self, store: Store, half: Held) -> None:
        revisions = [revision(f"r{number}", big(number)) for number in (1, 2, 3)]
        run(sync_of(store, ListedSource("fleet", *revisions)), half)
        assert self.services(store) == {"s3"}
        assert state(store, "fleet").mark.revision == "r3"

    def test_rule_03_but_not_back_to_what_was_before(self, store: Store, half: Held) -> None:
        """Its copy of the repository is older."""
        before = values(store, "config/", "state/sync/")
        behind = ListedSource("fleet", revision("r1", big(1)))
        run(sync_of(store, behind), half)
        assert values(store, keys.CONFIG) == {key: value for key, value in before.items() if key.startswith("config/")}
        recorded = state(store, "fleet")
        assert (recorded.mark.settled, recorded.mark.to) == (False, "r2")
        assert "r2 is applied in part" in recorded.problems[0]

    def test_what_was_begun_is_completed_when_what_came_after_is_broken(self, store: Store, half: Held) -> None:
        broken = revision("r3", {"main.json": "{}"})
        run(sync_of(store, ListedSource("fleet", revision("r1", big(1)), revision("r2", big(2)), broken)), half)
        recorded = state(store, "fleet")
        assert (recorded.mark.settled, recorded.mark.revision, recorded.seen) == (True, "r2", "r3")
        assert recorded.problems
        assert self.services(store) == {"s2"}

    def test_what_was_begun_is_completed_while_the_source_is_away(self, store: Store, half: Held) -> None:
        source = ListedSource("fleet", revision("r1", big(1)), revision("r2", big(2)))
        sync_of(store, source).run(half, None, SourceError("down"), is_confirmed=False)
        recorded = state(store, "fleet")
        assert (recorded.mark.settled, recorded.mark.revision, recorded.problems) == (True, "r2", ("down",))


class TestDefinitionsGoLate:
    def test_rule_11_after_a_day_in_a_transaction_of_their_own(self, store: Store, events: list[Event]) -> None:
        source = ListedSource("fleet", R1)
        clock = WallClock()
        watched = WatchedStore(store)
        sync, fence = sync_of(watched, source, events, clock=clock), hold(store, "fleet")
        run(sync, fence)
        source.revisions.append(R2)
        run(sync, fence)
        clock.now += GRACE_S - 1
        run(sync, fence)
        assert "config/task_definitions/api/1" in config(store)
        clock.now += 1
        watched.commits.clear()
        run(sync, fence)
        (operations,) = watched.commits
        assert [each.key for each in operations if isinstance(each, DeleteIf)] == ["config/task_definitions/api/1"]
        assert "config/task_definitions/api/1" not in config(store)
        recorded = state(store, "fleet")
        assert (recorded.retired, recorded.mark.counts.task_definitions) == ({}, 2)
        run(sync, fence)
        assert len(watched.commits) == 1

    def test_rule_11_also_beside_more_sources_than_a_transaction_has_operations(self, store: Store) -> None:
        clock, fence = WallClock(), hold(store, "fleet")
        for number in range(70):
            name = f"s{number}"
            mark = SyncMark(settled=True, revision="r", told=True)
            other = SourceState(source=name, kind="git", location="", mark=mark)
            store.commit([Put(keys.source(name), encode(other))])
        for each in (R1, R2):
            run(sync_of(store, ListedSource("fleet", R1, each), clock=clock), fence)
        clock.now += GRACE_S
        run(sync_of(store, ListedSource("fleet", R1, R2), clock=clock), fence)
        assert "config/task_definitions/api/1" not in config(store)

    def test_rule_11_not_while_another_source_moves(self, store: Store) -> None:
        def moves(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
            if any(each.key == "config/task_definitions/api/1" for each in operations):
                run(sync_of(store, other), other_fence)
            return go()

        clock, fence, other_fence = WallClock(), hold(store, "fleet"), hold(store, "other")
        other = ListedSource("other", revision("o1", {"other.json": manifest(["other"], cluster="other")}))
        for each in (R1, R2):
            run(sync_of(store, ListedSource("fleet", R1, each), clock=clock), fence)
        clock.now += GRACE_S
        run(sync_of(WatchedStore(store, moves), ListedSource("fleet", R1, R2), clock=clock), fence)
        assert state(store, "other").mark.settled
        assert "config/task_definitions/api/1" in config(store)

    def test_rule_11_not_while_a_task_record_names_it(self, store: Store) -> None:
        source = ListedSource("fleet", R1, R2)
        clock = WallClock()
        fence = hold(store, "fleet")
        run(sync_of(store, ListedSource("fleet", R1), clock=clock), fence)
        sync = sync_of(store, source, clock=clock)
        run(sync, fence)
        task = Task(
            id="main-api-1-0", cluster="main", service="api", task_name="api", task_version=1, instance=0, host="h",
            issue=1, digest="d", issued_at=0.0,
        )  # fmt: skip
        store.commit([Put(keys.task_by_id(task.id), encode(task))])
        clock.now += GRACE_S
        run(sync, fence)
        assert "config/task_definitions/api/1" in config(store)
        assert state(store, "fleet").retired == {"api/1": int(clock.now)}

    def test_rule_11_not_when_a_task_is_issued_at_the_same_moment(self, store: Store) -> None:
        clock = WallClock()
        fence = hold(store, "fleet")
        run(sync_of(store, ListedSource("fleet", R1), clock=clock), fence)
        run(sync_of(store, ListedSource("fleet", R1, R2), clock=clock), fence)
        store.commit([Put(keys.PLACEMENT, encode(PlacementSeq(seq=0)))])
        clock.now += GRACE_S

        def issue_first(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
            store.commit([Put(keys.PLACEMENT, encode(PlacementSeq(seq=number)))])
            return go()

        watched = WatchedStore(store, issue_first)
        run(sync_of(watched, ListedSource("fleet", R1, R2), clock=clock), fence)
        assert len(watched.commits) == 1
        assert "config/task_definitions/api/1" in config(store)
        run(sync_of(store, ListedSource("fleet", R1, R2), clock=clock), fence)
        assert "config/task_definitions/api/1" not in config(store)

    def test_one_that_is_wanted_again_stays(self, store: Store) -> None:
        clock = WallClock()
        source = ListedSource("fleet", R1)
        sync, fence = sync_of(store, source, clock=clock), hold(store, "fleet")
        run(sync, fence)
        source.revisions.append(R2)
        run(sync, fence)
        source.revisions.append(revision("r3", {"main.json": R1.files["main.json"].decode()}))
        run(sync, fence)
        assert set(state(store, "fleet").retired) == {"db/1"}
        clock.now += 2 * GRACE_S
        run(sync, fence)
        assert "config/task_definitions/api/1" in config(store)


class TestEvents:
    def test_an_applied_revision_says_what_by_whom_and_how_much(self, store: Store, events: list[Event]) -> None:
        run(sync_of(store, ListedSource("fleet", R1), events), hold(store, "fleet"))
        assert [event.message for event in events] == [
            "applied revision r1 (Change to r1, Ann): 5 created, 0 updated, 0 deleted"
        ]

    def test_warnings_and_what_was_passed_over_are_said_once_a_revision(
        self, store: Store, events: list[Event]
    ) -> None:
        import msgspec

        lonely = {"x.json": json.dumps({"services": [service("lonely")], "task_definitions": [definition("lonely")]})}
        odd = msgspec.structs.replace(revision("r1", lonely), passed_over=("linked", "module"))
        sync, fence = sync_of(store, ListedSource("fleet", odd), events), hold(store, "fleet")
        for _ in range(2):
            run(sync, fence)
        warnings = [event.message for event in events if event.level is Level.WARNING]
        assert len(warnings) == 2
        assert "no cluster" in warnings[0]
        assert "linked, module" in warnings[1]
