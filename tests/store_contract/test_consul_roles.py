"""Consul with ACLs, default deny: each role's policy allows what it must write, and not what it must not.

The policies are the files in ``examples/deploy/consul-acl``, for a prefix.
"""

from collections.abc import Callable, Generator

import pytest

from reconciler.errors import StoreDenied, StoreNotOurs
from reconciler.model import keys
from reconciler.store import lease, sentinel
from reconciler.store.consul import ConsulStore
from reconciler.store.consul_agent import CheckDefinition, ServiceDefinition
from reconciler.store.interface import Acquire, Check, Committed, DeleteIf, Held, Put, PutIf
from reconciler.store.lease import SessionKeeper
from tests.support.consul import Roles
from tests.support.wait import wait_until

pytestmark = pytest.mark.consul

ROLES = ("sync", "scheduler", "agent", "operator", "reader")

KEYS = (
    keys.CONFIG_SENTINEL,
    keys.MOVED,
    "config/services/web",
    keys.STATE_SENTINEL,
    "state/overrides/services/web",
    "state/tasks/_/web-1",
    "state/tasks/host-1/web-1",
    "state/clusters/default",
    "state/rollouts/default/web",
    keys.preparation("default", "web", "host-1"),
    keys.preparation_by_host("host-1", "default", "web"),
    "state/placement",
    "state/hosts/host-1",
    "state/status/host-1",
    "state/overrides/sources/demo",
    "state/sync/demo",
    "state/provenance/demo/7f",
    keys.reports("demo"),
    keys.reported_services("demo"),
    "state/wake/demo",
    "schedulers/default",
    "sync/demo",
)

MAY_WRITE = {
    "sync": {
        keys.CONFIG_SENTINEL, "config/services/web", keys.STATE_SENTINEL, "state/sync/demo", "state/wake/demo",
        keys.MOVED, "sync/demo", "state/provenance/demo/7f", "state/overrides/services/web",
        keys.reports("demo"), keys.reported_services("demo"),
    },
    "scheduler": {
        keys.CONFIG_SENTINEL, keys.STATE_SENTINEL, "state/tasks/_/web-1", "state/tasks/host-1/web-1",
        "state/clusters/default", "state/rollouts/default/web", "state/placement", "schedulers/default",
        keys.preparation("default", "web", "host-1"), keys.preparation_by_host("host-1", "default", "web"),
    },
    "agent": {"state/hosts/host-1", "state/status/host-1"},
    "operator": {
        keys.CONFIG_SENTINEL, "config/services/web", keys.STATE_SENTINEL, "state/overrides/services/web",
        "state/overrides/sources/demo", "state/wake/demo", "state/hosts/host-1", "state/status/host-1",
        "state/sync/demo", "sync/demo", "state/provenance/demo/7f", keys.MOVED,
        keys.reports("demo"), keys.reported_services("demo"),
    },
    "reader": set(),
}  # fmt: skip

StoreOf = Callable[[str], ConsulStore]


@pytest.fixture
def store_of(roles: Roles) -> Generator[StoreOf]:
    """The store as a role sees it."""
    stores: list[ConsulStore] = []

    def store(role: str) -> ConsulStore:
        stores.append(roles.store(role))
        return stores[-1]

    yield store
    for each in stores:
        each.close()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_writes_what_is_its_own_and_reads_all_there_is(role: str, store_of: StoreOf) -> None:
    management, store = store_of("management"), store_of(role)
    for key in KEYS:
        management.commit([Put(key, b"1")])
    assert store.list("config/") == management.list("config/")
    assert store.list("state/") == management.list("state/")
    for key in KEYS:
        assert store.get(key) == management.get(key)

    written, refusals = set(), []
    for key in KEYS:
        try:
            assert store.commit([Put(key, role.encode())]) == Committed()
        except StoreDenied as error:
            refusals.append((key, str(error)))
        else:
            written.add(key)

    assert written == MAY_WRITE[role]
    assert {entry.key for entry in management.list("").entries if entry.value != b"1"} == written
    assert [message for key, message in refusals if key not in message or "examples/deploy" not in message] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_commit_with_one_denied_key_writes_nothing(role: str, store_of: StoreOf) -> None:
    store = store_of(role)
    allowed = [Put(key, b"2") for key in sorted(MAY_WRITE[role])]
    with pytest.raises(StoreDenied):
        store.commit([*allowed, Put("state/elsewhere", b"2")])
    assert store_of("management").list("").entries == ()


def test_rule_05_a_denied_single_read_is_an_error_and_never_an_empty_answer(store_of: StoreOf) -> None:
    store_of("management").commit([Put("elsewhere/secret", b"1"), Put("elsewhere/secret-2", b"1")])
    reader = store_of("reader")
    with pytest.raises(StoreDenied):
        reader.get("elsewhere/secret")
    with pytest.raises(StoreDenied):
        reader.get("elsewhere/not-even-there")
    for key in ("elsewhere/secret", "elsewhere/not-even-there"):
        with pytest.raises(StoreDenied):  # though Consul only leaves it out when several are asked for
            reader.get_all(["state/tasks/", key])


def test_rule_05_a_token_without_rights_finds_no_sentinel_and_says_so(roles: Roles, store_of: StoreOf) -> None:
    sentinel.ensure(store_of("sync"), "id-1")
    store_of("management").commit([Put("state/tasks/_/web-1", b"1")])
    blind = roles.agent.store(roles.url, token=Roles(roles.agent).token("scheduler"))  # of another root

    assert blind.list("state/").entries == (), "Consul filters, and says nothing"
    for call in (sentinel.read, lambda store: sentinel.ensure(store, "id-2")):
        with pytest.raises(StoreDenied):
            call(blind)
    blind.close()


