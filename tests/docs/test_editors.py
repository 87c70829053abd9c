"""What the pages say of editors holds: the schemas that are named there are there, fit the files, and take them.

Editors resolve a schema's references by its own place, so that is done here as well.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from reconciler.cli.main import reconciler
from tests.docs.pages import PAGES, ROOT

LINE = re.compile(r"^ *# yaml-language-server: \$schema=(\S+)$", re.MULTILINE)
FILES = sorted((ROOT / "examples").rglob("*.y*ml"))
EXAMPLES = [path for path in FILES if LINE.match(path.read_text(encoding="utf-8"))]
FILLED_IN = re.compile(r"'\$\{\w+\}' is not of type '(integer|number|boolean)'")
"""What the page says that editors can't know: a parameter in the place of a number."""
MAPPING = re.compile(r"```json\n(\{\"yaml\.schemas\".*?)```", re.DOTALL)


def problems(schema: Path, file: Path) -> list[str]:
    """What an editor would underline, but for parameters in the place of numbers."""

    def retrieve(uri: str) -> Resource[Any]:
        return Resource.from_contents(json.loads(Path(uri.removeprefix("file://")).read_text(encoding="utf-8")))

    content = json.loads(schema.read_text(encoding="utf-8"))
    registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]
    validator = Draft202012Validator({**content, "$id": f"file://{schema}"}, registry=registry)
    documents = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    found = [error.message for each in documents for error in validator.iter_errors(each)]
    return [message for message in found if not FILLED_IN.fullmatch(message)]


def is_matched(globs: list[str] | str, name: str) -> bool:
    """Whether an editor takes a file for one of these; the last glob that matches it decides."""
    matched = False
    for glob in [globs] if isinstance(globs, str) else globs:
        parts = re.split(r"(\*\*/|\*\*|\*)", glob.removeprefix("!"))
        pattern = "".join({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
        if re.fullmatch(pattern, name):
            matched = not glob.startswith("!")
    return matched


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_schema_in_an_examples_first_line_takes_it(path: Path) -> None:
    (named,) = LINE.findall(path.read_text(encoding="utf-8"))
    assert problems((path.parent / named).resolve(), path) == []


def test_an_editor_shows_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "web.yml"
    wrong.write_text("services: [{name: web, task_name: web, task_version: 1, desired: many}]\n")
    assert problems(ROOT / "schemas/manifest.json", wrong)


def named_in_pages() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for named in LINE.findall(page.read_text(encoding="utf-8")):
            yield page, named


def test_the_schemas_that_pages_name_are_there() -> None:
    found = list(named_in_pages())
    assert found
    for page, named in found:
        assert (ROOT / "schemas" / named.rpartition("/schemas/")[2]).is_file(), f"{page}: {named}"


def test_the_mapping_for_a_whole_repository_fits_what_init_makes(tmp_path: Path) -> None:
    done = CliRunner().invoke(reconciler, ["init", str(tmp_path), "--environments"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    page = (ROOT / "docs/validate-in-ci.md").read_text(encoding="utf-8")
    (mapping,) = MAPPING.findall(page)
    matched: dict[str, list[str]] = {}
    for schema, globs in json.loads(mapping)["yaml.schemas"].items():
        for path in sorted((tmp_path / "manifests").rglob("*.y*ml")):
            name = str(path.relative_to(tmp_path))
            if is_matched(globs, name):
                matched.setdefault(name, []).append(schema)
                assert problems(ROOT / schema, path) == []
    names = {str(path.relative_to(tmp_path)) for path in (tmp_path / "manifests").rglob("*.y*ml")}
    assert any("/overlays/" in name for name in names)
    assert matched == {
        name: ["./schemas/settings.json" if name.endswith("/reconciler.yaml") else "./schemas/manifest.json"]
        for name in names
        if "/overlays/" not in name
    }
