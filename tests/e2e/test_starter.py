"""``init`` gives a repository that passes its own CI and runs; ``bump`` and an edit roll it over."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.git import GitRepository
from tests.support.program import ROOT, Program
from tests.support.wait import wait_until
from tests.support.workflow import filled, load_yaml, run_step, runner_environment


@pytest.fixture
def starter(program: Program) -> Path:
    program.ok("init", "fleet")
    return program.folder / "fleet"


def ci_steps(starter: Path) -> list[dict[str, str]]:
    """The steps of GitHub's workflow that run something."""
    workflow = load_yaml(starter / ".github/workflows/validate.yml")
    (job,) = workflow["jobs"].values()
    return [step for step in job["steps"] if "run" in step]


@pytest.mark.parametrize(
    ("options", "summary"),
    [
        ([], "valid: 2 files, 3 objects, no errors, no warnings\n"),
        (["--environments"], "valid: 4 files, 6 objects in 2 environments, no errors, no warnings\n"),
    ],
    ids=["plain", "environments"],
)
def test_the_starter_passes_its_own_ci_and_fails_it_when_it_is_broken(
    program: Program, tmp_path: Path, options: list[str], summary: str
) -> None:
    repository = GitRepository(program.folder / "fleet")
    program.ok("init", "fleet", *options)
    starter = repository.path
    environ = runner_environment(tmp_path) | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    install, check = ci_steps(starter)
    assert install["run"] == 'python -m pip install --quiet "$RECONCILER"'
    before = repository.commit()
    repository.git("update-ref", "refs/remotes/origin/main", before)  # as a checkout of the whole history has it
    gitlab = load_yaml(starter / ".gitlab-ci.yml")["validate"]

    def github(base: str) -> tuple[int, str]:
        done = run_step(check, {"github.base_ref": base}, environ, starter)
        return done.returncode, done.stdout + done.stderr

    def on_gitlab(**more: str) -> tuple[int, str]:
        command = ["bash", "-euo", "pipefail", "-c", "\n".join(gitlab["script"])]
        done = subprocess.run(command, env=environ | more, cwd=starter, capture_output=True, text=True)
        assert (starter / "junit.xml").read_text().startswith("<?xml")
        return done.returncode, done.stdout

    assert github("main") == (0, summary)
    assert on_gitlab(CI_MERGE_REQUEST_DIFF_BASE_SHA=before) == (0, "")
    path = starter / "manifests" / "hello.yml"
    text = path.read_text()
    path.write_text(text.replace("interval: 5s", "interval: 6s"))  # without a new version
    assert github("") == (0, summary), "a push to main has nothing to compare with"
    assert github("main")[0] == 1
    assert "title=RC065 version-changed::" in github("main")[1]
    code, shown = on_gitlab(CI_MERGE_REQUEST_DIFF_BASE_SHA=before)
    assert code == 1
    assert "error RC065" in shown
    hook = yaml.safe_load((starter / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"][0]
    assert subprocess.run(hook["entry"].split(), env=environ, cwd=starter).returncode == 0
    for each in starter.rglob("manifests/**/hello.yml"):
        each.write_text("".join(line for line in each.read_text().splitlines(True) if "memory:" not in line))
    code, shown = github("")
    assert code == 1
    assert "title=memory-is-set::" in shown
    assert on_gitlab()[0] == 1
    assert subprocess.run(hook["entry"].split(), env=environ, cwd=starter).returncode == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_its_workflow_installs_the_program_and_passes(program: Program, tmp_path: Path) -> None:
    program.ok("init", "fleet", "--requirement", f"reconciler @ file://{ROOT}")
    starter = program.folder / "fleet"
    workflow = load_yaml(starter / ".github/workflows/validate.yml")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "python")], check=True)  # as setup-python does
    environ = runner_environment(tmp_path) | {name: filled(value, {}) for name, value in workflow["env"].items()}
    environ |= {"PATH": f"{tmp_path}/python/bin:{os.environ['PATH']}", "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    for step in ci_steps(starter):
        done = run_step(step, {"github.base_ref": ""}, environ, starter)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "valid: 2 files, 3 objects, no errors, no warnings\n"


def test_nothing_of_the_users_is_overwritten(program: Program, starter: Path) -> None:
    written = {path.relative_to(starter).as_posix() for path in starter.rglob("*") if path.is_file()}
    assert "manifests/hello.yml" in written
    (starter / "README.md").write_text("mine\n")
    (starter / "manifests" / "cluster.yml").unlink()
    again = program.run("init", "fleet")
    assert again.returncode == 2
    assert "README.md" in again.stderr
    assert (starter / "README.md").read_text() == "mine\n"
    assert not (starter / "manifests" / "cluster.yml").exists()
    written_text = "".join(path.read_text() for path in starter.rglob("*") if path.is_file())
    assert not re.search(r"(?<!\$)\{\{", written_text), "a word that was not replaced"


def test_the_starter_runs_and_a_bump_rolls_it_over(program: Program, starter: Path) -> None:
    program.start("dev", "fleet/manifests", "--http", "127.0.0.1:0", "--executor", "bash")
    wait_until(lambda: list(program.folder.rglob("dev.db")), what="the store of dev")
    (database,) = program.folder.rglob("dev.db")
    program.use(f"sqlite://{database}")
    program.healthy("hello", 2, version=1)

    text = (starter / "manifests" / "hello.yml").read_text()
    dry = json.loads(program.ok("bump", "hello", "fleet", "--dry-run", "--format", "json"))
    assert (dry["before"], dry["after"], dry["written"], len(dry["edits"])) == (1, 2, False, 2)
    assert (starter / "manifests" / "hello.yml").read_text() == text
    shown = program.ok("bump", "hello", "fleet")
    assert shown == (
        "fleet/manifests/hello.yml:9: task definition 'hello': 1 → 2\n"
        "fleet/manifests/hello.yml:4: service 'hello': 1 → 2\n"
    )
    program.healthy("hello", 2, version=2)


def test_a_file_keeps_its_rights_and_a_link_stays_one(program: Program, starter: Path) -> None:
    path = starter / "manifests" / "hello.yml"
    path.chmod(0o640)
    kept = starter / "manifests" / "real.txt"
    path.rename(kept)
    path.symlink_to("real.txt")
    program.ok("bump", "hello", str(starter / "manifests"))
    assert path.is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o640
    assert "task_version: 2" in kept.read_text()
    assert [each.name for each in kept.parent.iterdir() if each.name.startswith(".")] == []
    assert program.run("bump", "nothing", "fleet").returncode == 2
