"""Whatever is stored and whatever is wanted: what a plan does to the one, and never does to the other."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.manifests import BashContainer, BashExecutor, Cluster, ConfigObject, Host, Service, TaskDefinition
from reconciler.model.source_state import SourceState, SyncMark
from reconciler.sync.config_view import Stored, View, counts_of, rank
from reconciler.sync.plan import Create, Delete, Goal, Plan, Update, plan, wanted_of

NAMES = st.sampled_from(["a", "b", "c", "a-b", "aa"])
OWNERS = st.sampled_from(["git", "git", "git", "other", None])


def definition(name: str, version: int, command: str) -> TaskDefinition:
    container = BashContainer(name="main", executor=BashExecutor(start=(command,)))
    return TaskDefinition(name=name, version=version, containers=(container,))


OBJECTS: st.SearchStrategy[ConfigObject] = st.one_of(
    st.builds(Service, name=NAMES, task_name=NAMES, task_version=st.integers(1, 3), desired=st.integers(0, 3)),
    st.builds(Cluster, name=NAMES, services=st.lists(NAMES, unique=True, max_size=2).map(tuple)),
    st.builds(Host, name=NAMES, draining=st.booleans()),
    st.builds(definition, name=NAMES, version=st.integers(1, 3), command=st.sampled_from(["x", "y"])),
)


@st.composite
def stores(draw: st.DrawFn) -> dict[str, Stored]:
    """Objects of several owners, some not readable."""
    stored = {}
    for index, (thing, owner) in enumerate(draw(st.lists(st.tuples(OBJECTS, OWNERS), max_size=12)), 1):
        value = encode(msgspec.structs.replace(thing, managed_by=owner))
        if owner is None and draw(st.booleans()):
            value = b"no json"
        stored[keys.config(thing)] = Stored(value, index, owner)
    return stored


def view_of(stored: dict[str, Stored]) -> View:
    mine = {key for key, each in stored.items() if each.owner == "git"}
    mark = SyncMark(settled=True, revision="r1", counts=counts_of(mine))
    own = SourceState(source="git", kind="git", location="x", mark=mark)
    return View(source="git", store_id="s", config=stored, sources={"git": own}, marks={keys.source("git"): 1})


def carried_out(stored: dict[str, Stored], made: Plan) -> dict[str, Stored]:
    """What is stored after the plan, each step of it checked as the store would."""
    after = dict(stored)
    for change in made.changes:
        match change:
            case Create(key, value):
                assert key not in after
                after[key] = Stored(value, 99, "git")
            case Update(key, value, index, _):
                assert after[key].index == index
                after[key] = Stored(value, 99, "git")
            case Delete(key, index):
                assert after.pop(key).index == index
    return after


WANTED = st.lists(OBJECTS, max_size=8).map(lambda things: wanted_of("git", [(thing, "here") for thing in things]))


@given(stored=stores(), wanted=WANTED, mutable=st.booleans(), prunes=st.booleans())
def test_a_plan_reaches_what_is_wanted_and_touches_nobody_elses_objects(
    stored: dict[str, Stored], wanted: dict, mutable: bool, prunes: bool
) -> None:
    goal = Goal(revision="r2", wanted=wanted, prunes=prunes, mutable_versions=mutable)
    made = plan(view_of(stored), goal, 0.0)
    touched = {change.key for change in made.changes}
    assert all(stored[key].owner == "git" for key in touched & stored.keys()), "never another's, whatever the problems"
    if made.problems:
        return
    after = carried_out(stored, made)
    assert {key: after[key].value for key in wanted} == {key: each.value for key, each in wanted.items()}
    mine = {key for key, each in after.items() if each.owner == "git"}
    assert made.after == counts_of(mine)
    left = mine - wanted.keys()
    if prunes:
        assert left == {keys.TASK_DEFINITIONS + name for name in made.retired}
    else:
        assert left == {key for key, each in stored.items() if each.owner == "git"} - wanted.keys()
    again = plan(view_of(after), goal, 0.0)
    assert (again.changes, again.problems) == ((), ()), "and then there is nothing left to do"


@given(stored=stores(), wanted=WANTED)
def test_a_plan_writes_in_order_and_deletes_in_reverse(stored: dict[str, Stored], wanted: dict) -> None:
    made = plan(view_of(stored), Goal(revision="r2", wanted=wanted), 0.0)
    writes = [rank(change.key) for change in made.changes if not isinstance(change, Delete)]
    deletes = [rank(change.key) for change in made.changes if isinstance(change, Delete)]
    assert writes == sorted(writes)
    assert deletes == sorted(deletes, reverse=True)
    assert [isinstance(change, Delete) for change in made.changes] == [False] * len(writes) + [True] * len(deletes)
    assert made.unchanged + len(writes) <= len(wanted)


@given(stored=stores(), wanted=WANTED)
def test_the_same_view_gives_the_same_plan(stored: dict[str, Stored], wanted: dict) -> None:
    goal = Goal(revision="r2", wanted=wanted)
    shuffled = Goal(revision="r2", wanted=dict(reversed(wanted.items())))
    other = dict(reversed(stored.items()))
    assert plan(view_of(stored), goal, 0.0) == plan(view_of(other), shuffled, 0.0)
