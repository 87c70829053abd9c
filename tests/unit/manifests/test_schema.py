"""What is wrong with fields is said in people's words, at the value or key that is to blame, and once."""

import json
from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.manifests import rules, schema_files, validator
from reconciler.manifests.field_names import closest
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem
from reconciler.manifests.schema import check
from reconciler.manifests.schema_files import schema_folder, schemas
from reconciler.manifests.schema_words import Fault, explain
from reconciler.manifests.yaml_reader import read
from reconciler.model.manifests import Cluster


def document(text: str) -> Node:
    result = read(text.encode())
    assert result.problems == ()
    (root,) = result.documents
    return root


def problems(text: str) -> list[Problem]:
    return list(check(document(text)).problems)


def definition(fields: str = "", executor: str = "{image: nginx}", kind: str = "docker") -> str:
    """A task definition in flow style: where things stand is easy to count."""
    return (
        "task_definitions:\n"
        f"  - {{name: web, version: 1, containers: [{{name: c, type: {kind}, executor: {executor}}}]{fields}}}\n"
    )


def test_objects_are_made_of_what_is_right() -> None:
    checked = check(document("clusters:\n  - name: a\n    services: [x]\n  - name: b\n    scheduler: 5\n"))
    assert [entry.object for entry in checked.entries] == [Cluster(name="a", services=("x",)), None]
    assert [entry.name for entry in checked.entries] == ["a", "b"]
    assert [(problem.code, problem.line, problem.column) for problem in checked.problems] == [("RC034", 5, 16)]


def test_the_example_of_each_schema_is_a_right_manifest() -> None:
    for name in ("cluster", "service", "task_definition", "host"):
        for example in schemas()[f"{name}.json"]["examples"]:
            assert problems(json.dumps({f"{name}s": [example]})) == []


def test_all_of_the_specifications_objects_are_right() -> None:
    text = """
clusters:
  - {"name": "default", "scheduler": "default", "services": ["helloworld"]}
services:
  - {"name": "helloworld", "task_name": "helloworld", "task_version": 2, "desired": 4, "min": 3, "max": 4}
task_definitions:
  - name: helloworld
    version: 2
    provide_port: true
    port: 0
    tags: ["urlprefix-/helloworld"]
    memory: 0
    cpu_units: 0
    containers:
      - name: helloworld
        type: docker
        setup: ["echo setup"]
        executor: {"container_port": 80, "image": "tutum/hello-world", "name": "helloworld"}
      - name: ubuntu
        type: docker
        executor: {
          "image": "ubuntu", "cmd": ["consul-scheduler"], "entry": "", "container_port": 3000, "ports": ["5000:5000"],
          "env": [], "work_dir": "/", "volumes": [], "flags": ["--net=host"]
        }
      - name: plain
        type: bash
        executor: {
          "start": ["echo start"], "stop": ["echo stop"], "env": ["TEST=true"], "artifact": "http://download.com",
          "download_dir": "/usr/local/bin"
        }
    checks:
      - {
          "name": null, "http": "http://127.0.0.1", "tcp": null, "script": null, "add_provided_port": true,
          "interval": "10s", "timeout": null, "ttl": null
        }
"""
    assert problems(text) == []