@pytest.mark.parametrize("role", ["sync", "scheduler", "operator"])
def test_rule_05_sync_scheduler_and_operator_may_mark_a_new_store(role: str, store_of: StoreOf) -> None:
    assert sentinel.ensure(store_of(role), "id-1") == "id-1"
    for each in ROLES:
        assert sentinel.read(store_of(each)) == "id-1"


@pytest.mark.parametrize("role", ["agent", "reader"])
def test_rule_05_agents_and_readers_may_not_mark_a_new_store(role: str, store_of: StoreOf) -> None:
    with pytest.raises(StoreDenied):
        sentinel.ensure(store_of(role), "id-1")
    with pytest.raises(StoreNotOurs):
        sentinel.read(store_of("reader"))


def test_the_scheduler_issues_a_task_behind_its_lock(store_of: StoreOf) -> None:
    store = store_of("scheduler")
    store_of("management").commit([Put("state/sync/demo", b"settled"), Put(keys.MOVED, b"demo")])
    mark, moved = store.get("state/sync/demo"), store.get(keys.MOVED)
    assert mark is not None
    assert moved is not None
    keeper = SessionKeeper(store, "scheduler", 6.0)
    keeper.start()
    assert keeper.wait_open(20)
    session_id = keeper.session_id
    assert session_id is not None

    assert lease.take(store, "schedulers/default", b"{}", session_id)
    issue = [
        Held("schedulers/default", session_id),
        Check("state/sync/demo", mark.index),
        Check(keys.MOVED, moved.index),
        PutIf("state/clusters/default", b'{"seq":1}', 0),
        PutIf("state/placement", b'{"seq":1}', 0),
        PutIf("state/tasks/_/web-1", b"{}", 0),
        PutIf("state/tasks/host-1/web-1", b"{}", 0),
    ]
    assert store.commit(issue) == Committed()
    task = store.get("state/tasks/_/web-1")
    assert task is not None
    assert store.commit([Held("schedulers/default", session_id), DeleteIf(task.key, task.index)]) == Committed()
    keeper.close()
    assert store.get("schedulers/default") is not None


@pytest.mark.parametrize(
    ("role", "key"),
    [("sync", "sync/demo"), ("operator", "sync/apply"), ("scheduler", "schedulers/a"), ("agent", "state/hosts/host-1")],
)
def test_each_role_that_holds_something_can_open_keep_resume_and_end_a_session(
    role: str, key: str, store_of: StoreOf
) -> None:
    store = store_of(role)
    session = store.open_session(role, 5)
    assert store.commit([Acquire(key, b"mine", session.id)]) == Committed()
    assert session.renew() is True
    resumed = store_of(role).resume_session(session.id, role, 6)
    assert resumed is not None
    resumed.close()
    entry = store.get(key)
    assert entry is not None
    assert entry.holder is None


def test_a_reader_can_not_open_a_session(store_of: StoreOf) -> None:
    before = store_of("management").agent.services().keys()
    with pytest.raises(StoreDenied):
        store_of("reader").open_session("reader", 6)
    assert store_of("management").agent.services().keys() == before


def test_the_agent_registers_tasks_and_reads_their_health(store_of: StoreOf) -> None:
    store = store_of("agent")
    node = store.agent.identity().node
    check = CheckDefinition(id="web-1:ttl", name="alive", ttl_s=30, status="critical")
    store.agent.register_service(
        ServiceDefinition(id="web-1", name="default-web", port=20001, tags=("a",), meta={"k": "v"}, checks=(check,))
    )
    service = store.agent.services()["web-1"]
    assert (service.name, service.port, service.tags, service.meta) == ("default-web", 20001, ("a",), {"k": "v"})

    def status() -> str | None:
        found = [each for each in store.agent.node_checks(node).checks if each.id == "web-1:ttl"]
        return found[0].status if found else None

    wait_until(lambda: status() == "critical", what="the check to reach the catalog")
    index = store.agent.node_checks(node).index
    assert store.agent.update_ttl("web-1:ttl", "warning", "so so") is True
    while status() != "warning":
        index = store.agent.node_checks(node, index, 10).index
    found = store.agent.checks()["web-1:ttl"]
    assert (found.status, found.output, found.service_name) == ("warning", "so so", "default-web")
    assert store.agent.deregister_service("web-1") is True
    assert store.agent.deregister_service("web-1") is False
    assert store.agent.update_ttl("web-1:ttl", "passing") is False


def test_what_only_looks_wakes_too(store_of: StoreOf) -> None:
    reader, scheduler = store_of("reader"), store_of("scheduler")
    scheduler.commit([Put("state/tasks/host-1/web-1", b"1")])
    after = reader.list("state/tasks/host-1/").index
    scheduler.commit([Put("state/tasks/host-1/web-1", b"2")])
    assert reader.wait("state/tasks/host-1/", after, 20) > after
    assert reader.wait("state/tasks/host-1/web-1", after, 20) > after


def test_secrets_can_be_read_by_agents_and_by_no_other_role(roles: Roles) -> None:
    key = keys.secret("web/db")
    assert isinstance(roles.store("management").commit([Put(key, b"a password")]), Committed)
    for role in ROLES:
        store = roles.store(role)
        with pytest.raises(StoreDenied):
            store.commit([Put(key, b"mine")])
        if role == "agent":
            entry = store.get(key)
            assert entry is not None
            assert entry.value == store.get_all([key])[key].value == b"a password"
            assert store.wait(keys.SECRETS, 0, 1.0) > 0
        else:
            with pytest.raises(StoreDenied):
                store.get(key)
