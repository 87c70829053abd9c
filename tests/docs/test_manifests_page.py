"""``docs/manifests.md`` says what the schemas and rules say, field by field, and its example is valid."""

import json
import re
from typing import Any

import pytest

from reconciler.manifests.find import MAX_FILE_BYTES
from reconciler.manifests.load import load
from reconciler.manifests.object_rules import MAX_OBJECT_BYTES
from reconciler.manifests.rules import RULES
from reconciler.manifests.schema_files import schemas
from reconciler.manifests.yaml_reader import MAX_ALIAS_NODES, MAX_DEPTH
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "manifests.md").read_text(encoding="utf-8")
SECTIONS = {
    "Files": ("manifest", None),
    "Cluster": ("cluster", None),
    "Service": ("service", None),
    "Task definition": ("task_definition", None),
    "Container": ("task_definition", "container"),
    "Docker executor": ("task_definition", "docker_executor"),
    "Named port": ("task_definition", "named_port"),
    "Bash executor": ("task_definition", "bash_executor"),
    "Values of the host": ("task_definition", "env_from"),
    "Check": ("task_definition", "check"),
    "Host": ("host", None),
    "Settings": ("settings", None),
}


def section(heading: str) -> str:
    """The text under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading {heading}"
    return found[1]


def rows(heading: str) -> list[list[str]]:
    """The cells of a section's tables, without their heads."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in {"field", "code", "---"}]


def schema_of(file: str, part: str | None) -> dict[str, Any]:
    schema = schemas()[f"{file}.json"]
    return dict(schema["$defs"][part] if part else schema)


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_field_is_explained_with_its_default(heading: str) -> None:
    schema = schema_of(*SECTIONS[heading])
    expected = {
        name: "required" if name in schema.get("required", ()) else f"`{json.dumps(field['default'])}`"
        for name, field in schema["properties"].items()
        if name != "managed_by"
    }
    assert {row[0].strip("`"): row[1] for row in rows(heading)} == expected
    assert all(len(row) == 3 and row[2] for row in rows(heading))


def test_every_object_and_part_has_a_section() -> None:
    parts = {(name, None) for name in ("manifest", "cluster", "service", "task_definition", "host", "settings")}
    parts |= {("task_definition", part) for part in schemas()["task_definition.json"]["$defs"]}
    of_secrets, of_env_from = (schema_of("task_definition", name)["properties"] for name in ("secret", "env_from"))
    assert {name: one.get("default") for name, one in of_secrets.items()} == {
        name: one.get("default") for name, one in of_env_from.items()
    }, "one section is for both"
    assert set(SECTIONS.values()) == parts - {("task_definition", "secret")}


def test_every_rule_is_listed() -> None:
    expected = [[rule.code, rule.slug, str(rule.severity), rule.summary.rstrip(".")] for rule in RULES.values()]
    assert rows("Problems") == [[*row[:3], row[3].replace("(<<)", "(`<<`)")] for row in expected]


def test_the_limits_are_the_real_ones() -> None:
    limits = section("Files")
    for limit in (
        f"{MAX_FILE_BYTES // 1024**2} MiB a file",
        f"{MAX_OBJECT_BYTES // 1024} KB an object",
        f"{MAX_DEPTH} levels deep",
        f"{MAX_ALIAS_NODES:,} values",
    ):
        assert limit in limits


def test_the_example_is_valid() -> None:
    block, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    loaded = load([("docs/manifests.md", block.encode())])
    assert loaded.problems == ()
    assert len(loaded.objects) == 3
