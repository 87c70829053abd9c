"""What a source would write, from values alone."""

import msgspec
import pytest

from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.manifests import (
    BashContainer,
    BashExecutor,
    Cluster,
    ConfigObject,
    Host,
    Service,
    TaskDefinition,
)
from reconciler.model.source_state import SourceCounts, SourceState, SyncMark
from reconciler.sync.config_view import Stored, View, counts_of, is_object, label, owner_of
from reconciler.sync.plan import MOST_RETIRED, Create, Delete, Goal, Plan, Update, changed_fields, plan, wanted_of

NOW = 1_000_000.0


def definition(name: str = "web", version: int = 1, command: str = "run") -> TaskDefinition:
    container = BashContainer(name="main", executor=BashExecutor(start=(command,)))
    return TaskDefinition(name=name, version=version, containers=(container,))


def service(name: str = "web", version: int = 1, desired: int = 1) -> Service:
    return Service(name=name, task_name=name, task_version=version, desired=desired)


WEB = (definition(), service(), Cluster(name="main", services=("web",)), Host(name="node-1"))


def stored(*things: tuple[ConfigObject, str | None]) -> dict[str, Stored]:
    """Objects and who manages them, each at an index of its own."""
    answer = {}
    for index, (thing, owner) in enumerate(things, 10):
        value = encode(msgspec.structs.replace(thing, managed_by=owner))
        answer[keys.config(thing)] = Stored(value, index, owner)
    return answer


def view(
    config: dict[str, Stored] | None = None,
    *,
    applied: str = "",
    to: str | None = None,
    retired: dict[str, int] | None = None,
) -> View:
    own = {}
    if applied or to:
        mine = {key for key, each in (config or {}).items() if each.owner == "git"}
        mark = SyncMark(settled=to is None, revision=applied, to=to, counts=counts_of(mine))
        own["git"] = SourceState(source="git", kind="git", location="x", mark=mark, retired=retired or {})
    return View(source="git", store_id="s", config=config or {}, sources=own, marks={keys.source(n): 5 for n in own})


def goal(*things: ConfigObject, revision: str = "r2", **more: bool) -> Goal:
    return Goal(revision=revision, wanted=wanted_of("git", [(thing, "a.yml:1:1") for thing in things]), **more)


def made(a_view: View, a_goal: Goal) -> Plan:
    answer = plan(a_view, a_goal, NOW)
    assert answer.problems == ()
    return answer


def written(answer: Plan) -> list[str]:
    return [change.key for change in answer.changes]


class TestOrder:
    def test_definitions_come_first_then_services_clusters_and_hosts(self) -> None:
        assert written(made(view(), goal(*reversed(WEB)))) == [
            "config/task_definitions/web/1",
            "config/services/web",
            "config/clusters/main",
            "config/hosts/node-1",
        ]

    def test_deletions_come_last_and_in_reverse(self) -> None:
        there = stored(*((thing, "git") for thing in WEB))
        answer = made(view(there), goal(definition("api"), service("api")))
        assert written(answer) == [
            "config/task_definitions/api/1",
            "config/services/api",
            "config/hosts/node-1",
            "config/clusters/main",
            "config/services/web",
        ]

    def test_the_counts_say_what_is_there_before_and_after(self) -> None:
        answer = made(view(stored(*((thing, "git") for thing in WEB))), goal(definition(), definition("api")))
        assert answer.before == SourceCounts(clusters=1, services=1, task_definitions=1, hosts=1)
        assert answer.after == SourceCounts(task_definitions=2)


