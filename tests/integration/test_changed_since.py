"""``validate --changed-since``: what a change touches, judged against real git repositories."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.git import GitRepository

DEFINITION = """\
task_definitions:
  - name: web
    version: 1
    containers: [{name: web, type: docker, executor: {image: nginx}}]
"""
SERVICE = """\
clusters:
  - name: default
    services: [web]
services:
  - name: web
    task_name: web
    task_version: 1
    desired: 1
"""
OLD = "hosts:\n  - nam: old\n  - nam: older\n  - name: fine\n"


@pytest.fixture
def repo(repository: GitRepository) -> GitRepository:
    repository.commit(
        {"manifests/old.yml": OLD, "manifests/definition.yml": DEFINITION, "manifests/service.yml": SERVICE}
    )
    return repository


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "reconciler", "validate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def shown(repo: GitRepository, *arguments: str, path: str = "manifests") -> tuple[list[tuple[str, str, int]], int]:
    """File, code and line of the problems that are shown, and how many are elsewhere."""
    done = run(repo.path, path, "--format", "json", "--changed-since", *arguments)
    assert done.returncode in (0, 1), done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["valid"] == (done.returncode == 0)
    return [(each["file"], each["code"], each["line"]) for each in answer["problems"]], answer["elsewhere"]


def test_what_was_wrong_before_does_not_stop_a_change_that_does_not_touch_it(repo: GitRepository) -> None:
    repo.write({"manifests/new.yml": "hosts:\n  - name: new\n"})
    assert shown(repo, "HEAD") == ([], 2)
    done = run(repo.path, "manifests", "--changed-since", "HEAD")
    assert done.returncode == 0
    assert done.stdout.endswith("2 problems that the change does not touch\n")


def test_a_problem_on_a_changed_line_is_shown_although_it_was_there_before(repo: GitRepository) -> None:
    repo.write({"manifests/old.yml": "hosts:\n  - {nam: old}\n  - nme: x\n"})
    repo.commit()
    repo.write({"manifests/old.yml": "hosts:\n  - {nam: old}  # touched\n  - nme: x\n"})
    problems, elsewhere = shown(repo, "HEAD")
    assert {(file, line) for file, _, line in problems} == {("manifests/old.yml", 2)}
    assert elsewhere == 1


def test_lines_that_only_moved_are_not_touched(repo: GitRepository) -> None:
    repo.write({"manifests/old.yml": "# one\n# two\n" + OLD})
    assert shown(repo, "HEAD") == ([], 2)


def test_what_a_change_breaks_elsewhere_is_its_problem(repo: GitRepository) -> None:
    repo.write({"manifests/definition.yml": DEFINITION.replace("version: 1", "version: 2")})
    assert shown(repo, "HEAD") == ([("manifests/service.yml", "RC013", 7)], 2)
    repo.write({"manifests/definition.yml": None})
    assert shown(repo, "HEAD") == ([("manifests/service.yml", "RC012", 6)], 2)


def test_a_file_that_git_does_not_know_yet_is_changed_as_a_whole(repo: GitRepository) -> None:
    repo.write({"manifests/unknown.yml": "hosts:\n  - nme: x\n"})
    assert [each[0] for each in shown(repo, "HEAD")[0]] == ["manifests/unknown.yml"] * len(shown(repo, "HEAD")[0])
    assert shown(repo, "HEAD")[0]


def test_one_more_of_the_same_problem_is_a_new_one(repo: GitRepository) -> None:
    repo.write({"manifests/old.yml": OLD + "  - nam: another\n"})
    problems, elsewhere = shown(repo, "HEAD")
    assert {line for _, _, line in problems} == {5}
    assert elsewhere == 2


def test_what_others_merged_meanwhile_does_not_count(repo: GitRepository) -> None:
    repo.git("checkout", "--quiet", "-b", "feature")
    repo.commit({"manifests/new.yml": "hosts:\n  - name: new\n"})
    repo.git("checkout", "--quiet", "main")
    repo.commit({"manifests/old.yml": "hosts:\n  - name: old\n"})
    repo.git("checkout", "--quiet", "feature")
    assert shown(repo, "main") == ([], 2)
    repo.commit({"manifests/new.yml": "hosts:\n  - name: new\n  - name: new\n"})
    assert shown(repo, "main") == ([("manifests/new.yml", "RC001", 3)], 2)


def test_a_moved_file_is_a_changed_one(repo: GitRepository) -> None:
    repo.git("mv", "manifests/old.yml", "manifests/moved.yml")
    problems, elsewhere = shown(repo, "HEAD")
    assert {file for file, _, _ in problems} == {"manifests/moved.yml"}
    assert elsewhere == 0


def test_files_and_folders_anywhere_and_with_any_name_are_found(repo: GitRepository) -> None:
    name = 'sub/ü "x"\n:(top) *.yml'
    repo.commit({name: "hosts:\n  - name: a\n"})
    repo.write({name: "hosts:\n  - name: a\n  - name: a\n"})
    assert shown(repo, "HEAD", path=".") == ([(name, "RC001", 3)], 2)
    assert shown(repo, "HEAD", path=name) == ([(name, "RC001", 3)], 0)
    assert shown(repo, "HEAD", path=str(repo.path / "sub")) == ([(str(repo.path / name), "RC001", 3)], 0)


def test_ignored_files_at_the_base_are_ignored(repo: GitRepository) -> None:
    repo.commit({"manifests/reconciler.yaml": "ignore: [old.yml]\n"})
    repo.write({"manifests/reconciler.yaml": "ignore: []\n"})
    problems, elsewhere = shown(repo, "HEAD")
    assert {file for file, _, _ in problems} == {"manifests/old.yml"}
    assert elsewhere == 0


def test_a_revision_that_is_not_there_is_wrong_usage(repo: GitRepository, tmp_path: Path) -> None:
    for revision in ("nothing", "--output=x", "HEAD~99"):
        done = run(repo.path, "manifests", f"--changed-since={revision}")
        assert (done.returncode, done.stdout) == (2, "")
        assert "no revision" in done.stderr
        assert "Traceback" not in done.stderr
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.yml").write_text("hosts: []\n")
    done = run(tmp_path / "plain", ".", "--changed-since", "HEAD")
    assert done.returncode == 2
    assert "not a git repository" in done.stderr
    assert run(repo.path, "-", "--changed-since", "HEAD").returncode == 2
