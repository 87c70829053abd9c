"""Each file here is wrong in one way. Its name says which rule it breaks and in which line; nothing else may be found.

``rc021-line-7-unknown-field-task_verison.yml``: the rule RC021, in line 7, and in words what is wrong.
"""

import re
from pathlib import Path

import pytest

from reconciler.cli.checks import checks
from reconciler.manifests.load import ParseCache, load
from reconciler.manifests.rules import RULES

FOLDER = Path(__file__).parent
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".yml", ".yaml", ".json"})
NAME = re.compile(r"(rc[0-9]{3})-line-([0-9]+)-[a-zA-Z0-9_-]+\.(yml|json)")

GENERATED = {
    "RC039": "a fallback that no manifest can reach: test_schema.py",
    "RC050": "too large to be kept here: test_yaml_reader.py",
}
"""Rules that no file here breaks, and where they are tested."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_broken_manifest_gives_exactly_the_problem_and_line_in_its_name(path: Path) -> None:
    named = NAME.fullmatch(path.name)
    assert named is not None, "name the file after its rule and line"
    rule = RULES[named[1].upper()]

    loaded = load([(path.name, path.read_bytes())], cache=ParseCache(checks([])))

    assert [(found.code, found.line, found.severity) for found in loaded.problems] == [
        (rule.code, int(named[2]), rule.severity)
    ], [str(found) for found in loaded.problems]
    (found,) = loaded.problems
    assert found.file == path.name
    assert found.message
    assert found.hint
    line = (path.read_bytes().decode("utf-8", "replace").splitlines() or [""])[found.line - 1]
    assert 1 <= found.column <= len(line) + 1


def test_every_rule_is_broken_by_some_file() -> None:
    broken = {path.name[:5].upper() for path in FILES}
    beside_something_else = {"RC065", "RC066", "RC067"}  # an earlier revision, a fleet, a host: test_validate_gates.py
    of_environments = {rule.code for rule in RULES.values() if "RC080" <= rule.code <= "RC085"}
    beside_something_else |= of_environments  # several files each: tests/unit/manifests/test_environments.py
    assert broken | GENERATED.keys() | beside_something_else == RULES.keys()
