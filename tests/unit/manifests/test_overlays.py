"""An overlay changes what it names, and nothing else; what it cannot find or tell is an error in its own line."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from reconciler.manifests import overlays
from reconciler.manifests.load import Loaded
from reconciler.manifests.overlays import NAMED_LISTS
from reconciler.manifests.schema_files import schemas
from tests.unit.manifests.environment_files import REPOSITORY, found, loaded, with_patch
from tests.unit.manifests.test_lines import GOOD

PACKAGE = Path(overlays.__file__).parent


def objects(result: Loaded) -> dict[str, Any]:
    """What is declared, as plain values by kind and name."""
    return {
        f"{type(each.object).__name__} {each.object.name}": msgspec.json.decode(msgspec.json.encode(each.object))
        for each in result.objects
    }


def changed(patch: str) -> dict[str, Any]:
    """What a patch makes different from an overlay that says nothing; None: it is not there any more."""
    before, after = objects(loaded(with_patch("services: []\n"))), loaded(with_patch(patch))
    assert after.problems == (), found(after)
    now = objects(after)
    return {
        name: {field: now[name][field] for field in now[name] if now[name][field] != before.get(name, {}).get(field)}
        if name in now
        else None
        for name in before | now
        if before.get(name) != now.get(name)
    }


def containers(**executor: Any) -> list[dict[str, Any]]:
    """The containers of ``web`` with other fields in the first one's executor."""
    result = objects(loaded(with_patch("services: []\n")))["TaskDefinition web"]["containers"]
    return [result[0] | {"executor": result[0]["executor"] | executor}, *result[1:]]


def test_fields_are_changed_added_and_taken_away() -> None:
    assert changed("services: [{name: web, min: 5, rollout: {parallel: 3, deadline: null}}]\n") == {
        "Service web": {
            "min": 5,
            "rollout": {
                "parallel": 3,
                "order": "start_first",
                "healthy_after": None,
                "deadline": "10m",
                "on_failure": "halt",
                "canary": 0,
            },
        }
    }
    assert changed("hosts: [{name: h1, tags: {zone: b, class: null, rack: r1}}]\n") == {
        "Host h1": {"tags": {"zone": "b", "rack": "r1"}}
    }


def test_lists_are_replaced_as_a_whole() -> None:
    assert changed("task_definitions: [{name: web, tags: [c]}]\n") == {"TaskDefinition web": {"tags": ["c"]}}


def test_environment_variables_are_merged_by_their_names() -> None:
    patch = "task_definitions: [{name: web, containers: [{name: app, executor: {env: [NEW=1, LOG=info]}}]}]\n"
    assert changed(patch) == {"TaskDefinition web": {"containers": containers(env=["LOG=info", "MODE=x", "NEW=1"])}}


def test_containers_and_checks_are_merged_by_name_added_and_removed() -> None:
    patch = """\
task_definitions:
  - name: web
    containers:
      - {name: app, executor: {image: other}}
      - {name: side, remove: true}
      - {name: extra, add: true, type: bash, executor: {start: [x]}}
    checks:
      - {name: http, interval: 3s}
      - {name: more, add: true, script: "true", container: app}
"""
    after = changed(patch)["TaskDefinition web"]
    assert [each["name"] for each in after["containers"]] == ["app", "extra"]
    assert after["containers"][0]["executor"]["image"] == "other"
    assert after["containers"][0]["executor"]["env"] == ["LOG=debug", "MODE=x"]
    assert [(each["name"], each["http"], each["interval"]) for each in after["checks"]] == [
        ("http", "http://127.0.0.1/", "3s"),
        ("more", None, None),
    ]


def test_named_ports_are_merged_by_name_and_mappings_of_an_executor_are_replaced() -> None:
    base = REPOSITORY["web.yml"].replace("    tags: [a, b]\n", "    ports: [{name: a, port: 81}, {name: b}]\n")
    base = base.replace("container_port: 80", "ports: ['5000:5000', '6000:6000']")
    patch = "{name: web, ports: [{name: b, port: 82}], containers: [{name: app, executor: {ports: ['7000:7000']}}]}"
    result = loaded(with_patch(f"task_definitions: [{patch}]\n") | {"web.yml": base})
    assert result.errors == ()
    web = objects(result)["TaskDefinition web"]
    assert [(each["name"], each["port"]) for each in web["ports"]] == [("a", 81), ("b", 82)]
    assert web["containers"][0]["executor"]["ports"] == ["7000:7000"]


