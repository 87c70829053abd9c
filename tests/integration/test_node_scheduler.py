"""The example scheduler for Node on a real Consul: killed, frozen, stopped, without rights. Which rules it keeps, the
end-to-end tests ask ``reconciler conformance``.
"""

import json
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from reconciler.model import codec, keys
from reconciler.model.manifests import Check, Cluster
from reconciler.model.task import ClusterHead, Task
from reconciler.store.interface import DeleteIf, Store
from tests.support.consul import ConsulAgent, Roles
from tests.support.program import Daemon, Program
from tests.support.scheduler_store import PretendAgents, declare, declare_web, head, make_ours, tasks
from tests.support.scheduler_world import definition
from tests.support.wait import wait_until

pytestmark = pytest.mark.consul

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/schedulers/node"
WAIT_S = 60.0


@pytest.fixture
def store(consul: ConsulAgent, program: Program) -> Store:
    store = consul.store()
    make_ours(store)
    program.use(store.url)
    return store


def start(program: Program, node: str) -> Daemon:
    return program.start_other(node, str(EXAMPLE / "scheduler.mjs"), "--name", "node", name="node")


def declare_for_node(store: Store, *, desired: int, version: int = 1) -> None:
    declare_web(store, desired=desired, version=version, clusters=())
    declare(store, Cluster(name="main", scheduler="node", services=("web",)))


def holder(store: Store) -> str:
    """What the holder of the lock wrote there; empty when nobody holds it."""
    entry = store.get(keys.scheduler_lock("main"))
    return entry.value.decode() if entry and entry.holder else ""


def test_after_kill_9_another_one_takes_over_and_goes_on(store: Store, program: Program, node: str) -> None:
    agents = PretendAgents(store, "h1", "h2")
    declare_for_node(store, desired=2)
    first = start(program, node)
    wait_until(lambda: agents.healthy("web", 1, 2), timeout_s=WAIT_S, what="two tasks")
    second = start(program, node)
    first.kill()
    declare_for_node(store, desired=3, version=2)
    wait_until(lambda: agents.healthy("web", 2, 3), timeout_s=WAIT_S, what="three tasks of version 2")
    assert holder(store).endswith(f":{second.pid}")


def test_sigterm_gives_the_lock_up_at_once_and_touches_no_task(store: Store, program: Program, node: str) -> None:
    agents = PretendAgents(store, "h1")
    declare_for_node(store, desired=2)
    daemon = start(program, node)
    wait_until(lambda: agents.healthy("web", 1, 2), timeout_s=WAIT_S, what="two tasks")
    issued = tasks(store)
    assert daemon.stop() == 0
    assert holder(store) == ""
    assert tasks(store) == issued


def test_one_that_was_frozen_past_its_session_stands_by(store: Store, program: Program, node: str) -> None:
    agents = PretendAgents(store, "h1", "h2")
    declare_for_node(store, desired=2)
    frozen = start(program, node)
    wait_until(lambda: agents.healthy("web", 1, 2), timeout_s=WAIT_S, what="two tasks")
    frozen.signal(signal.SIGSTOP)
    try:
        other = start(program, node)
        wait_until(lambda: holder(store).endswith(f":{other.pid}"), timeout_s=WAIT_S, what="another one to take over")
        declare_for_node(store, desired=3)
        wait_until(lambda: agents.healthy("web", 1, 3), timeout_s=WAIT_S, what="three tasks")
        issued, seq = tasks(store), head(store).seq
    finally:
        frozen.signal(signal.SIGCONT)
    declare_for_node(store, desired=4)
    wait_until(lambda: agents.healthy("web", 1, 4), timeout_s=WAIT_S, what="four tasks")
    assert holder(store).endswith(f":{other.pid}")
    assert {(task.id, task.issue) for task in issued} < {(task.id, task.issue) for task in tasks(store)}
    assert head(store).seq == seq + 1


def test_under_acls_it_needs_no_more_than_the_policy_for_it_gives(roles: Roles, program: Program, node: str) -> None:
    store = roles.store("management")
    make_ours(store)
    agents = PretendAgents(store, "h1")
    declare_for_node(store, desired=2)
    program.use(roles.url)
    program.environ["CONSUL_HTTP_TOKEN"] = roles.token("scheduler")
    start(program, node)
    wait_until(lambda: agents.healthy("web", 1, 2), timeout_s=WAIT_S, what="two tasks")
    store.close()


def test_a_store_that_loses_its_sentinel_is_left_alone(store: Store, program: Program, node: str) -> None:
    agents = PretendAgents(store, "h1")
    declare_for_node(store, desired=2)
    daemon = start(program, node)
    wait_until(lambda: agents.healthy("web", 1, 2), timeout_s=WAIT_S, what="two tasks")
    issued = tasks(store)
    for key in (keys.STATE_SENTINEL, keys.service("web"), keys.cluster("main")):  # as if somebody wiped it
        entry = store.get(key)
        assert entry is not None
        store.commit([DeleteIf(key, entry.index)])
    wait_until(lambda: "a sentinel is missing" in daemon.output(), timeout_s=WAIT_S, what="it to say so")
    assert tasks(store) == issued


def test_its_digests_are_ours_whatever_is_in_a_definition(node: str) -> None:
    plain = definition("web", 1)
    strange = msgspec.structs.replace(
        plain,
        tags=("ä½\u2028", 'say "hi"\\\t\x01\x7f', "🎈"),
        version=2**53 - 1,
        checks=(Check(http="http://127.0.0.1/", header={"🎈": ("1",), "\uffff": ("2",), "a": ("3",)}),),
        managed_by="somebody",
    )
    program = """
      import { digest } from 'EXAMPLE/plan.mjs';
      import { readFileSync } from 'node:fs';
      for (const line of readFileSync(0, 'utf8').trim().split('\\n')) console.log(digest(JSON.parse(line)));
    """.replace("EXAMPLE", EXAMPLE.as_uri())
    lines = b"\n".join(codec.encode(each) for each in (plain, strange))
    done = subprocess.run([node, "--input-type=module", "-e", program], input=lines, capture_output=True, check=True)
    assert done.stdout.decode().split() == [codec.digest(plain), codec.digest(strange)]


def test_what_it_writes_is_canonical_and_read_by_ours(store: Store, program: Program, node: str) -> None:
    agents = PretendAgents(store, "h1")
    declare_for_node(store, desired=1)
    start(program, node)
    wait_until(lambda: agents.healthy("web", 1, 1), timeout_s=WAIT_S, what="a task")
    for prefix, kind in ((keys.TASKS_BY_ID, Task), (keys.CLUSTER_HEADS, ClusterHead)):
        for entry in store.list(prefix).entries:
            assert json.loads(entry.value) == json.loads(codec.encode(codec.decode(entry.value, kind)))
    assert "main-web-1-0" in program.ok("tasks", "--cluster", "main")
