"""Objects that change hands: nothing but their owner changes, no mark ever counts another's, and nobody takes back."""

import itertools
from collections.abc import Callable, Sequence

import msgspec
import pytest

from reconciler.errors import RevisionRefused, UsageError
from reconciler.model import keys
from reconciler.model.intents import UNMANAGED, Adoption
from reconciler.operations import adopt, source_intents
from reconciler.operations.apply import apply
from reconciler.runtime.clock import SystemClock
from reconciler.scheduler.evidence import incomplete
from reconciler.store.interface import CommitResult, DeleteIf, Held, Operation, Put, Store
from reconciler.store.memory import MemoryStore
from reconciler.sync import observe
from reconciler.sync.config_view import KINDS, owner_of
from reconciler.sync.gate import Gate, Look
from reconciler.sync.passes import SourceSync
from tests.support.sync import (
    Killed,
    ListedSource,
    WatchedStore,
    config,
    hold,
    make_ours,
    manifest,
    revision,
    service,
    state,
    values,
)

NAMES = [f"s{number}" for number in range(12)]
FILES = {"main.json": manifest(NAMES)}
KEYS = {"config/clusters/main", *(f"config/services/{n}" for n in NAMES)} | {
    f"config/task_definitions/{name}/1" for name in NAMES
}


@pytest.fixture
def store() -> Store:
    return make_ours(MemoryStore())


def run(store: Store, source: ListedSource, fence: Held | None = None, gate: Gate | None = None) -> tuple[str, ...]:
    """One pass; the problems."""
    held = fence or hold(store, source.name)
    sync = SourceSync(store, source, clock=SystemClock(), emit=lambda _: None, health_gate=gate)
    intent, _ = observe.intent_of(store, source.name)
    try:
        return sync.run(held, source.read(), is_confirmed=True, intent=intent).problems
    finally:
        if fence is None:
            give_up(store, held)


def give_up(store: Store, fence: Held) -> None:
    entry = store.get(fence.key)
    assert entry is not None
    store.commit([DeleteIf(fence.key, entry.index)])


def adoption(*origins: str, objects: Sequence[str] = (), with_changes: bool = False) -> Adoption:
    return Adoption(
        origins=origins or ("old",), objects=tuple(objects), with_changes=with_changes, by="ann", since=1000.0
    )


def ordered(store: Store, wanted: Adoption, source: str = "new") -> None:
    adopt.propose(store, source, wanted)
    adopt.order(store, source, wanted)


def owners(store: Store) -> dict[str, str | None]:
    return {key: owner_of(value) for key, value in values(store, "config/").items() if key != keys.CONFIG_SENTINEL}


def contents(store: Store) -> dict[str, object]:
    return {key: {**thing, "managed_by": ""} for key, thing in config(store).items()}


def evidence(store: Store) -> str | None:
    """What the scheduler would say of a reading now: it never has to hold for a handover."""
    found: dict[str, list[str | None]] = {field: [] for _, _, field, _ in KINDS}
    for key, owner in owners(store).items():
        found[next(field for prefix, _, field, _ in KINDS if key.startswith(prefix))].append(owner)
    marks = {e.key.removeprefix(keys.SOURCES): state(store, e.key.removeprefix(keys.SOURCES))
             for e in store.list(keys.SOURCES).entries}  # fmt: skip
    return incomplete(marks, found)


def both(store: Store, files: dict[str, str] = FILES) -> tuple[ListedSource, ListedSource]:
    """The old source, which has it all, and the new one, which declares it as well and is refused."""
    old = ListedSource("old", revision("o1", files))
    new = ListedSource("new", revision("n1", files))
    assert run(store, old) == ()
    assert run(store, new)
    return old, new


def test_lesson_1_5_two_claims_are_an_error_that_names_both_and_how_to_hand_over(store: Store) -> None:
    both(store)
    (problem, *_) = state(store, "new").problems
    assert "cluster main is managed by source old, and source new declares it as well" in problem
    assert "reconciler adopt new --from old clusters/main" in problem