@pytest.mark.parametrize(
    "field", ["name", "http", "tcp", "script", "ttl", "container", "interval", "timeout", "method"]
)
def test_null_in_a_check_is_the_same_as_nothing(field: str) -> None:
    kind = "tcp: '127.0.0.1:80'" if field != "tcp" else "http: 'http://127.0.0.1'"
    assert problems(definition(f", checks: [{{{kind}, {field}: null}}]")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("services: {web: 1}", "services must be a list, found a mapping; begin each item of the list with '- '"),
        ("clusters: [web]", "cluster must be a mapping of fields, found text 'web'; write name: web"),
        ("clusters: [null]", "cluster must be a mapping of fields, found nothing (null); write a mapping of fields"),
        ("clusters: [{name: web, services: db}]", "services must be a list, found text 'db'; write a list: [db]"),
        ("hosts: [{name: h, draining: 1}]", "draining must be true or false, found the number 1; write true or false"),
        ("hosts: [{name: h, draining: '1'}]", "draining must be true or false, found text '1'; write true or false"),
        ("hosts: [{name: h, reserved_memory: 4g}]", "found text '4g'; write the number of MiB, such as 512"),
        ("hosts: [{name: h, reserved_memory: '4'}]", "found text '4'; write it without quotes: 4"),
        ("hosts: [{name: h, reserved_memory: 2024-01-01}]", "reserved_memory must be a whole number, found a date"),
        ("hosts: [{name: h, reserved_memory: 099}]", "is 099, which some readers take for an octal number and"),
        ("hosts: [{name: h, reserved_memory: 0o17}]", "is 0o17, which some readers take for an octal number and"),
        ("hosts: [{name: h, reserved_memory: -012}]", "write -10 or -12"),
        ("hosts: [{name: h, reserved_memory: 007}]", "write 7"),
        ("hosts: [{name: h, port_range: 5}]", "must be a list or null, found the number 5; write a list: [5]"),
        ("hosts: [{name: h, port_range: [1]}]", "host 'h': port_range must have 2 entries, found 1; write 2 entries"),
        ("hosts: [{name: h, port_range: [0, 7]}]", "port_range[0] is 0, but must be from 1 to 65535"),
        ("hosts: [{name: h, tags: {'': x}}]", "a name in host 'h': tags is empty; write a name"),
        ("hosts: [{name: h, tags: {a: 5}}]", "tags.a must be text, but without quotes 5 is read as the number 5"),
        ("hosts: [{name: " + "x" * 100 + "}]", "name is '" + "x" * 60 + "…'"),
        (definition(executor="{image: nginx, cmd: nginx -g x}"), "write a list: [nginx, -g, x]"),
        (definition(executor="{image: nginx, env: [{A: b}]}"), 'found a mapping; write "NAME=value"'),
        (definition(executor="{image: nginx, env: {A: b}}"), 'found a mapping; write a list of "NAME='),
        (definition(executor="{image: nginx, cmd: [{echo: b}]}"), "put a text that holds ': ' in quotes"),
        (definition(executor="{image: nginx, flags: ['']}"), "flags[0] is empty; write a text, or remove it"),
        (definition(executor="{start: []}", kind="bash"), "executor.start is empty; add at least one"),
        (definition(kind="dokcer"), "containers[0].type is 'dokcer', but must be docker or bash; did you mean docker?"),
        (definition(kind="lxc"), "type is 'lxc', but must be docker or bash; write docker or bash"),
        (definition(", checks: [{http: 'http://x', interval: " + "1h" * 20 + "}]"), "may have at most 32"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_explained(text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert expected in str(problem)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("service: []", "did you mean services?"),
        ("Services: []", "did you mean services?"),
        ("task-definitions: []", "did you mean task_definitions?"),
        ("jobs: []", "the fields here are clusters, services, task_definitions, hosts"),
        ("services: [{name: w, task_name: w, task_version: 1, replicas: 3}]", "did you mean desired?"),
        ("services: [{name: w, task_name: w, version: 1, desired: 3}]", "did you mean task_version?"),
        (
            "services: [{name: w, task_name: w, task_version: 1, desired: 3, memory: 5}]",
            "memory is a field of a task def",
        ),
        (definition(executor="{image: nginx, entrypoint: x}"), "did you mean entry?"),
        (definition(executor="{image: nginx, start: [x]}"), "start is a field of the executor of a bash container"),
        (
            definition(executor="{start: [x], image: nginx}", kind="bash"),
            "image is a field of the executor of a docker",
        ),
        (definition(", healthcheck: []"), "did you mean checks?"),
        (definition(", cpu: 5"), "did you mean cpu_units?"),
        (definition(", env: []"), "env is a field of the executor of a docker container or the executor of a bash con"),
        (definition(", managed: 5"), "the fields here are name, version,"),
    ],
)
def test_an_unknown_field_is_explained_once(text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert problem.code == "RC021"
    assert expected in problem.hint


def test_a_misspelt_kind_of_check_is_not_also_a_check_without_a_kind() -> None:
    assert [problem.code for problem in problems(definition(", checks: [{scirpt: x}]"))] == ["RC021"]
    assert [problem.code for problem in problems(definition(", checks: [{http: 5}]"))] == ["RC034"]
    assert [problem.code for problem in problems(definition(", checks: [5]"))] == ["RC020"]
    assert [problem.code for problem in problems(definition(", checks: [{colour: red}]"))] == ["RC021", "RC029"]


def test_a_problem_that_two_aliases_share_names_both_objects() -> None:
    text = "hosts:\n  - name: a\n    tags: &t {x: 5}\n  - name: b\n    tags: *t\n"
    found = problems(text)
    assert [(problem.code, problem.line) for problem in found] == [("RC034", 3), ("RC034", 3)]
    assert "host 'a'" in found[0].message
    assert "host 'b'" in found[1].message


def test_every_problem_of_a_document_is_found() -> None:
    text = "services:\n" + "".join(f"  - name: s{n}\n    desired: x\n" for n in range(20))
    found = problems(text)
    assert sorted(problem.code for problem in found) == ["RC020"] * 20 + ["RC022"] * 40


def test_what_the_model_alone_refuses_is_a_problem_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validator, "faults", lambda *_: [])
    (problem,) = problems("clusters:\n  - name: a b\n")
    assert (problem.code, problem.line) == (rules.REFUSED_BY_MODEL.code, 2)


def test_a_keyword_without_words_is_a_problem_and_no_crash() -> None:
    fault = Fault(path=("clusters",), keyword="uniqueItems", limit=True, instance=[], schema={})
    (problem,) = explain([fault], document("clusters: []\n"), schemas())
    assert (problem.code, problem.line, problem.column) == (rules.REFUSED_BY_MODEL.code, 1, 11)


@pytest.mark.parametrize(
    ("word", "choice"),
    [("wbe", "web"), ("WEB", "web"), ("we-b", "web"), ("database", None), ("", None), ("web1", "web")],
)
def test_a_guess_is_made_only_when_it_is_near(word: str, choice: str | None) -> None:
    assert closest(word, ["web", "worker"]) == choice


def test_an_installation_without_schemas_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_files, "__file__", str(tmp_path / "site" / "reconciler" / "manifests" / "schema.py"))
    with pytest.raises(UsageError, match="Schemas are missing"):
        schema_folder()


def test_the_schemas_in_the_installed_package_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tmp_path / "reconciler" / "_schemas", tmp_path / "schemas"):
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
    monkeypatch.setattr(schema_files, "__file__", str(tmp_path / "reconciler" / "manifests" / "schema.py"))
    assert schema_folder() == tmp_path / "reconciler" / "_schemas"
    (tmp_path / "reconciler" / "_schemas" / "manifest.json").unlink()
    assert schema_folder() == tmp_path / "schemas"