@pytest.mark.parametrize("ports", ["", "    ports: []\n"])
def test_a_first_item_is_added_as_any_other(ports: str) -> None:
    base = REPOSITORY["web.yml"].replace("    tags: [a, b]\n", ports).replace("    provide_port: true\n", "")
    base = base.replace("          container_port: 80\n", "")
    item = "ports: [{name: b, port: 82, add: true}], checks: [{name: http, remove: true}]"
    patch = f"task_definitions: [{{name: web, {item}}}]\n"
    result = loaded(with_patch(patch) | {"web.yml": base})
    assert result.errors == ()
    assert [(each["name"], each["port"]) for each in objects(result)["TaskDefinition web"]["ports"]] == [("b", 82)]


def test_a_variable_that_the_base_has_twice_has_one_value_afterwards() -> None:
    base = REPOSITORY["web.yml"].replace("MODE=x", "LOG=trace, MODE=x")
    patch = "task_definitions: [{name: web, containers: [{name: app, executor: {env: [LOG=info]}}]}]\n"
    web = objects(loaded(with_patch(patch) | {"web.yml": base}))["TaskDefinition web"]
    assert web["containers"][0]["executor"]["env"] == ["LOG=info", "MODE=x"]


def test_objects_are_added_and_removed() -> None:
    patch = """\
clusters: [{name: main, services: [web]}]
services: [{name: worker, remove: true}]
hosts: [{name: h2, add: true}]
"""
    after = changed(patch)
    assert after["Service worker"] is None
    assert after["Cluster main"] == {"services": ["web"]}
    assert after["Host h2"]["name"] == "h2"


def test_a_patch_is_for_all_versions_unless_it_names_one() -> None:
    base = REPOSITORY["web.yml"]
    second = "  - {name: worker, version: 2, containers: [{name: a, type: bash, executor: {start: [x]}}]}\n"
    patch = "task_definitions:\n  - {name: worker, memory: 10, disk: 5}\n  - {name: worker, version: 2, memory: 20}\n"
    result = loaded(with_patch(patch) | {"web.yml": base + second})
    assert result.problems == ()
    assert [
        (each.object.version, each.object.memory, each.object.disk)  # type: ignore[union-attr]
        for each in result.objects
        if each.object.name == "worker" and hasattr(each.object, "version")
    ] == [(1, 10, 5), (2, 20, 5)]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ("services: [{name: wbe, desired: 1}]\n", "1 RC083 service 'wbe' is changed here, and is not in the base"),
        ("hosts: [{name: h9, remove: true}]\n", "1 RC083 host 'h9' is removed here, and is not in the base"),
        ("clusters: [{name: mian, services: [web]}]\n", "1 RC083 cluster 'mian' is changed here"),
        ("task_definitions:\n- name: web\n  version: 7\n", "2 RC083 the base has no task definition 'web' version 7"),
        ("services:\n- name: web\n  max: null\n", "3 RC083 service 'web' has no max that could be taken away"),
        (
            "task_definitions:\n- name: web\n  containers:\n  - name: ap\n",
            "4 RC083 task definition 'web' has no container 'ap' in the base",
        ),
        ("services:\n- desired: 3\n", "2 RC084 a service in an overlay can't be found without its name"),
        ("task_definitions: [{name: web, checks: [{interval: 1s}]}]\n", "1 RC084 a check of task definition 'web'"),
        ("services:\n- name: web\n  min: 1\n- name: web\n  max: 9\n", "4 RC084 service 'web' is changed here and in"),
        (
            "services: [{name: web, add: true, task_name: web, task_version: 1, desired: 1}]\n",
            "1 RC001 service 'web' is added here, and is in the base already (web.yml:4)",
        ),
        (
            "services:\n- name: web\n\n  task_name: null\n",
            "4 RC022 service 'web' has no task_name, which null takes away",
        ),
        (
            "task_definitions:\n- name: web\n  containers:\n  - name: app\n    executor:\n      image: null\n",
            "6 RC022 task definition 'web': containers[0].executor has no image, which null takes away here",
        ),
        (
            "task_definitions:\n- name: web\n  checks:\n  - name: http\n    http: null\n",
            "5 RC029 task definition 'web': checks[0] has none of",
        ),
        ("services:\n- name: web\n  remove: true\n  min: 1\n", "4 RC084 service 'web' is removed here"),
        ("services:\n- name: web\n  remove: no\n", "3 RC084 remove can only be true"),
        ("task_definitions: [{name: web, version: true}]\n", "1 RC084 the version of a patch must be a whole number"),
        ("task_definitions: [{name: web, version: 1.0}]\n", "1 RC084 the version of a patch must be a whole number"),
        (
            "task_definitions:\n- name: web\n  containers:\n  - {name: app}\n  - {name: app}\n",
            "5 RC084 task definition 'web': container 'app' is changed here and in overlays/prod/a.yml:4",
        ),
        (
            "task_definitions: [{name: web, containers: [{name: app, executor: {env: [A=1, A=2]}}]}]\n",
            "1 RC084 task definition 'web': container 'app': executor: variable A is changed here",
        ),
        ("task_definitions: [{name: web, ports: [{name: a}]}]\n", "1 RC083 task definition 'web' has no port 'a' in"),
        ("services:\n- name: web\n\n  mim: 1\n", "4 RC021 service 'web' has no field 'mim'"),
        ("services:\n- name: web\n  min: lots\n", "3 RC020 service 'web': min must be a whole number"),
        ("services:\n- name: web\n  min: 9\n", "3 RC014 service 'web'"),
        ("services:\n- name: web\n  task_version: 8\n", "3 RC013 service 'web' runs version 8"),
        (
            "clusters:\n- name: main\n  services:\n  - web\n  - gone\n",
            "5 RC010 cluster 'main' lists the service 'gone'",
        ),
        ("servises: []\n", "1 RC021 the document has no field 'servises'"),
        ("services: [{name: web\n", "RC040"),
    ],
)
def test_what_is_wrong_is_shown_at_the_line_of_the_overlay(patch: str, expected: str) -> None:
    problems = [each for each in found(loaded(with_patch(patch))) if "RC011" not in each]
    assert problems
    assert problems[0].startswith("overlays/prod/a.yml:")
    assert expected in problems[0]


