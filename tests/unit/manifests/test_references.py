"""What objects must keep together, over all files given, and what must not be reported because it only follows."""

import itertools

import pytest

from reconciler.manifests.load import load
from reconciler.model.manifests import Cluster, Service, TaskDefinition
from reconciler.model.names import discovery_name, task_id
from tests.unit.manifests.declared import check, cluster, codes, manifest, service, task_definition


def test_objects_may_stand_in_different_files_in_any_order() -> None:
    whole = manifest()
    parts = [{kind: objects} for kind, objects in whole.items() if objects]
    for order in itertools.permutations(parts):
        assert codes(*order) == []


def test_both_places_of_a_thing_declared_twice_are_named() -> None:
    loaded = load([("a.yml", b"hosts:\n- name: h\n"), ("b/c.yml", b"\nhosts:\n\n- name: h\n")])
    (problem,) = loaded.problems
    assert str(problem) == "b/c.yml:4:3: error RC001 host 'h' is declared here and in a.yml:2; remove one of the two"


def test_a_thing_declared_three_times_is_two_problems() -> None:
    assert codes(*[{"hosts": [{"name": "h"}]}] * 3) == ["RC001", "RC001"]


def test_versions_and_kinds_of_one_name_are_different_things() -> None:
    assert codes(manifest(definitions=[task_definition(), task_definition(version=2)], hosts=[{"name": "web"}])) == []


def test_the_versions_that_exist_are_listed() -> None:
    definitions = [task_definition(version=version) for version in (1, 2, 5)]
    (problem,) = check(manifest(services=[service(task_version=3)], definitions=definitions)).problems
    assert problem.hint == "declared are the versions 1, 2 or 5"


def test_a_definition_that_nothing_uses_is_no_problem() -> None:
    assert codes(manifest(definitions=[task_definition(), task_definition("spare")])) == []


def test_a_service_may_be_in_several_clusters() -> None:
    assert codes(manifest(clusters=[cluster("a", "web"), cluster("b", "web")])) == []


# Broken objects are declared all the same: what refers to them is not wrong as well.


def test_a_broken_service_is_not_also_missing() -> None:
    assert codes(manifest(services=[{**service(), "desired": -1}])) == ["RC024"]


def test_a_broken_definition_is_not_also_missing() -> None:
    assert codes(manifest(definitions=[task_definition(memory=-1)])) == ["RC024"]
    assert codes(manifest(definitions=[{**task_definition(), "version": "1"}])) == ["RC020"]


def test_the_services_of_a_broken_cluster_are_not_also_in_no_cluster() -> None:
    assert codes(manifest(clusters=[{**cluster("default", "web"), "scheduler": ""}])) == ["RC025"]


def test_a_broken_thing_declared_twice_is_both() -> None:
    assert codes({"hosts": [{"name": "h", "draining": 5}, {"name": "h"}]}) == ["RC020", "RC001"]


def test_what_may_stand_in_an_unreadable_file_is_not_missing() -> None:
    files = [
        ("a.yml", b"services: [{name: web, task_name: shop.web, task_version: 7, desired: 1}]"),
        ("b.yml", b"clusters: [{name: default, services: [web, api]}]"),
        ("c.yml", b"task_definitions:\n  - name: shop.web\n\tversion: 7\n"),
    ]
    assert [(problem.file, problem.code) for problem in load(files).problems] == [
        ("b.yml", "RC010"),
        ("c.yml", "RC042"),
    ]
    files[2] = ("c.yml", b"task_definitions:\n  - name: shop.web-2\n\tversion: 7\n")
    assert [(problem.file, problem.code) for problem in load(files).problems] == [
        ("a.yml", "RC012"),
        ("b.yml", "RC010"),
        ("c.yml", "RC042"),
    ]


# Names that collide.

NAMES = ["a", "b", "a-b", "b-c", "c", "a-1", "1", "1-2", "2"]


@pytest.mark.parametrize("first", list(itertools.product(NAMES, NAMES)))
def test_collisions_are_found_exactly_when_ids_can_be_equal(first: tuple[str, str]) -> None:
    """Every pair of (cluster, service), with every version and instance up to 3."""

    def ids(cluster_name: str, service_name: str) -> set[str]:
        return {task_id(cluster_name, service_name, *numbers) for numbers in itertools.product(range(4), range(4))}

    for second in itertools.product(NAMES, NAMES):
        if first[0] >= second[0]:
            continue
        services = [service(name) for name in sorted({first[1], second[1]})]
        found = codes(manifest(clusters=[cluster(*first), cluster(*second)], services=services))
        collide = bool(ids(*first) & ids(*second))
        assert ("RC002" in found) == collide, (first, second)
        assert collide == (discovery_name(*first) == discovery_name(*second))


def test_a_collision_does_not_need_the_same_version() -> None:
    services = [service("c", task_version=1), service("b-c", task_version=2)]
    definitions = [task_definition(), task_definition(version=2)]
    clusters = [cluster("a-b", "c"), cluster("a", "b-c")]
    assert codes(manifest(clusters, services, definitions)) == ["RC002"]


def test_one_service_in_one_cluster_does_not_collide_with_itself() -> None:
    assert codes(manifest(clusters=[cluster("a", "web", "web")])) == ["RC030"]


# What is known from elsewhere.


def test_known_objects_may_be_referred_to() -> None:
    known = [
        Cluster(name="default", services=("web",)),
        TaskDefinition(name="web", version=1, containers=()),
        Service(name="api", task_name="web", task_version=1, desired=1),
    ]
    files = [("a.yml", b"services: [{name: web, task_name: web, task_version: 1, desired: 1}]")]
    assert [problem.code for problem in load(files).problems] == ["RC011", "RC012"]
    assert load(files, known=known).problems == ()
    clusters = [("b.yml", b"clusters: [{name: other, services: [api]}]")]
    assert [problem.code for problem in load(clusters).problems] == ["RC010"]
    assert load(clusters, known=known).problems == ()
