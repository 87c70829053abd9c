"""``init`` gives a repository that passes its own CI and runs; ``bump`` and an edit roll it over."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


def test_the_starter_passes_its_own_ci_and_fails_it_when_it_is_broken(starter: Path, tmp_path: Path) -> None:
    environ = runner_environment(tmp_path) | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    install, check = ci_steps(starter)
    assert install["run"] == 'python -m pip install --quiet "$RECONCILER"'

    def run() -> tuple[int, str]:
        done = run_step(check, {}, environ, starter)
        return done.returncode, done.stdout + done.stderr

    assert run() == (0, "valid: 2 files, 3 objects, no errors, no warnings\n")
    path = starter / "manifests" / "hello.yml"
    path.write_text(path.read_text().replace("    memory: 64                # MiB\n", ""))
    code, shown = run()
    assert code == 1
    assert "title=memory-is-set::" in shown
    gitlab = load_yaml(starter / ".gitlab-ci.yml")["validate"]
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(gitlab["script"])], env=environ, cwd=starter)
    assert done.returncode == 1
    hook = yaml.safe_load((starter / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"][0]
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
        done = run_step(step, {}, environ, starter)
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
    assert "{{" not in "".join(path.read_text() for path in starter.rglob("*") if path.is_file())


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
