"""The Action in ``.github/actions/validate``: its steps are run as its YAML says, on repositories with problems."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.git import GitRepository
from tests.support.program import ROOT
from tests.support.workflow import load_yaml, run_step, runner_environment

ACTION = ROOT / ".github" / "actions" / "validate" / "action.yml"
BAD = "hosts:\n  - name: web-1\n    drainning: true\n"
WARNED = "# nothing yet\n"


def action() -> dict[str, Any]:
    return load_yaml(ACTION)


def values(**inputs: str) -> dict[str, str]:
    """The inputs and what is known of the run."""
    given = {name: about["default"] for name, about in action()["inputs"].items()}
    assert not inputs.keys() - {name.replace("-", "_") for name in given}
    given |= {name.replace("_", "-"): value for name, value in inputs.items()}
    return {f"inputs.{name}": value for name, value in given.items()} | {"github.action_path": str(ACTION.parent)}


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    """The runner's folder, where the program seems to be installed already."""
    temporary = tmp_path / "runner temp"
    temporary.mkdir()
    (temporary / "reconciler").symlink_to(sys.prefix)
    return temporary


def validate(folder: Path, runner: Path, **inputs: str) -> tuple[int, str]:
    """The last step."""
    step = action()["runs"]["steps"][-1]
    assert step["name"] == "Validate"
    done = run_step(step, values(**inputs), runner_environment(runner), folder)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_it_is_a_composite_action_of_steps_that_are_tested_here() -> None:
    runs = action()["runs"]
    assert runs["using"] == "composite"
    assert [step.get("name", step.get("uses", "").split("@")[0]) for step in runs["steps"]] == [
        "actions/setup-python",
        "Install reconciler",
        "Validate",
    ]
    assert all(about["description"] and "default" in about for about in action()["inputs"].values())


def test_problems_are_annotations_and_fail_the_job(tmp_path: Path, runner: Path) -> None:
    folder = tmp_path / "a repository"
    (folder / "sub folder").mkdir(parents=True)
    (folder / "sub folder" / "web.yml").write_text(BAD)
    code, output = validate(folder, runner)
    assert code == 1
    assert output.startswith("::error file=sub folder/web.yml,line=3,col=5,title=RC021 unknown-field::")
    (folder / "sub folder" / "web.yml").write_text(BAD.replace("nn", "n"))
    assert validate(folder, runner) == (0, "valid: 1 file, 1 object, no errors, no warnings\n")


def test_what_could_not_be_checked_fails_the_job(tmp_path: Path, runner: Path) -> None:
    assert validate(tmp_path, runner, paths="nowhere")[0] == 2


def test_several_paths_and_policies_may_be_given_with_any_name(tmp_path: Path, runner: Path) -> None:
    for name in ("a b.yml", "$(touch pwned).yml"):
        (tmp_path / name).write_text(WARNED)
    (tmp_path / "our rules").mkdir()
    (tmp_path / "our rules" / "short-names.json").write_text(
        json.dumps({"title": "long", "x-applies-to": "host", "properties": {"name": {"maxLength": 3}}})
    )
    (tmp_path / "c.yml").write_text("hosts: [{name: long-one}]\n")
    code, output = validate(tmp_path, runner, paths="a b.yml\n$(touch pwned).yml\n\nc.yml\n", policy="our rules\n")
    assert (code, output.count("::warning"), output.count("title=short-names::")) == (1, 2, 1)
    assert not (tmp_path / "pwned").exists()


def test_strict_and_changed_since_are_handed_on(repository: GitRepository, runner: Path) -> None:
    repository.commit({"old.yml": WARNED})
    assert validate(repository.path, runner)[0] == 0
    assert validate(repository.path, runner, strict="true")[0] == 1
    assert validate(repository.path, runner, strict="true", changed_since="HEAD")[0] == 0


@pytest.mark.parametrize(("content", "code"), [(BAD, 1), ("hosts: []\nservices: []\nclusters: [{name: a}]\n", 0)])
def test_sarif_is_written_beside_the_annotations(tmp_path: Path, runner: Path, content: str, code: int) -> None:
    (tmp_path / "web.yml").write_text(content)
    assert validate(tmp_path, runner, sarif_file="out.sarif")[0] == code
    sarif = json.loads((tmp_path / "out.sarif").read_text())
    assert len(sarif["runs"][0]["results"]) == code
    (tmp_path / "out.sarif").unlink()
    assert validate(tmp_path, runner, paths="nowhere", sarif_file="out.sarif")[0] == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_installs_the_program_of_its_own_revision(tmp_path: Path) -> None:
    environ = runner_environment(tmp_path) | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    (tmp_path / "web.yml").write_text(BAD)
    for step in action()["runs"]["steps"][1:]:
        done = run_step(step, values(), environ, tmp_path)
        if step["name"] == "Install reconciler":
            assert done.returncode == 0, done.stderr
    assert done.returncode == 1
    assert "RC021" in done.stdout
