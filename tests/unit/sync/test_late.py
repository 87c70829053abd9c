"""When definitions that nobody declares any more are deleted: late, and only on full evidence."""

import msgspec
import pytest

from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.manifests import BashContainer, BashExecutor, Service, TaskDefinition
from reconciler.model.source_state import SourceCounts, SourceState, SyncMark
from reconciler.sync.config_view import Stored, View
from reconciler.sync.late import GRACE_S, is_due, late_plan

NOW = 10_000_000.0
OLD = int(NOW - GRACE_S)
NOBODY: frozenset[tuple[str, int]] = frozenset()


def definition(version: int, owner: str = "git") -> tuple[str, Stored]:
    container = BashContainer(name="main", executor=BashExecutor(start=("run",)))
    thing = TaskDefinition(name="web", version=version, containers=(container,), managed_by=owner)
    return keys.config(thing), Stored(encode(thing), 100 + version, owner)


def service(version: int, owner: str | None = "git") -> tuple[str, Stored]:
    thing = Service(name="web", task_name="web", task_version=version, desired=1, managed_by=owner)
    return keys.config(thing), Stored(encode(thing), 50, owner)


def view(*config: tuple[str, Stored], retired: dict[str, int], definitions: int = 2, services: int = 1) -> View:
    counts = SourceCounts(task_definitions=definitions, services=services)
    own = SourceState(
        source="git",
        kind="git",
        location="x",
        mark=SyncMark(settled=True, revision="r", counts=counts),
        retired=retired,
    )
    return View(source="git", store_id="s", config=dict(config), sources={"git": own}, marks={keys.source("git"): 5})


def test_rule_11_one_that_nobody_named_for_a_day_is_deleted() -> None:
    late = late_plan(view(definition(1), definition(2), service(2), retired={"web/1": OLD}), NOBODY, NOW, 60)
    assert late is not None
    assert [(each.key, each.index) for each in late.deletes] == [("config/task_definitions/web/1", 101)]
    assert late.retired == {}
    assert late.after == SourceCounts(task_definitions=1, services=1)


def test_rule_11_one_that_is_not_old_enough_stays() -> None:
    late = late_plan(view(definition(1), definition(2), service(2), retired={"web/1": OLD + 1}), NOBODY, NOW, 60)
    assert late is not None
    assert (late.deletes, late.retired) == ((), {"web/1": OLD + 1})


@pytest.mark.parametrize("owner", ["git", "other", None])
def test_rule_11_one_that_a_service_of_any_source_names_stays_for_another_day(owner: str | None) -> None:
    services = 1 if owner == "git" else 0
    a_view = view(definition(1), definition(2), service(1, owner), retired={"web/1": OLD}, services=services)
    late = late_plan(a_view, NOBODY, NOW, 60)
    assert late is not None
    assert (late.deletes, late.retired) == ((), {"web/1": int(NOW)})


def test_rule_11_one_that_a_task_record_names_stays_for_another_day() -> None:
    a_view = view(definition(1), definition(2), service(2), retired={"web/1": OLD})
    late = late_plan(a_view, frozenset({("web", 1)}), NOW, 60)
    assert late is not None
    assert (late.deletes, late.retired) == ((), {"web/1": int(NOW)})


def test_a_stamp_from_the_future_was_a_wrong_clock_and_starts_anew() -> None:
    retired = {"web/1": int(NOW + 5)}
    late = late_plan(view(definition(1), definition(2), service(2), retired=retired), NOBODY, NOW, 60)
    assert is_due(retired, NOW)
    assert late is not None
    assert (late.deletes, late.retired) == ((), {"web/1": int(NOW)})


def test_no_more_go_at_once_than_one_transaction_takes() -> None:
    config = [definition(version) for version in range(1, 8)]
    retired = {f"web/{version}": OLD for version in range(1, 7)}
    late = late_plan(view(*config, service(7), retired=retired, definitions=7), NOBODY, NOW, 4)
    assert late is not None
    assert (len(late.deletes), len(late.retired)) == (4, 2)


class TestNothingIsDeletedForWantOfEvidence:
    """Rule 5."""

    FULL = (definition(1), definition(2), service(2))

    def test_while_marks_move(self) -> None:
        a_view = msgspec.structs.replace(view(*self.FULL, retired={"web/1": OLD}), still=False)
        assert late_plan(a_view, NOBODY, NOW, 60) is None

    def test_while_a_source_is_applying(self) -> None:
        a_view = view(*self.FULL, retired={"web/1": OLD})
        other = SourceState(source="o", kind="git", location="x", mark=SyncMark(settled=False, revision="", to="r"))
        sources = {**a_view.sources, "o": other}
        marks = {**a_view.marks, keys.source("o"): 6}
        assert late_plan(msgspec.structs.replace(a_view, sources=sources, marks=marks), NOBODY, NOW, 60) is None

    def test_when_fewer_objects_are_shown_than_the_marks_say(self) -> None:
        assert late_plan(view(definition(1), definition(2), retired={"web/1": OLD}), NOBODY, NOW, 60) is None

    def test_when_fewer_objects_of_another_source_are_shown(self) -> None:
        a_view = view(*self.FULL, retired={"web/1": OLD})
        mark = SyncMark(settled=True, revision="r", counts=SourceCounts(services=1))
        sources = {**a_view.sources, "o": SourceState(source="o", kind="git", location="x", mark=mark)}
        marks = {**a_view.marks, keys.source("o"): 6}
        assert late_plan(msgspec.structs.replace(a_view, sources=sources, marks=marks), NOBODY, NOW, 60) is None

    def test_when_a_mark_cannot_be_read(self) -> None:
        a_view = view(*self.FULL, retired={"web/1": OLD})
        marks = {**a_view.marks, keys.source("o"): 6}
        assert late_plan(msgspec.structs.replace(a_view, marks=marks), NOBODY, NOW, 60) is None

    def test_when_a_service_cannot_be_read(self) -> None:
        broken = ("config/services/odd", Stored(b"{}", 9, None))
        assert late_plan(view(*self.FULL, broken, retired={"web/1": OLD}), NOBODY, NOW, 60) is None


def test_looking_is_worth_it_only_when_something_is_old() -> None:
    assert not is_due({}, NOW)
    assert not is_due({"web/1": OLD + 1}, NOW)
    assert is_due({"web/1": OLD + 1, "web/2": OLD}, NOW)
