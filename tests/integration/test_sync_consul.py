"""What only a real Consul does to sync: rights that are missing or narrowed, a key space that is wiped meanwhile."""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence

import pytest

from reconciler import wiring
from reconciler.errors import StoreDenied, StoreError, StoreNotOurs
from reconciler.model import keys
from reconciler.model.source_state import SyncMark
from reconciler.runtime.clock import SystemClock
from reconciler.store.consul import ConsulStore
from reconciler.store.interface import CommitResult, Operation, Store
from reconciler.sync.late import GRACE_S
from reconciler.sync.lock import holding
from reconciler.sync.loop import SyncDaemon
from reconciler.sync.passes import SourceSync
from tests.support.consul import POLICIES, ConsulAgent, Roles
from tests.support.sync import (
    ListedSource,
    WatchedStore,
    config,
    is_provenance,
    make_ours,
    manifest,
    revision,
    state,
    values,
)
from tests.support.wait import wait_until

pytestmark = pytest.mark.consul

R1 = revision("r1", {"x.json": manifest(["web", "api"])})
R2 = revision("r2", {"x.json": manifest(["web"], desired=2)})


class WallClock(SystemClock):
    def __init__(self) -> None:
        self.ahead_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead_s


@pytest.fixture
def everything(roles: Roles) -> Iterator[Store]:
    """What is really there, whoever may see it."""
    store = roles.store("management")
    yield make_ours(store)
    store.close()


def run(store: Store, *revisions: object, clock: WallClock | None = None) -> None:
    source = ListedSource("fleet", *revisions)  # type: ignore[arg-type]
    clock = clock or WallClock()
    sync = SourceSync(store, source, clock=clock, emit=lambda _: None)
    with holding(store, "fleet", wait_s=30, clock=clock) as fence:
        sync.run(fence, source.read(), is_confirmed=True)


def test_the_policy_for_sync_is_all_that_sync_needs(roles: Roles, everything: Store) -> None:
    store = roles.store("sync")
    clock = WallClock()
    run(store, R1, clock=clock)
    seen = wiring.health_gate(store, 60).judge(frozenset({("main", "web")}))
    assert "0 of 1 healthy" in seen.waiting[0]
    run(store, R1, R2, clock=clock)
    assert state(everything, "fleet").retired.keys() == {"api/1"}
    clock.ahead_s = GRACE_S
    run(store, R1, R2, clock=clock)
    assert set(config(everything)) == {"config/clusters/main", "config/services/web", "config/task_definitions/web/1"}
    store.close()


def narrowed(roles: Roles, rule: str) -> ConsulStore:
    """A store with the rights of sync, less some."""
    agent, root = roles.agent, roles.url.rpartition("/")[2]
    rules = (
        (POLICIES / "sync.hcl")
        .read_text()
        .replace('key_prefix "', f'key_prefix "{root}/')
        .replace('key "', f'key "{root}/')
    )
    name = f"narrow-{uuid.uuid4().hex[:8]}"
    agent.call("PUT", "acl/policy", {"Name": name, "Rules": rules + rule.format(root=root)})
    made = agent.call("PUT", "acl/token", {"Description": name, "Policies": [{"Name": name}]})
    return agent.store(roles.url, token=made["SecretID"])


@pytest.mark.parametrize("kind", ["services", "clusters", "task_definitions"])
@pytest.mark.parametrize("policy", ["deny", "read"])
def test_rule_05_a_token_that_was_narrowed_deletes_nothing_and_the_error_says_so(
    roles: Roles, everything: Store, kind: str, policy: str
) -> None:
    run(everything, R1)
    before = values(everything, "config/", "state/")
    rule = '\nkey_prefix "{root}/config/' + kind + '/" {{ policy = "' + policy + '" }}\n'
    store = narrowed(roles, rule)
    new = revision("r2", {"x.json": manifest(["web", "other"], cluster="main", desired=3)})
    with pytest.raises((StoreNotOurs, StoreDenied)):
        run(store, R1, new)
    store.close()
    assert values(everything, "config/", "state/") == before


def test_rule_05_a_token_without_any_right_is_no_empty_store(roles: Roles, everything: Store) -> None:
    run(everything, R1)
    before = values(everything, "config/", "state/")
    store = roles.agent.store(roles.url, token="anonymous")
    with pytest.raises(StoreError):
        run(store, R1, R2)
    store.close()
    assert values(everything, "config/", "state/") == before


