"""Canonical JSON: the same value is the same bytes."""

import hashlib
import json

import msgspec
import pytest

from reconciler.model import codec
from reconciler.model.manifests import (
    BashContainer,
    BashExecutor,
    Check,
    DockerContainer,
    DockerExecutor,
    Service,
    TaskDefinition,
)
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


def test_a_field_that_is_added_one_day_changes_no_digest() -> None:
    """An upgrade restarts nothing, as long as the defaults of a definition's fields say nothing."""
    structs: list[type[msgspec.Struct]] = [TaskDefinition, BashContainer, DockerContainer, BashExecutor, DockerExecutor]
    for struct in [*structs, Check]:
        for field in msgspec.structs.fields(struct):
            assert field.default is msgspec.NODEFAULT or not field.default, f"{struct.__name__}.{field.name}"
    said = (
        b'{"checks":[{"http":"http://127.0.0.1/","interval":"1s"}],"containers":[{"executor":'
        b'{"start":["exec sleep 60"]},"name":"web","type":"bash"}],"name":"web","version":1}'
    )
    assert codec.digest(DEFINITION) == hashlib.sha256(said).hexdigest()[:32]


def test_what_is_in_a_list_counts_even_when_it_is_empty() -> None:
    def with_cmd(*cmd: str) -> TaskDefinition:
        container = DockerContainer(name="web", executor=DockerExecutor(image="web:1", cmd=cmd))
        return msgspec.structs.replace(DEFINITION, containers=(container,))

    assert len({codec.digest(with_cmd(*cmd)) for cmd in ((), ("",), ("", ""))}) == 3


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