class TestDifference:
    def test_what_is_equal_is_left_alone(self) -> None:
        answer = made(view(stored(*((thing, "git") for thing in WEB)), applied="r2"), goal(*WEB))
        assert (answer.changes, answer.unchanged, answer.retired) == ((), 4, {})

    def test_an_update_names_the_fields_and_the_index_it_rests_on(self) -> None:
        there = stored((service(desired=1), "git"))
        answer = made(view(there), goal(service(desired=3)))
        (update,) = answer.updates
        assert (update.key, update.fields, update.index) == ("config/services/web", ("desired",), 10)

    def test_fields_are_named_as_paths(self) -> None:
        before = b'{"a":{"b":[1,{"c":2}],"d":1},"e":[1],"f":1}'
        after = b'{"a":{"b":[1,{"c":3}],"d":1},"e":[1,2],"g":1}'
        assert changed_fields(before, after) == ("a.b[1].c", "e", "f", "g")

    def test_a_value_that_is_not_canonical_is_written_anew(self) -> None:
        there = stored((service(), "git"))
        key = "config/services/web"
        there[key] = msgspec.structs.replace(there[key], value=msgspec.json.format(there[key].value, indent=2))
        (update,) = made(view(there), goal(service())).updates
        assert update.fields == ()

    def test_our_own_object_that_somebody_broke_is_written_anew(self) -> None:
        value = b'{"name":"web","managed_by":"git","nonsense":true}'
        there = {"config/services/web": Stored(value, 7, owner_of(value))}
        assert isinstance(made(view(there), goal(service())).changes[0], Update)

    def test_moving_an_object_to_another_file_changes_nothing(self) -> None:
        """Argo CD: a rename restarted everything."""
        there = stored(*((thing, "git") for thing in WEB))
        moved = wanted_of("git", [(thing, f"elsewhere/{number}.yml:9:9") for number, thing in enumerate(WEB)])
        assert made(view(there), Goal(revision="r2", wanted=moved)).changes == ()


class TestOwnership:
    def test_what_others_manage_or_nobody_does_is_never_deleted(self) -> None:
        """git2consul: deleting a prefix wiped its siblings, even the whole store."""
        there = stored(
            (service("mine"), "git"),
            (service("mine-too"), "other"),
            (service("min"), None),
            (Cluster(name="mine"), "apply"),
            (Host(name="mine"), None),
        )
        answer = made(view(there), goal(Cluster(name="main")))
        assert written(answer) == ["config/clusters/main", "config/services/mine"]

    def test_what_other_programs_keep_under_config_is_not_ours(self) -> None:
        assert not is_object("config/app/database")
        assert not is_object("config/servicesX/web")
        assert not is_object(keys.CONFIG_SENTINEL)
        assert is_object("config/services/web")

    def test_an_object_of_another_source_is_a_problem_that_names_both(self) -> None:
        """Flux, Argo CD: two owners fought for one object."""
        answer = plan(view(stored((service(), "other"))), goal(definition(), service()), NOW)
        (problem,) = answer.problems
        assert "a.yml:1:1: service web is managed by source other, and source git declares it" in problem

    def test_an_object_that_nobody_manages_is_not_taken_over(self) -> None:
        for value in (encode(service(desired=1)), b"not even json", b"[]"):
            there = {"config/services/web": Stored(value, 7, owner_of(value))}
            (problem,) = plan(view(there), goal(service()), NOW).problems
            assert "no source manages it; delete config/services/web there" in problem

    def test_every_problem_is_said_at_once(self) -> None:
        there = stored((service("a"), "x"), (service("b"), "y"), (definition("web", command="old"), "git"))
        answer = plan(view(there), goal(service("a"), service("b"), definition("web")), NOW)
        assert len(answer.problems) == 3

    def test_apply_deletes_nothing(self) -> None:
        there = stored(*((thing, "git") for thing in WEB))
        answer = made(view(there), goal(Host(name="node-2"), prunes=False))
        assert written(answer) == ["config/hosts/node-2"]
        assert answer.after == SourceCounts(clusters=1, services=1, task_definitions=1, hosts=2)
        assert answer.retired == {}


class TestVersionsNeverChange:
    def test_rule_11_a_known_version_with_other_content_is_refused(self) -> None:
        there = stored((definition(version=1), "git"), (definition(version=4), "other"))
        (problem,) = plan(view(there, applied="r1"), goal(definition(command="changed")), NOW).problems
        assert problem.startswith("a.yml:1:1: task definition web version 1 is stored with other content")
        assert "containers[0].executor.start[0]" in problem
        assert "at least 5" in problem

    def test_during_development_it_may_change(self) -> None:
        there = stored((definition(), "git"))
        answer = made(view(there, applied="r1"), goal(definition(command="changed"), mutable_versions=True))
        assert isinstance(answer.changes[0], Update)

    @pytest.mark.parametrize(("applied", "to"), [("r2", None), ("r1", "r2")])
    def test_content_that_somebody_changed_by_hand_is_put_right(self, applied: str, to: str | None) -> None:
        """The revision was accepted before, so it is not the manifest that changed."""
        there = stored((definition(command="by hand"), "git"))
        assert isinstance(made(view(there, applied=applied, to=to), goal(definition())).changes[0], Update)

    def test_a_definition_that_nobody_can_read_is_put_right(self) -> None:
        there = {"config/task_definitions/web/1": Stored(b'{"managed_by":"git"}', 7, "git")}
        assert isinstance(made(view(there, applied="r1"), goal(definition())).changes[0], Update)


