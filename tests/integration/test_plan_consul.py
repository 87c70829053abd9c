"""A plan against a real Consul, and against a snapshot of it, is the same; nothing is written by either."""

import json
from typing import Any

import pytest

from reconciler.model import keys
from reconciler.store.connect import open_store
from tests.support.consul import ConsulAgent
from tests.support.program import Program
from tests.support.sync import manifest, values

pytestmark = pytest.mark.consul


def test_ci_plans_from_a_snapshot_of_consul_without_a_token(program: Program, consul: ConsulAgent) -> None:
    """Flux: no preview without giving CI access to the cluster."""
    url = consul.new_url()
    program.use(url)
    folder = program.folder / "deploy"
    folder.mkdir()
    (folder / "all.json").write_text(manifest(["api", "web"]))
    program.ok("sync", "--watch", "deploy", "--name", "fleet", "--once")
    (folder / "all.json").write_text(manifest(["web"], desired=2))
    store = open_store(url, environ={})
    before = values(store, keys.CONFIG, keys.STATE)
    (program.folder / "fleet.json").write_text(program.ok("snapshot"))
    direct: dict[str, Any] = json.loads(program.ok("plan", "deploy", "--format", "json"))
    program.use("consul://127.0.0.1:1")
    offline: dict[str, Any] = json.loads(program.ok("plan", "deploy", "--against", "fleet.json", "--format", "json"))
    assert offline == direct
    assert [(each["action"], each["object"]) for each in direct["changes"]] == [
        ("update", "service web"),
        ("update", "cluster main"),
        ("delete", "service api"),
    ]
    assert values(store, keys.CONFIG, keys.STATE) == before
    store.close()