def test_rule_05_a_token_narrowed_under_a_running_sync_holds_it_up_until_it_is_widened(
    roles: Roles, everything: Store
) -> None:
    """git2consul: a blip of Consul became deletes. Hidden keys look like deleted ones, and so does what they hold."""
    store, clock = roles.store("sync"), SystemClock()
    source = ListedSource("fleet", R1)
    sync = SourceSync(store, source, clock=clock, emit=lambda _: None)
    root = roles.url.rpartition("/")[2]
    policy = roles.agent.call("GET", f"acl/policy/name/{root}-sync")

    def let(rules: str) -> None:
        roles.agent.call("PUT", f"acl/policy/{policy['ID']}", {**policy, "Rules": rules})

    with holding(store, "fleet", wait_s=30, clock=clock) as fence:
        sync.run(fence, source.read(), is_confirmed=True)
        before = values(everything, "config/", "state/")
        source.revisions.append(R2)
        for right in ("deny", "read"):
            let(policy["Rules"] + f'\nkey_prefix "{root}/config/services/" {{ policy = "{right}" }}\n')
            with pytest.raises((StoreNotOurs, StoreDenied)):
                sync.run(fence, source.read(), is_confirmed=True)
            assert values(everything, "config/", "state/") == before
        let(policy["Rules"])
        assert sync.run(fence, source.read(), is_confirmed=True).problems == ()
    assert set(config(everything)) >= {"config/services/web", "config/clusters/main"}
    assert "config/services/api" not in config(everything)
    store.close()


@pytest.mark.slow
def test_rule_03_a_leader_lost_in_the_middle_of_a_pass_costs_no_object(consul_cluster: list[ConsulAgent]) -> None:
    """git2consul: half-applied for seconds. Whoever sees a settled mark sees the whole of one revision."""
    leader = consul_cluster[0].call("GET", "status/leader").partition(":")[0]
    follower = next(agent for agent in consul_cluster if agent.address != leader)
    url = follower.new_url()
    store, reader = follower.store(url), follower.store(url)
    make_ours(store)
    one, two = ([f"{word}-{number}" for number in range(150)] for word in ("one", "two"))
    source = ListedSource("fleet", revision("r1", {"x.json": manifest(one)}))
    killed = threading.Event()

    def lose(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
        is_in_the_middle = not killed.is_set() and reader_mark().to == "r2" and not is_provenance(operations)
        if is_in_the_middle:
            next(agent for agent in consul_cluster if agent.address == leader).kill()
            killed.set()
        return go()

    def reader_mark() -> SyncMark:
        return state(reader, "fleet").mark if reader.get(keys.source("fleet")) else SyncMark(settled=True, revision="")

    daemon = SyncDaemon(WatchedStore(store, lose), source, emit=lambda _: None, poll_s=0.5)
    daemon.start()
    try:
        wait_until(lambda: reader_mark().settled and reader_mark().revision == "r1", what="r1", timeout_s=60)
        source.revisions.append(revision("r2", {"x.json": manifest(two)}))
        source.wake()

        def is_applied() -> bool:
            try:
                return reader_mark().settled and reader_mark().revision == "r2"
            except StoreError:
                return False  # there is no leader just now

        wait_until(is_applied, what="r2 under another leader", timeout_s=120)
    finally:
        daemon.stop()
    assert killed.is_set()
    services = {key.removeprefix(keys.SERVICES) for key in config(reader) if key.startswith(keys.SERVICES)}
    assert services == set(two)
    store.close()
    reader.close()


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_rule_05_consul_wiped_in_the_middle_of_a_pass_stays_as_it_is(consul: ConsulAgent, moment: int) -> None:
    store = consul.store()
    make_ours(store)
    root = store.url.rpartition("/")[2]

    def wipe(number: int, operations: Sequence[Operation], go: Callable[[], CommitResult]) -> CommitResult:
        if number == moment:
            consul.call("DELETE", f"kv/{root}/?recurse")
        return go()

    names = [f"s{number}" for number in range(90)]
    source = ListedSource("fleet", revision("r1", {"x.json": manifest(names)}))
    clock = SystemClock()
    with holding(store, "fleet", wait_s=30, clock=clock) as fence:
        sync = SourceSync(WatchedStore(store, wipe), source, clock=clock, emit=lambda _: None)
        with pytest.raises(StoreError):
            sync.run(fence, source.read(), is_confirmed=True)
        with pytest.raises(StoreNotOurs):
            sync.run(fence, source.read(), is_confirmed=True)
        assert values(store, keys.CONFIG, keys.STATE) == {}
    store.close()
