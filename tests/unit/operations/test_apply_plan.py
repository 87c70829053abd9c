"""``apply --plan`` on the memory store: what was looked at is what is written, or nothing is."""

import json
from pathlib import Path

import msgspec
import pytest

from reconciler.errors import RevisionRefused, UsageError
from reconciler.model import codec, keys
from reconciler.model.intents import Rollback, SourceIntent, Suspension
from reconciler.model.source_state import Trial
from reconciler.operations import overrides, saved_plan
from reconciler.operations.apply import apply
from reconciler.operations.apply_plan import apply_plan
from reconciler.operations.overrides import Said
from reconciler.operations.saved_plan import Declared, SavedPlan
from reconciler.operations.source_intents import change_intent
from reconciler.queries.preview import preview
from reconciler.queries.snapshot_file import freeze
from reconciler.runtime.clock import SystemClock
from reconciler.store import sentinel
from reconciler.store.interface import Put, Store
from reconciler.store.memory import MemorySpace, MemoryStore
from reconciler.sync.passes import SourceSync
from reconciler.sync.source_state import Identity
from tests.support.sync import (
    Killed,
    ListedSource,
    WatchedStore,
    change,
    config,
    declared_in,
    dies_at,
    hold,
    make_ours,
    manifest,
    revision,
    state,
)

FLEET = Identity("fleet", "git", "https://example.org/fleet.git")
NAMES = [f"s{number}" for number in range(12)]


@pytest.fixture
def store() -> Store:
    return make_ours(MemoryStore(MemorySpace()))


def plan_of(store: Store, text: str, *, name: str = "r2", is_related: bool = True) -> SavedPlan:
    files = (("main.json", text.encode()),)
    frozen = freeze(store)
    made = preview(frozen, files, source="fleet", revision=name, now=0.0, is_related=is_related)
    assert not made.refused
    declared = Declared(
        identity=FLEET, revision=name, files=files, is_related=is_related, author="Ann", subject="Scale up"
    )
    return saved_plan.saved(frozen, declared, plan_hash=made.hash, keys=[each.key for each in made.changes])


def refused(store: Store, plan: SavedPlan) -> str:
    before = config(store)
    with pytest.raises(RevisionRefused) as caught:
        apply_plan(store, plan)
    assert config(store) == before
    return caught.value.message


def test_a_plan_of_a_repository_is_written_as_what_its_source_declares(store: Store) -> None:
    apply_plan(store, plan_of(store, manifest(NAMES), name="r1"))
    result = apply_plan(store, plan_of(store, manifest(NAMES[2:], desired=2)))
    assert (result.created, result.updated, result.deleted) == (0, 11, 2)
    assert "service s0 deleted" in result.lines()
    assert result.lines()[-1].startswith("0 created, 11 updated, 2 deleted")
    recorded = state(store, "fleet")
    assert (recorded.mark.settled, recorded.mark.revision, recorded.kind) == (True, "r2", "git")
    past = recorded.history[-1]
    assert (past.revision, past.author, past.subject, past.updated, past.deleted) == ("r2", "Ann", "Scale up", 11, 2)
    assert declared_in(store, "fleet")["config/services/s2"][0] == "main.json"
    # and to the sync of that source nothing is left to do
    source = ListedSource("fleet", revision("r1", {}), revision("r2", {"main.json": manifest(NAMES[2:], desired=2)}))
    sync = SourceSync(store, source, clock=SystemClock(), emit=lambda _: None)
    outcome = sync.run(hold(store, "fleet"), source.read(), is_confirmed=True)
    assert (outcome.changes, outcome.problems) == ((), ())


def test_what_it_rests_on_must_not_have_moved(store: Store) -> None:
    apply_plan(store, plan_of(store, manifest(NAMES), name="r1"))
    plan = plan_of(store, manifest(NAMES, desired=2))
    entry = store.get("config/services/s3")
    assert entry is not None
    store.commit([Put("config/services/s3", entry.value.replace(b'"desired":1', b'"desired":5'))])
    assert "service s3 was changed" in refused(store, plan)
    store.commit([Put("config/services/s3", entry.value)])
    apply_plan(store, plan_of(store, manifest(NAMES, desired=1, command="sleep 8", version=2), name="between"))
    assert "source fleet was at r1 and is at between" in refused(store, plan)


def test_another_store_is_not_written_to(store: Store) -> None:
    plan = plan_of(store, manifest(NAMES))
    other = MemoryStore(MemorySpace())
    sentinel.ensure(other, "another-store")
    assert "another store" in refused(other, plan)


