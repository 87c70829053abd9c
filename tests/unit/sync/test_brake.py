"""Revisions that delete much: refused with the hash of the plan, applied once exactly that plan is approved."""

import re

import pytest

from reconciler.errors import RevisionRefused
from reconciler.model.locations import in_environment
from reconciler.operations import source_intents
from reconciler.store.interface import Store
from reconciler.store.memory import MemoryStore
from reconciler.sync.brake import DEFAULT, DeletionLimit, parse
from reconciler.sync.once import sync_once
from tests.support.sync import ListedSource, WatchedStore, config, make_ours, manifest, revision, state

ALL = [f"s{number:02}" for number in range(20)]


def source(*counts: int) -> ListedSource:
    """Revisions with so many services."""
    return ListedSource(
        "fleet",
        *(revision(f"r{number}", {"all.json": manifest(ALL[:count])}) for number, count in enumerate(counts)),
    )


def run(store: Store, source: ListedSource, limit: DeletionLimit | None = DEFAULT) -> None:
    sync_once(store, source, emit=lambda _: None, limit=limit)


def refused(store: Store, source: ListedSource, limit: DeletionLimit = DEFAULT) -> str:
    """The hash that the refusal names."""
    with pytest.raises(RevisionRefused) as error:
        run(store, source, limit)
    found = re.search(r"reconciler approve fleet ([0-9a-f]{16})", str(error.value))
    assert found, str(error.value)
    return found[1]


@pytest.fixture
def store() -> Store:
    return make_ours(MemoryStore())


def test_a_mass_prune_stops_until_that_exact_plan_is_acknowledged(store: Store) -> None:
    """Argo CD: one bad change pruned everything."""
    run(store, source(20))
    before = config(store)
    named = refused(store, source(20, 2))
    assert config(store) == before
    assert named in state(store, "fleet").problems[0]
    last = state(store, "fleet").history[-1]
    assert (last.revision, last.result, last.author, last.subject) == ("r1", "refused", "Ann", "Change to r1")
    assert last.detail.startswith("the revision would delete 18 of ")
    source_intents.approve(store, "fleet", named)
    run(store, source(20, 2))
    assert "config/services/s19" not in config(store)


def test_an_approval_is_for_one_plan_and_no_other(store: Store) -> None:
    run(store, source(20))
    source_intents.approve(store, "fleet", refused(store, source(20, 2)))
    other = source(20, 2, 1)
    assert refused(store, other)
    assert "config/services/s19" in config(store)


def test_few_deletions_and_deletions_below_the_share_need_nobody(store: Store) -> None:
    run(store, source(20))
    run(store, source(20, 10))
    assert "config/services/s10" not in config(store)


def test_a_mass_prune_that_was_begun_is_completed_without_asking_again(store: Store) -> None:
    run(store, source(20))
    source_intents.approve(store, "fleet", refused(store, source(20, 2)))
    few = WatchedStore(store, operations=8)
    run(few, source(20, 2))
    assert len(few.commits) > 2
    assert state(store, "fleet").mark.settled
    assert len([key for key in config(store) if key.startswith("config/services/")]) == 2


def test_a_rollback_that_deletes_much_waits_for_that_exact_plan_too(store: Store) -> None:
    few, many = (revision(name * 4, {"all.json": manifest(ALL[:count])}) for name, count in (("a", 2), ("b", 20)))
    run(store, ListedSource("fleet", few))
    run(store, ListedSource("fleet", few, many))
    source_intents.roll_back(store, "fleet", "aaaa", by="ann", reason="slow", now=1.0)
    before = config(store)
    named = refused(store, ListedSource("fleet", few, many))
    assert config(store) == before, "what was created since would stop: to want the old revision is not to want that"
    assert state(store, "fleet").mark.revision == "bbbb"
    source_intents.approve(store, "fleet", named)
    run(store, ListedSource("fleet", few, many))
    assert state(store, "fleet").mark.revision == "aaaa"
    assert len([key for key in config(store) if key.startswith("config/services/")]) == 2


def test_limits_are_numbers_or_shares() -> None:
    assert (parse("3").most(100), parse("10%").most(100), parse("0").most(5)) == (3, 10, 0)
    assert (DEFAULT.most(5), DEFAULT.most(100)) == (10, 30)
    for wrong in ("", "x", "-1", "101%", "5%%", "1.5"):
        with pytest.raises(ValueError, match="neither"):
            parse(wrong)


def elsewhere(count: int, where: str, environment: str | None = None, command: str = "sleep 9") -> ListedSource:
    """One and the same commit, of which another folder or environment declares so many services."""
    files = {"all.json": manifest(ALL[:count], command=command)}
    if environment is not None:
        files["reconciler.yaml"] = "environments: {staging: {}, prod: {}}"
    place = ListedSource("fleet", revision("r1", files))
    place.location, place.environment = in_environment(where, environment), environment
    return place


def test_another_folder_of_the_same_commit_is_a_new_revision_and_no_repair(store: Store) -> None:
    run(store, elsewhere(20, "git a/"))
    before = config(store)
    for _ in range(2):  # what is refused does not become what is applied
        assert refused(store, elsewhere(2, "git b/"))
    with pytest.raises(RevisionRefused, match="a version never changes"):
        run(store, elsewhere(20, "git b/", command="sleep 8"))
    assert config(store) == before
    assert state(store, "fleet").location == "git a/"
    run(store, elsewhere(19, "git b/"))
    assert (state(store, "fleet").location, state(store, "fleet").history[-1].result) == ("git b/", "applied")


def test_a_source_never_becomes_another_environment(store: Store) -> None:
    """A second daemon with the same name, for another environment, takes over when the first one stops."""
    run(store, elsewhere(2, "git", "staging"))
    before = config(store)
    for where in ("git", "git-moved"):
        with pytest.raises(RevisionRefused, match=r"for environment staging, and must not become prod: .* --name"):
            run(store, elsewhere(3, where, "prod"))
    assert config(store) == before
    run(store, elsewhere(3, "git-moved", "staging"))
    assert "config/services/s02" in config(store)


def test_a_repository_may_begin_to_have_environments(store: Store) -> None:
    run(store, elsewhere(2, "git"))
    run(store, elsewhere(3, "git", "prod"))
    assert state(store, "fleet").location == "git environment prod"
