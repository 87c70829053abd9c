"""What ``render`` prints declares the same objects, and each place that it names holds what it says."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.manifests.load import load
from reconciler.manifests.render import render
from reconciler.manifests.yaml_reader import read
from tests.unit.manifests.environment_files import REPOSITORY, Files, found, loaded, with_patch

PATCH = """\
services:
  - name: web
    min: 5
    rollout:
      deadline: 7m
task_definitions:
  - name: web
    memory: 512
    containers:
      - name: app
        executor:
          env:
            - LOG=info
            - NEW=${REGISTRY}
"""
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [
        "yes",
        "1.0",
        "0x1",
        "a: b",
        "# x",
        "two\nlines",
        "two\nlines\n",
        "two\n\n",
        " x\ny",
        "x \ny",
        "a\tb\nc",
        "- x",
        "~",
    ]
)


def as_files(files: Files) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in files.items()]


def objects(files: list[tuple[str, bytes]], environment: str | None = None) -> list[str]:
    result = load(files, environment=environment)
    assert result.errors == ()
    return sorted(str(each.object) for each in result.objects)


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_the_output_is_a_manifest_that_declares_the_same(environment: str) -> None:
    files = as_files(with_patch(PATCH))
    made = render(files, environment)
    assert objects([("out.yml", made.yaml().encode())]) == objects(files, environment)
    assert objects([("out.json", made.json().encode())]) == objects(files, environment)


def test_a_comment_says_where_an_object_and_each_value_of_another_file_is_written() -> None:
    text = render(as_files(with_patch(PATCH)), "prod").yaml()
    services = text[text.index("services:\n  #") : text.index("task_definitions:")]
    assert (
        services
        == """\
services:
  # web.yml:4
  - name: web
    task_name: web
    task_version: 1
    desired: 6  # reconciler.yaml:12
    rollout:
      parallel: 2
      deadline: 7m  # overlays/prod/a.yml:5
    min: 5  # overlays/prod/a.yml:3
  # web.yml:9
  - name: worker
    task_name: worker
    task_version: 1
    desired: 1
"""
    )
    lines = {name: content.splitlines() for name, content in with_patch(PATCH).items()}
    places = re.findall(r"^ *(?:- )?(?:(\w+): )?(\S.*?)  # ([\w./]+):(\d+)$", text, re.MULTILINE)
    assert len(places) == 6, places
    for field, value, file, line in places:
        written = lines[file][int(line) - 1]
        assert value.replace("registry.prod", "${REGISTRY}") in written
        assert file == "reconciler.yaml" or field in written


def test_without_environments_it_is_what_the_files_say() -> None:
    files = [("a.yml", b"hosts:\n  - {name: h2}\n  - {name: h1, tags: {x: '${A}'}}\n")]
    assert render(files).yaml(with_places=False) == 'hosts:\n  - name: h1\n    tags:\n      x: "${A}"\n  - name: h2\n'


def test_what_is_wrong_is_rendered_all_the_same() -> None:
    made = render(as_files(with_patch("services: [{name: web, mim: 012}]\n")), "prod")
    assert "    mim: 012  # overlays/prod/a.yml:1\n" in made.yaml()
    assert [each.code for each in made.loaded.errors] == ["RC021"]
    assert '"mim": "012"' in made.json()


@given(st.lists(TEXTS.filter(bool), min_size=1, max_size=4), st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=3))
@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_comes_back_as_it_was(start: list[str], tags: dict[str, str]) -> None:
    value: dict[str, Any] = {
        "hosts": [{"name": "h", "tags": tags}],
        "task_definitions": [
            {"name": "t", "version": 1, "containers": [{"name": "c", "type": "bash", "executor": {"start": start}}]}
        ],
    }
    content = yaml.safe_dump(value, allow_unicode=False).encode()
    if read(content).problems:  # characters that no manifest may hold
        return
    (before,), (after,) = read(content).documents, read(render([("a.yml", content)]).yaml().encode()).documents
    assert after.value == before.value


def test_an_overlay_that_says_nothing_changes_nothing() -> None:
    plain = {name: text for name, text in REPOSITORY.items() if not name.startswith("overlays/")}
    plain["reconciler.yaml"] = plain["reconciler.yaml"].replace("    overlay: overlays/prod\n", "    # none\n")
    without = loaded(plain)
    nothing = loaded(with_patch("services: []\n"))
    naming = loaded(with_patch("services: [{name: web}, {name: worker}]\ntask_definitions: [{name: web}]\n"))
    assert found(without) == found(nothing) == found(naming) == []
    assert without.objects == nothing.objects == naming.objects
