"""The real pre-commit with our hook: it installs the program, and stops a commit that would break the manifests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.git import GitRepository
from tests.support.program import ROOT

CONFIG = """\
repos:
  - repo: {url}
    rev: {revision}
    hooks:
      - id: reconciler-validate
        args: [manifests]
"""
GOOD = "clusters:\n  - name: default\n    services: []\n"


@pytest.fixture
def our_repository(tmp_path: Path) -> GitRepository:
    """This repository as it is now, committed: what stands in the work tree is what is tested."""
    repository = GitRepository(tmp_path / "reconciler")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if name.split("/")[0] not in {"tests", "docs", "benchmarks"} and (ROOT / name).is_file():
            (repository.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, repository.path / name)
    repository.commit()
    return repository


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_commit_that_breaks_manifests_is_stopped(
    our_repository: GitRepository, repository: GitRepository, tmp_path: Path
) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PRE_COMMIT"))} | {
        "PRE_COMMIT_HOME": str(tmp_path / "pre-commit"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
    }

    def pre_commit(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "pre_commit", *arguments]
        return subprocess.run(command, cwd=repository.path, env=environ, capture_output=True, text=True, timeout=380)

    config = CONFIG.format(url=our_repository.path, revision=our_repository.head)
    repository.commit({".pre-commit-config.yaml": config, "manifests/a.yml": GOOD})
    assert pre_commit("validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")).returncode == 0

    first = pre_commit("run", "--all-files")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "reconciler validate" in first.stdout

    repository.write({"manifests/a.yml": GOOD.replace("[]", "[web]"), "README.md": "x\n"})
    repository.git("add", "--all")
    stopped = pre_commit("run")
    assert stopped.returncode == 1, stopped.stdout + stopped.stderr
    assert "manifests/a.yml:3:16: error RC010" in stopped.stdout

    repository.write({"manifests/a.yml": GOOD})
    repository.git("add", "--all")
    assert pre_commit("run").returncode == 0, "only README.md is staged: nothing for the hook"
