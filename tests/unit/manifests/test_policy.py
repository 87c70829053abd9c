"""Operators' own rules: checked in the same run, and reported at the line that is to blame, like ours."""

import json
from typing import Any

import pytest

from reconciler.errors import UsageError
from reconciler.manifests.checks import Checks
from reconciler.manifests.load import Loaded, ParseCache, load
from reconciler.manifests.policy import read_policies

IMAGES = {
    "title": "The image is not from our registry",
    "description": "push it to registry.example.com first",
    "x-applies-to": "task_definition",
    "properties": {
        "containers": {
            "items": {"properties": {"executor": {"properties": {"image": {"pattern": "^registry\\.example\\.com/"}}}}}
        }
    },
}
MEMORY = {
    "title": "memory must be set",
    "x-applies-to": "task_definition",
    "x-severity": "warning",
    "required": ["memory"],
}
TEXT = b"""\
hosts:
  - name: registry
task_definitions:
  - name: web
    version: 1
    containers:
      - name: web
        type: docker
        executor: {image: registry.example.com/web:1}
      - name: proxy
        type: docker
        executor:
          image: nginx
"""


def policies(**schemas: Any) -> Checks:
    files = [(f"policies/{name.replace('_', '-')}.json", json.dumps(one).encode()) for name, one in schemas.items()]
    return Checks(policies=read_policies(files))


def loaded(text: bytes, checks: Checks) -> Loaded:
    return load([("a.yml", text)], cache=ParseCache(checks))


def test_a_breach_is_reported_at_its_line_with_the_policys_words() -> None:
    result = loaded(TEXT, policies(our_images=IMAGES, memory_set=MEMORY))
    memory, image = map(str, result.problems)
    assert memory == (
        "a.yml:4:5: warning memory-set task definition 'web' version 1: memory must be set: "
        "'memory' is a required property"
    )
    assert image == (
        "a.yml:13:18: error our-images task definition 'web' version 1: containers[1].executor.image: "
        "The image is not from our registry: 'nginx' does not match '^registry\\\\.example\\\\.com/'; "
        "push it to registry.example.com first"
    )
    assert result.problems[0].as_json()["rule"] == "memory-set"
    assert not result.valid


def test_a_policy_is_for_objects_as_they_are_written_and_of_its_kind() -> None:
    hosts = {"title": "x", "x-applies-to": "host", "maxProperties": 1}
    assert loaded(TEXT, policies(short=hosts)).problems == ()
    draining = TEXT.replace(b"name: registry", b"name: registry\n    draining: false")
    assert [problem.line for problem in loaded(draining, policies(short=hosts)).problems] == [2]


def test_a_breach_can_be_ignored_with_a_reason_and_an_unneeded_comment_is_a_warning() -> None:
    checks = policies(our_images=IMAGES)
    ignoring = TEXT.replace(b"image: nginx", b"image: nginx  # reconciler: ignore=our-images until the move")
    result = loaded(ignoring, checks)
    assert result.problems == ()
    assert result.ignored[0].reason == "until the move"
    right = ignoring.replace(b"nginx", b"registry.example.com/nginx")
    assert [problem.code for problem in loaded(right, checks).problems] == ["RC061"]


def test_objects_that_are_wrong_already_are_not_checked() -> None:
    result = loaded(TEXT.replace(b"version: 1", b"version: x"), policies(our_images=IMAGES))
    assert [problem.code for problem in result.problems] == ["RC020"]


def test_a_policy_may_use_our_schemas() -> None:
    schema = {"title": "x", "x-applies-to": "host", "$ref": "host.json", "required": ["tags"]}
    assert [problem.line for problem in loaded(TEXT, policies(tagged=schema)).problems] == [2]


def test_other_checks_are_other_answers() -> None:
    assert policies(a=MEMORY).digest != policies(b=MEMORY).digest
    assert policies(a=MEMORY).digest != policies(a=MEMORY | {"title": "other"}).digest
    assert policies(a=MEMORY).digest == policies(a=MEMORY).digest != Checks().digest


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("RC012.json", "{}", "can't be the code"),
        ("rc012.json", "{}", "can't be the code"),
        ("our images.json", "{}", "can't be the code"),
        ("a.json", "[1]", "JSON object"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"title": "x"}', "x-applies-to"),
        ("a.json", '{"title": "x", "x-applies-to": "task"}', "x-applies-to"),
        ("a.json", '{"x-applies-to": "host"}', "no title"),
        ("a.json", '{"title": "x", "x-applies-to": "host", "x-severity": "info"}', "x-severity"),
        ("a.json", '{"title": "x", "x-applies-to": "host", "type": "strin"}', "not a JSON Schema"),
    ],
)
def test_what_is_no_policy_is_wrong_usage_and_not_ignored(name: str, content: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        read_policies([(name, content.encode())])


def test_two_policies_of_one_name_are_wrong_usage() -> None:
    content = json.dumps(MEMORY).encode()
    with pytest.raises(UsageError, match="another policy called a"):
        read_policies([("x/a.json", content), ("y/a.json", content)])


def test_a_reference_that_leads_nowhere_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="refers to"):
        loaded(TEXT, policies(lost={"title": "x", "x-applies-to": "host", "$ref": "nowhere.json"}))
