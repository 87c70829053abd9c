"""The one way in which manifests are read: everything wrong in one pass, the same content never parsed twice."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.errors import InvalidManifests
from reconciler.manifests.load import ParseCache, load
from reconciler.manifests.problem import Problem
from reconciler.manifests.rules import RULES, Severity
from reconciler.model.manifests import Cluster, Host, Service, TaskDefinition

ROOT = Path(__file__).parent.parent.parent.parent
EXAMPLES = [(str(path), path.read_bytes()) for path in sorted((ROOT / "examples" / "hello-world-bash").glob("*.yml"))]
BROKEN = [path.read_bytes() for path in sorted((ROOT / "tests" / "broken_manifests").glob("rc*"))]


def test_objects_come_typed_with_their_origin_and_without_an_owner() -> None:
    loaded = load([("m.yml", b"hosts:\n  - name: a\n    tags: {zone: x}\nclusters:\n  - name: b\n")])
    assert loaded.problems == ()
    assert {str(one.origin): one.object for one in loaded.objects} == {
        "m.yml:2:5": Host(name="a", tags={"zone": "x"}),
        "m.yml:5:5": Cluster(name="b"),
    }


def test_all_problems_of_all_files_come_in_one_pass_in_the_order_of_the_files() -> None:
    loaded = load(
        [
            ("z.yml", b"hosts: [\n"),
            ("a.yml", b"clusters:\n  - name: a b\n  - name: c\n    services: [web]\nhost: []\n"),
            ("m.yml", b"hosts:\n  - name: h\n    draining: x\n    draining: x\n"),
            ("m.json", b"{}"),
        ]
    )
    assert [(problem.file, problem.line, problem.code) for problem in loaded.problems] == [
        ("a.yml", 2, "RC025"),
        ("a.yml", 4, "RC010"),
        ("a.yml", 5, "RC021"),
        ("m.json", 1, "RC052"),
        ("m.yml", 3, "RC020"),
        ("m.yml", 4, "RC041"),
        ("z.yml", 2, "RC040"),
    ]
    assert loaded.files == 4
    assert not loaded.valid
    assert len(loaded.errors) == 6
    assert [problem.code for problem in loaded.warnings] == ["RC052"]


def test_the_order_in_which_files_are_given_does_not_matter() -> None:
    files = [(f"{number}.yml", content) for number, content in enumerate(BROKEN)]
    expected = load(files)
    random.Random(1).shuffle(files)
    assert load(files) == expected


def test_nothing_is_nothing() -> None:
    loaded = load([])
    assert (loaded.objects, loaded.problems, loaded.files, loaded.valid) == ((), (), 0, True)


def test_invalid_manifests_raise_with_every_error_and_no_warning() -> None:
    files = [("a.yml", b"clusters:\n  - name: a b\n  - nam: c\n"), ("b.yml", b"# nothing\n")]
    with pytest.raises(InvalidManifests) as raised:
        load(files).raise_if_invalid()
    lines = str(raised.value).splitlines()
    assert lines[0] == "the manifests are invalid (2 errors):"
    assert [line.split(" ")[0] for line in lines[1:]] == ["a.yml:2:11:", "a.yml:3:5:"]
    assert raised.value.exit_code == 1
    load(files[1:]).raise_if_invalid()


def test_the_example_gives_its_objects() -> None:
    loaded = load(EXAMPLES)
    assert loaded.problems == ()
    assert sorted(type(one.object).__name__ for one in loaded.objects) == [
        "Cluster",
        *["Service"] * 2,
        *["TaskDefinition"] * 2,
    ]
    definitions = [one.object for one in loaded.objects if isinstance(one.object, TaskDefinition)]
    services = [one.object for one in loaded.objects if isinstance(one.object, Service)]
    assert {definition.name for definition in definitions} == {service.task_name for service in services}


# Nothing is done twice.


def test_unchanged_files_are_not_parsed_again() -> None:
    cache = ParseCache()
    files = [(f"{number}.yml", f"hosts: [{{name: h{number}}}]".encode()) for number in range(10)]
    first = load(files, cache=cache)
    assert cache.parsed_files == 10
    assert load(files, cache=cache) == first
    assert cache.parsed_files == 10
    files[3] = ("3.yml", b"hosts: [{name: h4}]")
    assert [problem.code for problem in load(files, cache=cache).problems] == ["RC001"]
    assert cache.parsed_files == 10, "the content of 4.yml is known already"
    files[3] = ("3.yml", b"hosts: [{name: h33}]")
    assert load(files, cache=cache).valid
    assert cache.parsed_files == 11


def test_a_renamed_file_is_not_parsed_again_and_has_its_new_name() -> None:
    cache = ParseCache()
    load([("old.yml", b"hosts: [{name: 5}]")], cache=cache)
    (problem,) = load([("new.yml", b"hosts: [{name: 5}]")], cache=cache).problems
    assert problem.file == "new.yml"
    assert cache.parsed_files == 1


def test_the_same_content_in_two_files_is_two_declarations() -> None:
    (problem,) = load([("a.yml", b"hosts: [{name: h}]"), ("b.yml", b"hosts: [{name: h}]")], cache=ParseCache()).problems
    assert (problem.file, problem.code) == ("b.yml", "RC001")


def test_the_same_content_is_another_thing_as_json_and_as_settings() -> None:
    cache = ParseCache()
    content = b"ignore: [x]"
    assert [problem.code for problem in load([("a.yml", content)], cache=cache).problems] == ["RC021"]
    assert [problem.code for problem in load([("a.json", content)], cache=cache).problems] == ["RC053"]
    assert load([("reconciler.yaml", content)], cache=cache).problems == ()
    assert cache.parsed_files == 3


def test_references_are_checked_again_although_no_file_changed() -> None:
    cache = ParseCache()
    service = ("s.yml", b"services: [{name: web, task_name: web, task_version: 1, desired: 1}]")
    cluster = ("c.yml", b"clusters: [{name: c, services: [web]}]")
    containers = b"[{name: c, type: bash, executor: {start: [x]}}]"
    task = ("t.yml", b"task_definitions: [{name: web, version: 1, containers: " + containers + b"}]")
    assert load([service, cluster, task], cache=cache).problems == ()
    assert [problem.code for problem in load([service, cluster], cache=cache).problems] == ["RC012"]
    assert load([service, cluster, task], cache=cache).problems == ()
    assert cache.parsed_files == 3


def test_what_two_loads_did_not_use_is_forgotten() -> None:
    cache = ParseCache()
    one, other = [("a.yml", b"hosts: [{name: a}]")], [("b.yml", b"hosts: [{name: b}]")]
    load(one, cache=cache)
    load(other, cache=cache)
    load(one, cache=cache)
    assert cache.parsed_files == 2, "going back to what was there a moment ago costs nothing"
    load(other, cache=cache)
    load(other, cache=cache)
    load(one, cache=cache)
    assert cache.parsed_files == 3


# Nothing crashes it.


def is_sound(problem: Problem, content: bytes) -> bool:
    """Whether a problem is a known one at a place that exists, and says something."""
    lines = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    lines += sum(content.decode("utf-8", "replace").count(end) for end in "\x85\u2028\u2029")
    return (
        problem.code in RULES
        and problem.severity in set(Severity)
        and 1 <= problem.line <= lines + 1
        and problem.column >= 1
        and bool(problem.message)
        and "\n" not in str(problem)
    )


FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
PIECES = [
    *(b": ", b"- ", b"[", b"]", b"{", b"}", b"\n", b"\r", b"\t", b" ", b",", b"#", b"? ", b'"', b"'", b"|\n"),
    *(b"&a ", b"*a", b"!x ", b"<<: ", b"---\n", b"%TAG", b"\0", b"\xff", b"\xef\xbb\xbf"),
    *(b"null", b"yes", b"012", b"1:1", b"name", b"containers"),
]


@given(content=st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join), suffix=st.sampled_from(["yml", "json"]))
@FUZZ
def test_no_soup_of_yaml_crashes_it(content: bytes, suffix: str) -> None:
    for problem in load([(f"a.{suffix}", content)]).problems:
        assert is_sound(problem, content), problem


@given(data=st.data())
@FUZZ
def test_no_damage_to_a_manifest_crashes_it(data: st.DataObject) -> None:
    whole = data.draw(
        st.sampled_from([*[content for _, content in EXAMPLES], *[one for one in BROKEN if len(one) < 5000]])
    )
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 12))
        content[start : start + length] = data.draw(st.sampled_from([b"", *PIECES]))
    for problem in load([("a.yml", bytes(content))]).problems:
        assert is_sound(problem, bytes(content)), problem
