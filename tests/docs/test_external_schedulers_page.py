"""What docs/external-schedulers.md shows and lists is what the code reads and writes."""

import json
import re
from typing import Any

import jsonschema
import pytest

from reconciler.model import codec, keys, manifests, task
from reconciler.model.preparation import Preparation
from reconciler.operations.conformance.rules import RULES
from reconciler.operations.conformance.run import PARTS
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/external-schedulers.md").read_text(encoding="utf-8")
SAMPLES = re.findall(r"^<!-- test: (\S+?)(?:,[^\n]*)? -->\n```json\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
STORED = {"Cluster", "Service", "Host", "TaskDefinition"}
BY_SCHEMA = {"task": task.Task, "host_state": task.HostState}
OTHER = {"HostStatus": task.HostStatus, "Preparation": Preparation}


def test_there_is_a_sample_of_everything_that_a_scheduler_reads_or_writes() -> None:
    assert {name for name, _ in SAMPLES} == STORED | BY_SCHEMA.keys() | OTHER.keys()
    assert PAGE.count("```json") == len(SAMPLES)


@pytest.mark.parametrize(("name", "text"), [each for each in SAMPLES if each[0] in STORED])
def test_declared_objects_are_shown_as_they_are_stored(name: str, text: str) -> None:
    value = codec.decode(text.encode(), getattr(manifests, name))
    assert codec.encode(value).decode() == text.strip()


@pytest.mark.parametrize(("name", "text"), [each for each in SAMPLES if each[0] in BY_SCHEMA])
def test_records_are_what_their_schemas_say(name: str, text: str) -> None:
    schema = json.loads((ROOT / f"schemas/{name}.json").read_text())
    jsonschema.validate(json.loads(text), {**schema, "additionalProperties": False})
    value = codec.decode(text.encode(), BY_SCHEMA[name])
    assert json.loads(codec.encode(value)) == json.loads(text)


@pytest.mark.parametrize("name", OTHER)
def test_other_records_are_shown_whole(name: str) -> None:
    text = dict(SAMPLES)[name]
    assert json.loads(codec.encode(codec.decode(text.encode(), OTHER[name]))) == json.loads(text)


def test_the_example_of_a_digest_is_right_in_our_words_and_in_those_of_the_page() -> None:
    import hashlib

    text = dict(SAMPLES)["TaskDefinition"].strip()
    definition = codec.decode(text.encode(), manifests.TaskDefinition)

    def said(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: each for name, each in ((name, said(each)) for name, each in value.items()) if each}
        return [said(each) for each in value] if isinstance(value, list) else value

    content = {**json.loads(text), "managed_by": None}
    by_the_page = json.dumps(said(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    digest = hashlib.sha256(by_the_page).hexdigest()[:32]
    assert digest == codec.digest(definition)
    assert f"Its digest is `{digest}`." in PAGE
    assert json.loads(dict(SAMPLES)["task"])["digest"] == digest


def test_the_page_lists_every_rule_and_names_parts_that_there_are() -> None:
    table = PAGE.partition("| rule | a scheduler |")[2]
    assert re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", table, re.MULTILINE) == list(RULES.items())
    assert set(re.findall(r"--only (\w+)", PAGE)) <= PARTS.keys()


def test_every_key_that_the_page_names_is_one_of_ours() -> None:
    prefixes = [value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)]
    named = re.findall(r"`((?:config|state|schedulers|sync)/[^`]*)`", PAGE)
    assert len(named) > 20
    assert [each for each in named if not each.startswith(tuple(prefixes))] == []
