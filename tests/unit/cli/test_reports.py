"""Each form of the answer is what its readers expect, holds file, line, column and code, and survives hostile texts."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cli.reports import FORMATS, report
from reconciler.manifests.checks import Policy
from reconciler.manifests.problem import Ignored, Problem
from reconciler.manifests.rules import RULES, Severity
from reconciler.manifests.verdict import Verdict

ROOT = Path(__file__).parents[3]
SARIF = jsonschema.Draft7Validator(json.loads((ROOT / "tests/official_schemas/sarif-2.1.0.json").read_text("utf-8")))

POLICY = Policy(
    code="our-images",
    kind="task_definitions",
    severity=Severity.WARNING,
    title="Not ours",
    hint="use ours",
    schema="{}",
)
MANIFESTS = """\
clusters:
  - name: default
    services: [web]  # reconciler: ignore=RC010 declared in another repository
  - name: other
    scheduler: [100%]
# nothing runs it
services:
  - {name: alone, task_name: x, task_version: 1, desired: 1}
"""


def made(output_format: str, verdict: Verdict) -> str:
    return report(output_format)(verdict, [POLICY])


def validate(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "reconciler", "validate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "x,y.yml").write_text(MANIFESTS)
    (tmp_path / "good.yml").write_text("hosts: [{name: web-1}]\n")
    return tmp_path


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_form_says_file_line_column_and_code(folder: Path, output_format: str) -> None:
    """kubeconform, kube-linter, Compose: no line numbers."""
    done = validate(folder, ".", "--format", output_format)
    assert done.returncode == 1, done.stderr
    for code, line, column in (("RC020", 5, 16), ("RC012", 8, 30), ("RC011", 8, 5)):
        assert places(output_format, done.stdout).count(("a b/x,y.yml", line, column, code)) == 1, done.stdout


def places(output_format: str, text: str) -> list[tuple[str, int, int, str]]:
    """What a program that reads the form finds."""
    match output_format:
        case "json":
            return [(each["file"], each["line"], each["column"], each["code"]) for each in json.loads(text)["problems"]]
        case "github":
            found = re.findall(r"^::(?:error|warning) file=(.*?),line=(\d+),col=(\d+),title=(\w+)", text, re.MULTILINE)
            return [(each[0].replace("%2C", ","), int(each[1]), int(each[2]), each[3]) for each in found]
        case "sarif":
            return [sarif_place(each) for each in json.loads(text)["runs"][0]["results"] if not each["suppressions"]]
        case "junit":
            text = "\n".join(ET.fromstring(text).itertext())
    found = re.findall(r"^(.*?):(\d+):(\d+): (?:error|warning) (\w+) ", text, re.MULTILINE)
    return [(each[0], int(each[1]), int(each[2]), each[3]) for each in found]


def sarif_place(result: dict[str, Any]) -> tuple[str, int, int, str]:
    place = result["locations"][0]["physicalLocation"]
    file = place["artifactLocation"]["uri"].replace("%20", " ").replace("%2C", ",")
    return file, place["region"]["startLine"], place["region"]["startColumn"], result["ruleId"]


def test_sarif_is_what_its_official_schema_says(folder: Path) -> None:
    answer = json.loads(validate(folder, ".", "--format", "sarif").stdout)
    assert [error.message for error in SARIF.iter_errors(answer)] == []
    run = answer["runs"][0]
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == RULES.keys()
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    (ignored,) = [result for result in run["results"] if result["suppressions"]]
    assert ignored["suppressions"] == [{"kind": "inSource", "justification": "declared in another repository"}]
    assert sarif_place(ignored) == ("a b/x,y.yml", 3, 16, "RC010")


def test_the_official_schema_refuses_what_is_no_sarif() -> None:
    assert list(SARIF.iter_errors({"version": "2.1.0", "runs": [{"tool": {"driver": {}}}]}))


def test_sarif_keeps_a_problems_identity_when_lines_move(folder: Path) -> None:
    def identities() -> list[str]:
        answer = json.loads(validate(folder, ".", "--format", "sarif").stdout)
        return [result["partialFingerprints"]["problem/v1"] for result in answer["runs"][0]["results"]]

    before = identities()
    path = folder / "a b" / "x,y.yml"
    path.write_text("# one line more\n" + path.read_text())
    assert identities() == before
    assert len(set(before)) == len(before)


def test_files_outside_of_the_folder_keep_their_whole_path(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    file = folder / "a b" / "x,y.yml"
    done = validate(folder / "elsewhere", str(file), "--format", "sarif")
    location = json.loads(done.stdout)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": f"file://{folder}/a%20b/x%2Cy.yml"}
    done = validate(folder, str(file), "--format", "github")
    assert "file=a b/x%2Cy.yml," in done.stdout


def test_junit_has_a_case_for_each_file_and_fails_those_with_errors(folder: Path) -> None:
    (folder / "warned.yml").write_text("# nothing\n")
    suites = ET.fromstring(validate(folder, ".", "--format", "junit").stdout)
    assert (suites.tag, suites.get("tests"), suites.get("failures")) == ("testsuites", "3", "1")
    cases = {case.get("name"): case for case in suites.iter("testcase")}
    assert cases.keys() == {"a b/x,y.yml", "good.yml", "warned.yml"}
    assert [child.tag for child in cases["good.yml"]] == []
    assert [child.tag for child in cases["warned.yml"]] == ["system-out"]
    failure, output = cases["a b/x,y.yml"]
    assert (failure.tag, failure.get("type"), cases["a b/x,y.yml"].get("line")) == ("failure", "RC020", "5")
    assert output.tag == "system-out"
    strict = ET.fromstring(validate(folder, ".", "--format", "junit", "--strict").stdout)
    assert strict.get("failures") == "2"


def test_strict_makes_warnings_count_and_says_so_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("# nothing\n")
    assert validate(tmp_path, ".").returncode == 0
    for output_format in FORMATS:
        assert validate(tmp_path, ".", "--strict", "--format", output_format).returncode == 1
    assert json.loads(validate(tmp_path, ".", "--strict", "--format", "json").stdout)["valid"] is False
    sarif = json.loads(validate(tmp_path, ".", "--strict", "--format", "sarif").stdout)
    assert sarif["runs"][0]["invocations"][0]["exitCode"] == 1


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | st.sampled_from(
    ["%", "a\r\nb", "::error::x", "]]>", "<a>&'\"", ",:=", "\0\x1b", "x" * 2000]
)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    def problem() -> Problem:
        rule = draw(st.sampled_from([*RULES.values(), POLICY]))
        return Problem(
            code=rule.code,
            severity=rule.severity,
            file=draw(HOSTILE),
            line=draw(st.integers(1, 10**6)),
            column=draw(st.integers(1, 10**6)),
            message=draw(HOSTILE),
            hint=draw(HOSTILE | st.just("")),
        )

    return Verdict(
        names=tuple(draw(st.lists(HOSTILE, max_size=3, unique=True))),
        objects=draw(st.integers(0, 10)),
        problems=tuple({problem(): None for _ in range(draw(st.integers(0, 4)))}),
        ignored=tuple(Ignored(problem(), draw(HOSTILE)) for _ in range(draw(st.integers(0, 2)))),
        strict=draw(st.booleans()),
    )


@given(verdict=verdicts())
@settings(max_examples=150, deadline=None, database=None)
def test_no_text_breaks_a_form(verdict: Verdict) -> None:
    answer = json.loads(made("json", verdict))
    assert [each["message"] for each in answer["problems"]] == [each.message for each in verdict.problems]
    sarif = json.loads(made("sarif", verdict))
    assert [error.message for error in SARIF.iter_errors(sarif)] == []
    assert len(sarif["runs"][0]["results"]) == len({*verdict.problems, *(each.problem for each in verdict.ignored)})
    suites = ET.fromstring(made("junit", verdict))
    assert len(list(suites.iter("testcase"))) == len({*verdict.names, *(each.file for each in verdict.problems)})
    lines = made("github", verdict).split("\n")
    assert len(lines) == len(verdict.problems) + 1
    for line, problem in zip(lines, verdict.problems, strict=False):
        assert "\r" not in line
        found = re.fullmatch(
            r"::(error|warning) file=([^,:]*),line=(\d+),col=(\d+),title=([^,:]*)::(.*)", line, re.DOTALL
        )
        assert found is not None
        assert decoded(found[6]) == problem.message + (f"; {problem.hint}" if problem.hint else "")


def decoded(text: str) -> str:
    """As GitHub's runner does."""
    for escape, character in (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(escape, character)
    return text