def test_what_operators_said_holds_for_a_plan(store: Store) -> None:
    apply_plan(store, plan_of(store, manifest(NAMES), name="r1"))
    plan = plan_of(store, manifest(NAMES, desired=2))
    rollback = Rollback(revision="r1", skips=("r2",), by="ann", reason="pages", since=1.0)
    change_intent(store, "fleet", lambda _: SourceIntent(source="fleet", rollback=rollback))
    assert "taken back by ann: pages" in refused(store, plan)
    suspension = Suspension(by="bob", reason="freeze", since=1.0)
    change_intent(store, "fleet", lambda _: SourceIntent(source="fleet", suspended=suspension))
    assert "suspended by bob: freeze" in refused(store, plan)


@pytest.mark.parametrize("moment", ["before it is carried out", "after it was carried out"])
def test_killed_at_each_write_the_same_plan_completes_it(moment: str) -> None:
    def begin() -> tuple[Store, SavedPlan]:
        store = make_ours(MemoryStore(MemorySpace()))
        apply_plan(store, plan_of(store, manifest(NAMES), name="r1"))
        return store, plan_of(store, manifest(NAMES[2:], desired=2))

    whole, plan = begin()
    watched = WatchedStore(whole, operations=6)
    apply_plan(watched, plan)
    assert len(watched.commits) > 4
    for fatal in range(1, len(watched.commits) + 1):
        store, plan = begin()
        with pytest.raises(Killed):
            apply_plan(WatchedStore(store, dies_at(fatal, moment), operations=6), plan)
        apply_plan(store, plan)
        assert config(store) == config(whole), f"killed at write {fatal}"
        assert state(store, "fleet").mark.settled


def test_it_is_written_to_ordinary_files_only(store: Store, tmp_path: Path) -> None:
    plan = plan_of(store, manifest(["web"]))
    with pytest.raises(UsageError, match="no ordinary file"):
        saved_plan.write(plan, Path("/dev/null"))
    assert not Path("/dev/null").is_file()
    link, real = tmp_path / "link.json", tmp_path / "real.json"
    real.touch()
    link.symlink_to(real)
    saved_plan.write(plan, link)
    assert link.is_symlink()
    assert saved_plan.read(real) == plan


def test_what_the_gate_said_outlives_a_plan(store: Store) -> None:
    apply_plan(store, plan_of(store, manifest(NAMES), name="r1"))
    key = keys.source("fleet")
    entry = store.get(key)
    assert entry is not None
    quarantine = Rollback(revision="r1", skips=("r9",), by="the gate", reason="sick", since=1.0)
    trial = Trial(revision="r1", good="r0", limit_s=60.0)
    marked = msgspec.structs.replace(state(store, "fleet"), quarantine=quarantine, trial=trial)
    store.commit([Put(key, codec.encode(marked))])
    apply_plan(store, plan_of(store, manifest(NAMES), name="r1"))
    assert (state(store, "fleet").quarantine, state(store, "fleet").trial) == (quarantine, trial)
    apply_plan(store, plan_of(store, manifest(NAMES, desired=2)))
    assert (state(store, "fleet").quarantine, state(store, "fleet").trial) == (None, None)


def test_to_put_right_what_was_changed_by_hand_ends_no_override_as_plan_says(store: Store) -> None:
    apply_plan(store, plan_of(store, manifest(["web"], desired=3), name="r1"))
    overrides.scale(store, "web", 4, Said(by="ann", reason="load test", now=SystemClock().wall()))
    entry = store.get(keys.service("web"))
    assert entry is not None
    store.commit([Put(entry.key, change(entry.value, desired=1))])
    result = apply_plan(store, plan_of(store, manifest(["web"], desired=3), name="r1"))
    assert (result.updated, result.ended) == (1, ())
    assert store.get(keys.service_override("web")) is not None


def test_a_file_says_what_is_wrong_with_it(store: Store, tmp_path: Path) -> None:
    place = tmp_path / "plan.json"
    saved_plan.write(plan_of(store, manifest(["web"])), place)
    assert place.stat().st_mode & 0o777 == 0o600
    plan = saved_plan.read(place)
    apply(store, [("other.json", manifest(["api"], cluster="second").encode())])
    assert apply_plan(store, plan).created == 3

    document = json.loads(place.read_text())
    for content, why in [
        (json.dumps({**document, "applied": "r0"}), "its digest differs"),
        (json.dumps({**document, "version": saved_plan.VERSION + 1}), f"not a plan of version {saved_plan.VERSION}"),
        ("{}", f"not a plan of version {saved_plan.VERSION}"),
        ("[]", "is not a plan"),
        ("no json", "is not a plan"),
    ]:
        place.write_text(content)
        with pytest.raises(UsageError, match=why):
            saved_plan.read(place)