class TestBrakes:
    def test_an_empty_revision_deletes_nothing(self) -> None:
        """Argo CD: one bad change pruned everything."""
        answer = plan(view(stored((service(), "git")), applied="r1"), goal(), NOW)
        assert "declares nothing, and 1 objects are applied" in answer.problems[0]

    def test_an_empty_revision_is_no_success_in_an_empty_store_either(self) -> None:
        """kubeconform, Flux: nothing was looked at, and all was green."""
        assert "declares nothing" in plan(view(), goal(), NOW).problems[0]

    def test_a_revision_of_unknown_descent_deletes_nothing(self) -> None:
        there = stored((service(), "git"), (definition(), "git"))
        answer = plan(view(there, applied="r1"), goal(definition(), is_related=False), NOW)
        assert "has nothing to do with r1" in answer.problems[0]
        assert made(view(there, applied="r1"), goal(definition(), service(), is_related=False)).unchanged == 2

    def test_rule_03_a_revision_of_unknown_descent_completes_nothing(self) -> None:
        there = stored((service(), "git"), (definition(), "git"))
        answer = plan(
            view(there, applied="r1", to="r2"), goal(definition(), service(), revision="r3", is_related=False), NOW
        )
        assert "r2" in answer.problems[0]

    def test_task_ids_that_would_collide_with_those_of_another_source_are_refused(self) -> None:
        there = stored((Cluster(name="a-b", services=("c",)), "other"), (Cluster(name="x", services=("y",)), None))
        answer = plan(view(there), goal(Cluster(name="a", services=("b-c", "d"))), NOW)
        (problem,) = answer.problems
        assert "service b-c in cluster a would have tasks of the same ids as service c in cluster a-b" in problem


class TestRetiredDefinitions:
    def test_rule_11_definitions_go_late(self) -> None:
        there = stored((definition(version=1), "git"), (definition(version=2), "git"), (service(version=2), "git"))
        answer = made(view(there, applied="r1"), goal(definition(version=2), service(version=2)))
        assert (answer.changes, answer.retired) == ((), {"web/1": int(NOW)})
        assert answer.after.task_definitions == 2

    def test_the_time_since_when_nobody_wants_them_is_kept(self) -> None:
        there = stored((definition("old"), "git"), (definition("older"), "git"), (definition(), "git"))
        answer = made(view(there, applied="r1", retired={"older/1": 5, "gone/1": 6}), goal(definition()))
        assert answer.retired == {"older/1": 5, "old/1": int(NOW)}

    def test_one_that_is_declared_again_is_wanted_again(self) -> None:
        there = stored((definition(), "git"))
        assert made(view(there, applied="r1", retired={"web/1": 5}), goal(definition())).retired == {}

    def test_the_record_stays_small_whatever_is_removed(self) -> None:
        there = stored(*((definition(f"d{number}"), "git") for number in range(MOST_RETIRED + 50)))
        first = made(view(there, applied="r1"), goal(Cluster(name="main"))).retired
        assert len(first) == MOST_RETIRED
        again = made(view(there, applied="r1", retired=dict(first)), goal(Cluster(name="main"))).retired
        assert again == first


def test_changes_say_what_they_are() -> None:
    there = stored((service("gone"), "git"), (service("web", desired=1), "git"))
    answer = made(view(there), goal(service("web", desired=2), definition()))
    assert [type(change) for change in answer.changes] == [Create, Update, Delete]
    assert (len(answer.creates), len(answer.updates), len(answer.deletes)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("config/task_definitions/web/2", "task definition web version 2"),
        ("config/services/web", "service web"),
        ("config/clusters/main", "cluster main"),
        ("config/hosts/node-1", "host node-1"),
    ],
)
def test_keys_are_called_by_what_they_stand_for(key: str, text: str) -> None:
    assert label(key) == text