def test_a_handover_changes_nothing_but_the_owner_and_the_old_source_is_told_and_takes_nothing_back(
    store: Store,
) -> None:
    old, new = both(store)
    before = contents(store)
    ordered(store, adoption())
    assert run(WatchedStore(store, operations=10), new) == ()
    assert contents(store) == before
    assert set(owners(store).values()) == {"new"}
    assert state(store, "new").mark.counts.total == len(KEYS)
    assert (state(store, "new").history[-1].result, state(store, "new").history[-1].detail) == (
        "adopted",
        "25 objects from source old, by ann",
    )
    assert "is managed by source new, and source old declares it as well" in run(store, old)[0]
    assert run(store, new) == ()
    stored = values(store, "config/", keys.SOURCES)
    run(store, old)
    run(store, new)
    assert values(store, "config/", keys.SOURCES) == stored, "in conflict nobody writes anything"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_each_write_of_a_handover_the_next_process_completes_it(moment: str) -> None:
    for number in itertools.count(1):
        store = make_ours(MemoryStore())
        _, new = both(store)
        before = contents(store)
        ordered(store, adoption())
        is_killed = False

        def kill(
            count: int,
            _: Sequence[Operation],
            go: Callable[[], CommitResult],
            store: Store = store,
            number: int = number,
        ) -> CommitResult:
            nonlocal is_killed
            if count == number and moment == "before":
                is_killed = True
                raise Killed
            result = go()
            assert evidence(store) is None
            if count == number:
                is_killed = True
                raise Killed
            return result

        fence = hold(store, "new")
        try:
            run(WatchedStore(store, kill, operations=10), new, fence)
        except Killed:
            assert evidence(store) is None
            give_up(store, fence)
            assert run(WatchedStore(store, operations=10), new) == ()
        assert contents(store) == before
        assert set(owners(store).values()) == {"new"}
        assert state(store, "new").mark.settled
        assert state(store, "new").adopted == 1000.0
        assert store.get(keys.source("old")) is None
        if not is_killed:
            assert number > 4
            return


