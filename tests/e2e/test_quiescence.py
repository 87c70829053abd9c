"""Once converged, nothing is written until something changes."""

import base64
import json
import time
from pathlib import Path

import pytest

from tests.support.consul import StartConsul
from tests.support.git import GitRepository
from tests.support.manifests import bash_definition, commit, manifest, service
from tests.support.program import Program

QUIET_S = 60


@pytest.mark.consul
@pytest.mark.slow
def test_a_converged_fleet_writes_nothing_for_a_minute(
    program: Program, start_consul: StartConsul, tmp_path: Path
) -> None:
    consul, repository = start_consul(), GitRepository(tmp_path / "repository")
    commit(
        repository, manifest(cluster="c", services=[service("web", desired=3)], definitions=[bash_definition("web")])
    )
    program.use(consul.url)
    program.start("sync", "--git", str(repository.path), "--poll", "1", "--http", "127.0.0.1:0")
    program.start("scheduler", "--http", "127.0.0.1:0")
    program.start("scheduler", "--http", "127.0.0.1:0")
    program.start("agent", "--address", "127.0.0.1", "--http", "127.0.0.1:0", "--executor", "bash")
    program.healthy("web", 3)

    def written() -> dict[str, object]:
        """When each key was last written. Of the host's status what it says of our tasks: it also notes the tasks of
        other stores on this machine, and those of tests that run beside this one come and go."""
        return {
            entry["Key"]: json.loads(base64.b64decode(entry["Value"]))["tasks"]
            if entry["Key"].startswith("state/status/")
            else entry["ModifyIndex"]
            for entry in consul.call("GET", "kv/?recurse")
        }

    settled_at, seen = time.monotonic(), written()
    while time.monotonic() - settled_at < 3:  # the last status is published up to a second after it changed
        time.sleep(0.2)
        if (now := written()) != seen:
            settled_at, seen = time.monotonic(), now

    # Consul's own raft index would move with any write at all: keys, sessions, registrations, checks
    before = _raft_index(consul.call("GET", "agent/self"))
    time.sleep(QUIET_S)
    assert written() == seen
    grown = _raft_index(consul.call("GET", "agent/self")) - before
    assert grown <= QUIET_S / 5, f"{grown} writes to raft in {QUIET_S} s"


def _raft_index(agent: dict[str, dict[str, dict[str, str]]]) -> int:
    return int(agent["Stats"]["raft"]["last_log_index"])