def test_what_may_stand_in_a_file_that_cannot_be_read_is_not_called_missing() -> None:
    files = with_patch("hosts: [{name: h1, draining: true}, {name: h5, draining: true}]\n")
    files["x/hosts.yml"] = "hosts:\n  - {name: h0}\n  - {name: h1\n"
    assert [each[:40] for each in found(loaded(files))] == [
        "overlays/prod/a.yml:1 RC083 host 'h5' is",
        "x/hosts.yml:4 RC040 the mapping in brace",
    ]


def test_what_the_base_has_wrong_is_shown_there_although_an_overlay_changes_the_object() -> None:
    files = with_patch("services: [{name: web, min: 1}]\n")
    files["web.yml"] = files["web.yml"].replace("desired: ${WEB_COUNT}", "desird: 3")
    assert [each[:25] for each in found(loaded(files))] == ["web.yml:4 RC022 service '", "web.yml:7 RC021 service '"][
        1:
    ]


def lists_of_named_things(schema: Any) -> Iterator[str]:
    """The fields in a schema that are lists of things with a name."""
    if not isinstance(schema, dict):
        return
    for field, inside in schema.get("properties", {}).items():
        item = inside.get("items", {})
        item = schemas()["task_definition.json"]["$defs"].get(item.get("$ref", "").rpartition("/")[2], item)
        if "name" in item.get("properties", {}):
            yield field
    for inside in (*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()):
        yield from lists_of_named_things(inside)


def test_every_list_of_named_things_is_merged_by_name() -> None:
    found = {
        field
        for kind in ("cluster", "service", "task_definition", "host")
        for field in lists_of_named_things(schemas()[f"{kind}.json"])
    }
    assert found == NAMED_LISTS.keys()


def test_a_problem_with_a_value_knows_the_values_own_file() -> None:
    """A rule that leaves the file out would blame the object's file for what an overlay says."""
    wrong = [
        f"{path.name}: {match[0]}"
        for path in PACKAGE.glob("*.py")
        for match in re.finditer(r'problem\([\w.]+, "", \*?\w+\.\w+', path.read_text())
        if not match[0].endswith("comment.line")
    ]
    assert wrong == []


def patches(value: Any, patch: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below an object, and a patch that makes it one that nobody could read."""
    for field, inside in value.items():
        if field in {"name", "version"}:
            continue
        yield field, patch | {field: {BROKEN: 1}}
        if isinstance(inside, dict):
            yield from ((each, patch | {field: deeper}) for each, deeper in patches(inside, {}))
        elif field in NAMED_LISTS and isinstance(inside[0], dict):
            for item in inside:
                named = {"name": item["name"]}
                yield from ((each, patch | {field: [deeper]}) for each, deeper in patches(item, named))


BROKEN = "zz top"
EVERY_PATCH = [
    (kind, field, patch)
    for kind, things in GOOD.items()
    for thing in things
    for field, patch in patches(thing, {key: thing[key] for key in ("name", "version") if key in thing})
]


def test_whichever_field_an_overlay_breaks_the_line_reported_holds_it() -> None:
    assert len(EVERY_PATCH) > 30
    base = {"reconciler.yaml": "environments: {prod: {overlay: over}}\n", "base.yml": yaml.safe_dump(GOOD)}
    for kind, field, patch in EVERY_PATCH:
        text = yaml.safe_dump({kind: [patch]}, sort_keys=False)
        problems = [each for each in loaded(base | {"over/a.yml": text}).problems if each.code != "RC011"]
        lines = {text.splitlines()[each.line - 1] for each in problems if each.file == "over/a.yml"}
        assert any(field in line or BROKEN in line for line in lines), (text, problems)
