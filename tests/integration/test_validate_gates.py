"""``validate --base`` and ``--against`` as gates in CI: real git repositories, and a snapshot of a real store."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.reports import FORMATS
from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.task import HostState
from reconciler.queries import snapshot_file
from reconciler.runtime.clock import SystemClock
from reconciler.store.interface import Acquire, Committed
from reconciler.store.memory import MemoryStore
from reconciler.sync.once import sync_once
from tests.support.git import GitRepository
from tests.support.sync import ListedSource, make_ours, revision

DEFINITION = """\
task_definitions:
  - name: web
    version: 1
    memory: 64
    containers: [{name: web, type: docker, executor: {image: nginx}}]
"""
SERVICE = """\
clusters:
  - name: main
    services: [web]
services:
  - name: web
    task_name: web
    task_version: 1
    desired: 1
"""
FILES = {"manifests/definition.yml": DEFINITION, "manifests/service.yml": SERVICE}


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "reconciler", "validate", "manifests", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def places(done: "subprocess.CompletedProcess[str]") -> list[tuple[str, str, int]]:
    assert done.returncode in (0, 1), done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return [(each["code"], each["file"], each["line"]) for each in answer["problems"]]


def test_another_content_under_the_same_version_fails_with_its_line_in_every_format(repository: GitRepository) -> None:
    repository.commit(FILES)
    repository.write({"manifests/definition.yml": DEFINITION.replace("nginx", "httpd")})
    done = run(repository.path, "--base", "HEAD", "--format", "json")
    assert (done.returncode, places(done)) == (1, [("RC065", "manifests/definition.yml", 2)])
    for each in FORMATS:
        done = run(repository.path, "--base", "HEAD", "--format", each)
        assert done.returncode == 1
        assert "RC065" in done.stdout
        assert "definition.yml" in done.stdout


def test_what_is_only_written_otherwise_or_elsewhere_or_has_a_new_version_passes(repository: GitRepository) -> None:
    repository.commit(FILES)
    moved = """\
# moved
task_definitions:
- {containers: [{executor: {image: "nginx"}, type: docker, name: web}], memory: 64, version: 1, name: web}
- {containers: [{executor: {image: "httpd"}, type: docker, name: web}], memory: 64, version: 2, name: web}
"""
    (repository.path / "manifests/definition.yml").unlink()
    repository.write({"manifests/other.yml": moved})
    done = run(repository.path, "--base", "HEAD", "--format", "json")
    assert (done.returncode, places(done), done.stderr) == (0, [], "")


def test_a_revision_that_is_broken_or_has_no_manifests_says_what_was_not_compared(repository: GitRepository) -> None:
    repository.commit({"README": "hello"})
    repository.commit({**FILES, "manifests/broken.yml": "task_definitions: [\n"})
    repository.write({"manifests/broken.yml": "hosts: [{name: one}]\n"})
    done = run(repository.path, "--base", "HEAD~1")
    assert (done.returncode, "HEAD~1 has no manifests in manifests" in done.stderr) == (0, True)
    done = run(repository.path, "--base", "HEAD")
    assert done.returncode == 0, done.stdout
    assert "not compared, since it can't be read in HEAD: manifests/broken.yml:" in done.stderr


def test_environments_that_are_gone_or_new_are_named_since_nothing_of_them_is_compared(
    repository: GitRepository,
) -> None:
    settings = "environments: {staging: {}, prod: {}}\n"
    repository.commit({**FILES, "manifests/reconciler.yaml": settings})
    changed = {"manifests/definition.yml": DEFINITION.replace("nginx", "httpd")}
    repository.write(
        {**changed, "manifests/reconciler.yaml": settings.replace("staging", "stage").replace("prod", "live")}
    )
    done = run(repository.path, "--base", "HEAD")
    assert done.returncode == 0, done.stdout
    assert done.stderr.splitlines() == [
        "reconciler: environment stage is not in HEAD: nothing to compare it with",
        "reconciler: environment live is not in HEAD: nothing to compare it with",
        "reconciler: environment staging of HEAD is gone, or has another name now: not compared",
        "reconciler: environment prod of HEAD is gone, or has another name now: not compared",
    ]
    (repository.path / "manifests/reconciler.yaml").unlink()
    done = run(repository.path, "--base", "HEAD")
    assert "environment prod of HEAD is gone" in done.stderr


def test_a_shallow_clone_says_to_fetch_more(repository: GitRepository, tmp_path: Path) -> None:
    repository.commit(FILES)
    repository.commit({"README": "more"})
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--depth", "1", repository.path.as_uri(), str(clone)], check=True)
    done = run(clone, "--base", "HEAD~1")
    assert done.returncode == 2
    assert "there is no revision HEAD~1" in done.stderr
    assert "fetch-depth" in done.stderr


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A snapshot of one host of 256 MiB, and a source ``fleet``; no token, no store."""
    store = make_ours(MemoryStore())
    host = HostState(host="a", machine="a", address="10.0.0.1", memory=256, cpu_units=4096, executors=("docker",))
    session = store.open_session("a", 600.0)
    assert isinstance(store.commit([Acquire(keys.host_state("a"), encode(host), session.id)]), Committed)
    source = ListedSource("fleet", revision("r1", {"d.yml": DEFINITION, "s.yml": SERVICE}))
    sync_once(store, source, clock=SystemClock(), emit=lambda _: None)
    made = snapshot_file.document(snapshot_file.freeze(store), 1_700_000_000.0)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/definition.yml").write_text(DEFINITION)
    (tmp_path / "fleet.json").write_bytes(encode(made))
    return tmp_path


def test_a_service_that_does_not_fit_the_fleet_fails_with_its_line_in_every_format(fleet: Path) -> None:
    (fleet / "manifests/service.yml").write_text(SERVICE)
    done = run(fleet, "--against", "fleet.json", "--format", "json")
    assert (done.returncode, places(done)) == (0, [])
    (fleet / "manifests/service.yml").write_text(SERVICE.replace("desired: 1", "desired: 9"))
    done = run(fleet, "--against", "fleet.json", "--format", "json")
    assert (done.returncode, places(done)) == (1, [("RC066", "manifests/service.yml", 5)])
    for each in FORMATS:
        done = run(fleet, "--against", "fleet.json", "--format", each)
        assert done.returncode == 1
        assert "RC066" in done.stdout
        assert "memory" in done.stdout


def test_manifests_that_sync_would_refuse_do_not_pass_as_fitting(fleet: Path) -> None:
    (fleet / "manifests/service.yml").write_text(SERVICE)
    (fleet / "manifests/definition.yml").write_text(DEFINITION.replace("nginx", "httpd"))
    done = run(fleet, "--against", "fleet.json")
    assert done.returncode == 1
    assert "source fleet would refuse these manifests" in done.stderr
