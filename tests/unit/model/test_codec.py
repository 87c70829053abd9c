"""Canonical JSON: the same value is the same bytes."""

import json

import msgspec
import pytest

from reconciler.model import codec
from reconciler.model.manifests import BashContainer, BashExecutor, Check, Service, TaskDefinition
from reconciler.model.task import HostState

DEFINITION = TaskDefinition(
    name="web",
    version=1,
    containers=(BashContainer(name="web", executor=BashExecutor(start=("exec sleep 60",))),),
    checks=(Check(http="http://127.0.0.1/", interval="1s"),),
)


def test_defaults_are_written_out_so_that_other_programs_need_none() -> None:
    stored = json.loads(codec.encode(Service(name="web", task_name="web", task_version=1, desired=2)))
    assert stored["min"] is None
    assert "max" in stored
    assert list(stored) == sorted(stored)


def test_a_value_survives_the_store() -> None:
    assert codec.decode(codec.encode(DEFINITION), TaskDefinition) == DEFINITION


def test_the_digest_is_of_the_content_not_of_who_manages_it() -> None:
    managed = msgspec.structs.replace(DEFINITION, managed_by="repo")
    assert codec.digest(managed) == codec.digest(DEFINITION)
    assert codec.digest(msgspec.structs.replace(DEFINITION, memory=64)) != codec.digest(DEFINITION)


def test_a_foreign_value_is_an_error_that_names_its_key() -> None:
    with pytest.raises(codec.Undecodable, match="config/services/web"):
        codec.decode(b'{"name": 7}', Service, "config/services/web")


def test_an_older_program_refuses_a_definition_with_fields_it_does_not_know() -> None:
    newer = codec.encode(DEFINITION)[:-1] + b',"zz_new":true}'
    with pytest.raises(codec.Undecodable):
        codec.decode(newer, TaskDefinition)


def test_an_older_program_reads_state_that_a_newer_one_wrote() -> None:
    state = HostState(host="a", machine="m", address="127.0.0.1", memory=1, cpu_units=1)
    assert codec.decode(codec.encode(state)[:-1] + b',"zz_new":true}', HostState) == state
