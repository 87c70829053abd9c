"""``bump``: the numbers change and nothing else does, whatever the manifests look like; or nothing is written."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.errors import InvalidManifests, UsageError
from reconciler.manifests.bump import bump
from reconciler.manifests.load import load
from reconciler.model.manifests import Service, TaskDefinition

BASH = b'{"name": "c", "type": "bash", "executor": {"start": ["x"]}}'
TEXT = """\
# yaml-language-server: $schema=x
clusters:
  - {name: default, services: [web, "old", other]}
services:
  - name: web          # the shop
    task_name: web
    task_version: 2    # the newest
    desired: 2
  - {"task_version": 2, name: other, 'task_name': "web", desired: 2}
  - name: old
    task_name: web
    task_version: 1
    desired: 2
task_definitions:
  - {name: web, version: 1, containers: [{name: a, type: docker, executor: {image: "web:1"}}]}
  -   version:   2     # see CHANGELOG version 2
      name: web
      memory: 2


      containers:
        - name: b # ü
          type: docker
          executor: {image: 'example/web:2', container_port: 0}   # web:2
"""


def test_only_the_numbers_change_so_comments_and_layout_stay() -> None:
    result = bump([("a.yml", TEXT.encode())], "web")
    changed = result.files["a.yml"].decode()
    assert changed == (
        TEXT.replace("task_version: 2    #", "task_version: 3    #")
        .replace('"task_version": 2', '"task_version": 3')
        .replace("version:   2     #", "version:   3     #")
    )
    assert (result.before, result.after, result.left) == (2, 3, ("old",))
    assert [(edit.line, edit.what, edit.old, edit.new) for edit in result.edits] == [
        (16, "task definition 'web'", "2", "3"),
        (7, "service 'web'", "2", "3"),
        (9, "service 'other'", "2", "3"),
    ]


def test_the_version_may_be_chosen_and_an_image_written() -> None:
    result = bump([("a.yml", TEXT.encode())], "web", to=100, image="example/web:3@sha256:0")
    changed = result.files["a.yml"].decode()
    assert "version:   100     # see" in changed
    assert "image: 'example/web:3@sha256:0', container_port: 0}   # web:2" in changed
    assert 'image: "web:1"' in changed


@pytest.mark.parametrize("written", ["nginx", "'nginx'", '"nginx"', "nginx # comment", '"nginx" # "x"'])
def test_an_image_keeps_the_way_it_is_written(written: str) -> None:
    text = "task_definitions:\n  - name: web\n    version: 1\n    containers:\n      - name: a\n        type: docker\n"
    text += f"        executor:\n          image: {written}\n"
    result = bump([("a.yml", text.encode())], "web", image="example/web:2")
    changed = text.replace("version: 1", "version: 2").replace("nginx", "example/web:2")
    assert result.files == {"a.yml": changed.encode()}


def test_windows_line_ends_a_byte_order_mark_and_odd_characters_stay() -> None:
    text = "\ufeff# ü\u2028\r\n" + TEXT.replace("\n", "\r\n")
    changed = bump([("a.yml", text.encode())], "web").files["a.yml"].decode()
    assert (
        changed.replace("task_version: 3", "task_version: 2")
        .replace('_version": 3', '_version": 2')
        .replace("version:   3", "version:   2")
        == text
    )


def test_definition_and_services_may_stand_in_several_files_and_documents() -> None:
    files = [
        ("a.yml", b"hosts: [{name: a}]\n---\nservices: [{name: s, task_name: t, task_version: 7, desired: 0}]\n"),
        ("b.json", b'{"task_definitions": [{"name": "t", "version": 7, "containers": [\n' + BASH + b"]}]}"),
        ("c.yml", b"clusters: [{name: c, services: [s]}]\n"),
    ]  # fmt: skip
    result = bump(files, "t")
    assert result.files == {
        "a.yml": files[0][1].replace(b"task_version: 7", b"task_version: 8"),
        "b.json": files[1][1].replace(b'"version": 7', b'"version": 8'),
    }


def test_values_that_are_shared_are_refused_and_nothing_is_guessed() -> None:
    shared = TEXT.replace("memory: 2", "memory: &m 64").replace("version:   2", "version:   &v 2")
    with pytest.raises(UsageError, match="not written as a plain 2"):
        bump([("a.yml", shared.encode())], "web")
    alias = TEXT.replace("task_version: 2    #", "task_version: &v 2    #").replace("memory: 2", "memory: *v")
    with pytest.raises(UsageError, match="not written as a plain 2"):
        bump([("a.yml", alias.encode())], "web")


def test_an_image_that_is_none_or_whose_place_is_not_clear_is_refused() -> None:
    with pytest.raises(UsageError, match="not of the form needed"):
        bump([("a.yml", TEXT.encode())], "web", image="two words")
    bash = "task_definitions: [{name: b, version: 1, containers: [{name: c, type: bash, executor: {start: [x]}}]}]"
    with pytest.raises(UsageError, match="no docker containers"):
        bump([("a.yml", bash.encode())], "b", image="nginx")


def test_what_is_invalid_is_not_changed() -> None:
    with pytest.raises(InvalidManifests):
        bump([("a.yml", TEXT.replace("desired: 2", "desird: 2").encode())], "web")


def test_a_name_that_is_not_there_and_a_version_that_is_not_newer_are_wrong_usage() -> None:
    with pytest.raises(UsageError) as raised:
        bump([("a.yml", TEXT.encode())], "wbe")
    assert raised.value.hint == "declared are: web"
    for version in (0, 1, 2):
        with pytest.raises(UsageError, match="not a newer one"):
            bump([("a.yml", TEXT.encode())], "web", to=version)


def test_files_that_are_ignored_stay_as_they_are() -> None:
    files = [("a.yml", TEXT.encode()), ("deploy/b.yml", TEXT.encode()), ("reconciler.yaml", b"ignore: [deploy/]")]
    assert bump(files, "web").files.keys() == {"a.yml"}


@given(data=st.data())
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
def test_in_any_style_only_what_was_meant_changes(data: st.DataObject) -> None:
    """Manifests written by random in flow and block style, with versions that also stand elsewhere."""
    count = data.draw(st.integers(1, 4))
    versions = [data.draw(st.integers(0, 12)) for _ in range(count)]
    names = [f"t{number}" for number in range(count)]
    made: dict[str, list[dict[str, object]]] = {"services": [], "task_definitions": []}
    for name, version in zip(names, versions, strict=True):
        container = {"name": "c", "type": "docker", "executor": {"image": f"web:{version}"}}
        definition = {"name": name, "version": version, "memory": version, "containers": [container]}
        keys = data.draw(st.permutations(list(definition)))
        made["task_definitions"].append({key: definition[key] for key in keys})
        for number in range(data.draw(st.integers(0, 2))):
            made["services"].append(
                {"name": f"{name}s{number}", "desired": version, "task_version": version, "task_name": name}
            )
    text = json.dumps(made, indent=data.draw(st.sampled_from([None, 1, 4])))
    name = data.draw(st.sampled_from(names))
    suffix = data.draw(st.sampled_from(["yml", "json"]))
    before = load([(f"a.{suffix}", text.encode())])
    result = bump([(f"a.{suffix}", text.encode())], name, image=data.draw(st.none() | st.just("x/y:z")))
    after = load(result.files.items())
    for old, new in zip(before.objects, after.objects, strict=True):
        if isinstance(old.object, TaskDefinition) and old.object.name == name:
            assert isinstance(new.object, TaskDefinition)
            assert new.object.version == old.object.version + 1
            assert new.object.memory == old.object.memory
        elif isinstance(old.object, Service) and old.object.task_name == name:
            assert isinstance(new.object, Service)
            assert new.object.task_version == old.object.task_version + 1
            assert new.object.desired == old.object.desired
        else:
            assert old.object == new.object


def in_environments(settings: str, base: str, overlay: str) -> list[tuple[str, bytes]]:
    files = {"reconciler.yaml": settings, "web.yml": base, "overlays/prod/web.yml": overlay}
    return [(name, text.encode()) for name, text in files.items()]


BASE = """\
clusters: [{name: main, services: [web]}]
services: [{name: web, task_name: web, task_version: 1, desired: 1}]
task_definitions: [{name: web, version: 1, containers: [{name: a, type: docker, executor: {image: "web:1"}}]}]
"""


def test_the_number_is_changed_wherever_environments_say_it() -> None:
    settings = "environments: {staging: {}, prod: {overlay: overlays/prod}}\n"
    files = in_environments(settings, BASE, "task_definitions: [{name: web, version: 1, memory: 64}]\n")
    made = bump(files, "web", image="web:2")
    assert [(each.file, each.line, each.old, each.new) for each in made.edits] == [
        ("web.yml", 3, "1", "2"),
        ("web.yml", 3, "web:1", "web:2"),
        ("web.yml", 2, "1", "2"),
        ("overlays/prod/web.yml", 1, "1", "2"),
    ]
    with pytest.raises(UsageError, match="without changing something else"):
        bump(files, "web", environment="prod")
    with pytest.raises(InvalidManifests, match="there is no environment 'prdo'"):
        bump(files, "web", environment="prdo")


def test_a_number_that_is_a_parameter_changes_for_one_environment() -> None:
    settings = """\
parameters: {WEB: {type: integer}}
environments:
  staging: {parameters: {WEB: 4}}
  prod:
    parameters:
      WEB: 4
"""
    base = BASE.replace("version: 1", 'version: "${WEB}"')
    files = [file for file in in_environments(settings, base, "") if not file[0].startswith("overlays")]
    made = bump(files, "web", environment="staging")
    assert made.files == {"reconciler.yaml": settings.replace("{WEB: 4}", "{WEB: 5}").encode()}
    again = bump([(name, made.files.get(name, content)) for name, content in files], "web", to=6)
    assert (again.before, again.after) == (5, 6)
    assert [(each.line, each.new) for each in again.edits] == [(3, "6")]


def test_another_environment_that_is_invalid_is_named_and_this_one_is_not_blamed() -> None:
    settings = "environments: {staging: {}, prod: {overlay: overlays/prod}}\n"
    files = in_environments(settings, BASE, "services: [{name: web, min: 7}]\n")
    with pytest.raises(InvalidManifests, match=r"staging is valid, and prod is not:\noverlays/prod/web.yml:1:.* RC014"):
        bump(files, "web", environment="staging")