@pytest.mark.parametrize("moment", range(1, 6))
def test_the_old_source_may_pass_at_any_moment_of_a_handover(store: Store, moment: int) -> None:
    old, new = both(store, {**FILES, "own.json": manifest(["mine"], cluster="own")})
    new.revisions.append(revision("n2", FILES))
    assert run(store, new)
    old.revisions.append(revision("o2", {**FILES, "own.json": manifest(["mine"], cluster="own", desired=3)}))
    before = contents(store)
    ordered(store, adoption())

    def pass_between(count: int, _: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
        if count == moment:
            run(store, old)
        result = go()
        assert evidence(store) is None
        return result

    assert run(WatchedStore(store, pass_between, operations=10), new) == ()
    assert {key: owner for key, owner in owners(store).items() if key in KEYS} == dict.fromkeys(KEYS, "new")
    assert {key: thing for key, thing in contents(store).items() if key in KEYS} == {key: before[key] for key in KEYS}
    assert state(store, "old").mark.settled
    assert state(store, "old").mark.counts.total == 3
    assert "source old declares it as well" in run(store, old)[0]
    old.revisions.append(revision("o3", {"own.json": manifest(["mine"], cluster="own", desired=3)}))
    assert run(store, old) == ()


def test_lesson_1_6_renaming_a_source_restarts_nothing_keeps_its_history_and_ends_the_old_name(store: Store) -> None:
    old = ListedSource("old", revision("r1", {"x.json": manifest(["web", "gone"])}))
    run(store, old)
    old.revisions.append(revision("r2", {"x.json": manifest(["web"])}))
    run(store, old)
    source_intents.suspend(store, "old", source_intents.Suspension(by="ann", reason="", since=1.0))
    store.commit([Put(keys.reports("old"), b"{}"), Put(keys.reported_services("old"), b"{}")])
    new = ListedSource("new", *old.revisions)
    assert run(store, new)
    before, held = contents(store), adopt.owners_of(store, ["old"])
    proposal = adopt.propose(store, "new", adoption())
    assert proposal.stays == ()
    adopt.order(store, "new", adoption())
    assert run(store, new) == ()
    done = adopt.conclude(store, proposal, adoption(), held)
    assert done.ended == ("old",)
    assert store.list(keys.REPORTS).entries == ()
    again = adopt.carried_out(store, "new", msgspec.structs.replace(adoption(), since=2000.0))
    assert again is not None
    assert again.ended == ("old",), "who says it once more is not told that it can't be"
    assert adopt.carried_out(store, "new", adoption("other")) is None
    assert contents(store) == before
    recorded = state(store, "new")
    assert set(recorded.retired) == {"gone/1"}, "what goes late still goes late, by its new owner"
    assert [(each.revision, each.result) for each in recorded.history][:2] == [("r1", "applied"), ("r2", "applied")]
    assert not [key for key in values(store, "state/") if key.rpartition("/")[2] == "old" or "/old/" in key]


def test_what_was_handed_there_and_back_stays_there_though_the_other_still_runs(store: Store) -> None:
    old, new = both(store)
    everything = adoption("old")
    ordered(store, everything)
    assert run(store, new) == ()
    assert run(store, old), "its order to nobody; it is told that all of it is another's"
    back = msgspec.structs.replace(adoption("new"), since=2000.0)
    ordered(store, back, "old")
    assert run(store, old) == ()
    assert set(owners(store).values()) == {"old"}
    for _ in range(3):  # the order of before is still written there, and was carried out
        assert run(store, new)
        assert run(store, old) == ()
    assert set(owners(store).values()) == {"old"}
    assert adopt.withdraw(store, "new") is None


def test_what_the_new_one_does_not_declare_stays_and_is_not_deleted(store: Store) -> None:
    _, new = both(store)
    new.revisions.append(revision("n2", {"x.json": manifest(["s1"])}))
    run(store, new)
    proposal = adopt.propose(store, "new", adoption(with_changes=True))
    assert "service s0" in proposal.stays
    adopt.order(store, "new", adoption(with_changes=True))
    assert run(store, new) == ()
    assert set(owners(store)) == KEYS
    assert owners(store)["config/services/s0"] == "old"
    assert evidence(store) is None


def test_the_old_source_deletes_nothing_that_is_about_to_be_adopted(store: Store) -> None:
    old, new = both(store)
    ordered(store, adoption())
    old.revisions.append(revision("o2", {"main.json": manifest(NAMES[:3])}))
    assert "which source new is about to adopt" in run(store, old)[0]
    assert set(owners(store)) == KEYS
    assert run(store, new) == ()
    assert set(owners(store)) == KEYS


def test_what_was_applied_by_hand_or_written_without_owner_is_adopted_at_once(store: Store) -> None:
    apply(store, [("x.json", manifest(["web"]).encode())])
    by_hand = msgspec.json.encode(service("web2") | {"task_name": "web"})
    store.commit([Put("config/services/web2", by_hand)])
    more = manifest(["web"]).replace('"services": [{', '"services": [' + by_hand.decode() + ", {")
    new = ListedSource("new", revision("n1", {"x.json": more}))
    assert run(store, new)
    with pytest.raises(RevisionRefused, match="services/web2 of nobody"):
        adopt.propose(store, "new", adoption("apply"))
    wanted = adoption("apply", UNMANAGED)
    ordered(store, wanted)
    assert run(store, new) == ()
    assert set(owners(store).values()) == {"new"}
    assert state(store, "new").mark.counts.total == 4


def test_other_content_is_adopted_only_on_request_and_a_version_never_changes(store: Store) -> None:
    _, new = both(store)
    new.revisions.append(revision("n2", {"main.json": manifest(NAMES, desired=3)}))
    run(store, new)
    with pytest.raises(RevisionRefused, match="service s0: desired"):
        adopt.propose(store, "new", adoption())
    adopt.order(store, "new", adoption())
    assert "declared with other content (desired)" in run(store, new)[0]
    with pytest.raises(RevisionRefused, match="nothing was adopted"):
        adopt.look(store, "new", adoption())
    assert adopt.to_take_back(store, "new") == adoption()
    assert adopt.withdraw(store, "new") == adoption()
    assert adopt.withdraw(store, "new") is adopt.to_take_back(store, "new") is None
    new.revisions.append(revision("n3", {"main.json": manifest(NAMES, command="other")}))
    adopt.order(store, "new", adoption(with_changes=True))
    assert "a version never changes" in run(store, new)[0]
    assert set(owners(store).values()) == {"old"}


def test_a_source_that_is_being_applied_is_waited_for_or_abandoned(store: Store) -> None:
    old, new = both(store)
    old.revisions.append(revision("o2", {"main.json": manifest(NAMES, desired=2)}))

    def kill(count: int, _: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
        if count == 3:
            raise Killed
        return go()

    with pytest.raises(Killed):
        run(WatchedStore(store, kill, operations=10), old)
    with pytest.raises(RevisionRefused, match="nobody works on it now"):
        adopt.propose(store, "new", adoption())
    adopt.order(store, "new", adoption())
    assert any("old is being applied" in each for each in run(store, new))
    assert adopt.look(store, "new", adoption()) == (False, "waiting until source old has finished what it applies")
    assert state(store, "new").contested_count == len(KEYS), "who orders it once more is told the same"
    adopt.withdraw(store, "new")
    run(store, new)
    abandoned = msgspec.structs.replace(adoption(with_changes=True), abandon_unfinished=True)
    ordered(store, abandoned)
    assert run(store, new) == ()
    assert store.get(keys.source("old")) is None


def test_the_gate_never_takes_an_adoption_back(store: Store) -> None:
    _, new = both(store)
    ordered(store, adoption())
    assert run(store, new, gate=Gate(lambda _: Look(failed=("sick",)), 60.0)) == ()
    assert state(store, "new").trial is None


@pytest.mark.parametrize(
    ("source", "wanted", "kind", "says"),
    [
        ("nobody", adoption(), UsageError, "there is no source nobody"),
        ("new", adoption("nobody"), UsageError, "there is no source nobody"),
        ("new", adoption("new"), UsageError, "the same source"),
        ("apply", adoption(), UsageError, "adopts nothing"),
        ("new", adoption(objects=["config/services/x"]), UsageError, "no service x in the store"),
        ("new", adoption(objects=["config/services/mine"]), RevisionRefused, "new does not declare service mine"),
        ("new", adoption("other"), RevisionRefused, "nothing to adopt"),
        ("new", adoption(objects=["config/services/s1"]), RevisionRefused, "24 more objects of others"),
    ],
)
def test_what_can_not_be_is_said_before_anything_is_ordered(
    store: Store, source: str, wanted: Adoption, kind: type[Exception], says: str
) -> None:
    both(store)
    run(store, ListedSource("other", revision("x1", {"x.json": manifest(["mine"], cluster="third")})))
    run(store, ListedSource("old", revision("o2", {**FILES, "y.json": manifest(["mine"], cluster="own")})))
    if "mine" in says:
        wanted = msgspec.structs.replace(wanted, origins=("other",))
    with pytest.raises(kind, match=says):
        adopt.propose(store, source, wanted)
    assert store.get(keys.source_intent(source)) is None


def test_definitions_are_named_as_they_are_stored() -> None:
    assert adopt.key_of("task_definitions/web/1") == keys.task_definition("web", 1)
    assert adopt.key_of("config/hosts/h1") == keys.host("h1")
    with pytest.raises(UsageError, match="names no object"):
        adopt.key_of("web")
