"""What a caller may conclude when Consul, or what lies before it, misbehaves; and where the token goes."""

import logging
import threading
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from reconciler.errors import (
    StoreDenied,
    StoreError,
    StoreNoLeader,
    StoreTooLarge,
    StoreUnreachable,
)
from reconciler.store import sentinel
from reconciler.store.connect import open_store
from reconciler.store.consul import ConsulStore
from reconciler.store.interface import Acquire, Committed, Put, PutIf, Store, Unknown
from reconciler.store.lease import SessionKeeper
from tests.support.consul import ConsulAgent, StartCluster, StartConsul, free_ports
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import wait_until

pytestmark = pytest.mark.consul


@pytest.fixture
def proxy(consul: ConsulAgent, tcp_proxy: Callable[[str, int], TcpProxy]) -> TcpProxy:
    """What lies between."""
    return tcp_proxy(consul.address, consul.http_port)


@pytest.fixture
def direct(consul: ConsulAgent) -> Generator[ConsulStore]:
    """The store past the proxy."""
    store = consul.store()
    yield store
    store.close()


@pytest.fixture
def store(direct: ConsulStore, proxy: TcpProxy) -> Generator[Store]:
    """The store through the proxy."""
    through = open_store(f"consul://{proxy.hostport}/{direct.url.rpartition('/')[2]}", environ={})
    yield through
    through.close()


def test_a_refused_connection_is_certainly_not_carried_out() -> None:
    (port,) = free_ports("127.0.0.1", 1)
    store = open_store(f"consul://127.0.0.1:{port}", environ={})
    for call in (
        lambda: store.get("state/a"),
        lambda: store.list("state/"),
        lambda: store.commit([Put("state/a", b"")]),
        lambda: store.wait("state/", 5, 10),
        lambda: store.open_session("agent", 6),
    ):
        with pytest.raises(StoreUnreachable, match=rf"can't connect to Consul at http://127\.0\.0\.1:{port}") as caught:
            call()
        assert "Is the Consul agent running there?" in str(caught.value)
    store.close()


def test_a_name_that_is_none_is_certainly_not_carried_out() -> None:
    store = open_store("consul://consul.invalid:8500", environ={})
    with pytest.raises(StoreUnreachable, match=r"can't connect to Consul at http://consul\.invalid:8500"):
        store.get("state/a")
    store.close()


@pytest.mark.parametrize("mode", ["lose_answer", "cut_answer"])
def test_rule_01_a_write_whose_answer_is_lost_is_unknown_though_it_was_done(
    store: Store, direct: Store, proxy: TcpProxy, mode: str
) -> None:
    store.commit([Put("state/a", b"1")])
    proxy.set(mode)  # type: ignore[arg-type]

    outcome = store.commit([Put("state/a", b"2")])

    assert isinstance(outcome, Unknown)
    assert "broke off" in outcome.why
    entry = direct.get("state/a")
    assert entry is not None
    assert entry.value == b"2"
    proxy.set("pass")
    assert store.get("state/a") == entry, "the same store goes on when the fault is over"


def test_rule_01_a_write_that_is_reset_on_the_way_is_unknown_and_was_not_done(
    store: Store, direct: Store, proxy: TcpProxy
) -> None:
    store.commit([Put("state/a", b"1")])
    proxy.set("swallow")
    threading.Timer(0.3, proxy.set, ["reset"]).start()

    assert isinstance(store.commit([Put("state/a", b"2")]), Unknown)

    entry = direct.get("state/a")
    assert entry is not None
    assert entry.value == b"1"


def test_a_read_is_tried_again_when_the_connection_breaks(store: Store, direct: Store, proxy: TcpProxy) -> None:
    direct.commit([Put("state/a", b"1")])
    proxy.set("lose_answer")
    threading.Timer(0.05, proxy.set, ["pass"]).start()

    entry = store.get("state/a")

    assert entry == direct.get("state/a")
    assert proxy.connections > 1


def test_a_read_that_never_gets_through_says_so_and_is_no_answer(store: Store, proxy: TcpProxy) -> None:
    proxy.set("cut_answer")
    with pytest.raises(StoreUnreachable, match="broke off"):
        store.list("state/")
    proxy.set("reset")
    with pytest.raises(StoreUnreachable):
        store.get("state/a")


def test_no_answer_in_time_is_told_from_a_slow_wait(
    store: Store, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.store.consul_transport.READ_TIMEOUT_S", 0.5)
    store.commit([Put("state/a", b"1")])
    after = store.list("state/").index
    assert store.wait("state/", after, 1.5) >= 0, "a wait may last longer than a call"
    proxy.set("swallow")

    outcome = store.commit([Put("state/a", b"2")])
    assert isinstance(outcome, Unknown)
    assert "did not answer within" in outcome.why
    with pytest.raises(StoreUnreachable, match="did not answer within"):
        store.wait("state/", after, 0.2)


def test_a_wait_that_breaks_is_raised_at_once_for_the_loop_to_look_again(store: Store, proxy: TcpProxy) -> None:
    store.commit([Put("state/a", b"1")])
    after = store.list("state/").index
    threading.Timer(0.2, proxy.set, ["reset"]).start()
    with pytest.raises(StoreUnreachable):
        store.wait("state/", after, 30)


@pytest.mark.slow
def test_without_a_leader_reads_and_writes_say_so(start_consul_cluster: StartCluster) -> None:
    # an agent waits for a leader before it says that there is none, by default 7 s
    consul_cluster = start_consul_cluster(config={"performance": {"raft_multiplier": 1, "rpc_hold_timeout": "2s"}})
    survivor = consul_cluster[0]
    store = survivor.store()
    assert store.commit([Put("state/a", b"1")]) == Committed()
    for agent in consul_cluster[1:]:
        agent.kill()
    wait_until(lambda: not survivor.call("GET", "status/leader"), what="the leader to step down")

    with pytest.raises(StoreNoLeader):
        store.get("state/a")
    with pytest.raises(StoreNoLeader):
        store.commit([Put("state/a", b"2")])
    with pytest.raises(StoreNoLeader):
        store.open_session("agent", 6)
    assert [each for each in store.agent.services().values() if each.name == "reconciler"] == []

    for agent in consul_cluster[1:]:
        agent.launch()
    survivor.wait_leader()
    entry = store.get("state/a")
    assert entry is not None
    assert entry.value == b"1", "what was refused for want of a leader did not happen"
    assert store.commit([Put("state/a", b"3")]) == Committed()
    store.close()


def test_a_session_outlives_a_change_of_leader(consul_cluster: list[ConsulAgent]) -> None:
    leader = consul_cluster[0].call("GET", "status/leader").partition(":")[0]
    follower = next(agent for agent in consul_cluster if agent.address != leader)
    store = follower.store()
    keeper = SessionKeeper(store, "scheduler", 6.0)
    keeper.start()
    assert keeper.wait_open(20)
    session_id = keeper.session_id
    assert session_id is not None
    assert store.commit([Acquire("schedulers/x", b"", session_id)]) == Committed()

    next(agent for agent in consul_cluster if agent.address == leader).kill()

    def moved() -> bool:
        return follower.call("GET", "status/leader").partition(":")[0] not in ("", leader)

    wait_until(moved, timeout_s=30, what="another leader")
    wait_until(lambda: keeper.session_id == session_id, timeout_s=20, what="the session to be renewed")
    entry = store.get("schedulers/x")
    assert entry is not None
    assert entry.holder == session_id
    keeper.close()
    store.close()


def test_an_agent_that_forgot_everything_looks_wiped(start_consul: StartConsul) -> None:
    agent = start_consul()
    store = agent.store()
    sentinel.ensure(store, "id-1")
    for number in range(30):
        store.commit([Put("state/n", str(number).encode())])
    session = store.open_session("agent", 6)
    after = store.list("state/").index

    agent.restart()

    wait_until(lambda: store.wait("state/", after, 0.2) == 0, what="the index to go back")
    assert store.list("state/").entries == ()
    assert session.renew() is False
    with pytest.raises(StoreError, match="holds no store of this program"):
        sentinel.read(store)
    store.close()


def test_an_agent_that_restarts_with_its_data_keeps_sessions_and_keys(start_consul: StartConsul) -> None:
    agent = start_consul(is_dev=False)
    store = agent.store()
    session = store.open_session("agent", 15)
    assert store.commit([Acquire("state/hosts/web", b"up", session.id)]) == Committed()
    after = store.list("state/").index

    agent.restart()

    wait_until(lambda: store.get("state/hosts/web") is not None, what="the store to answer")
    (check,) = [each for each in store.agent.checks().values() if each.service_name == "reconciler"]
    assert check.status == "passing", "the servers hear that it is critical before its process can say otherwise"
    assert session.renew() is True
    entry = store.get("state/hosts/web")
    assert entry is not None
    assert entry.holder == session.id
    assert store.list("state/").index >= after
    session.close()
    store.close()


def test_a_frozen_agent_does_not_hang_its_callers(start_consul: StartConsul, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = start_consul()
    store = agent.store()
    store.commit([Put("state/a", b"1")])
    agent.pause()

    with monkeypatch.context() as patched:
        patched.setattr("reconciler.store.consul_transport.READ_TIMEOUT_S", 0.5)
        with pytest.raises(StoreUnreachable, match="did not answer"):
            store.get("state/a")
        assert isinstance(store.commit([PutIf("state/late", b"", 0)]), Unknown)

    agent.resume()
    wait_until(lambda: store.get("state/late"), what="the write that was unknown to happen late")
    store.close()


def test_what_consul_itself_finds_too_large_is_told_so(start_consul: StartConsul) -> None:
    agent = start_consul(config={"limits": {"kv_max_value_size": 10_000, "txn_max_req_len": 20_000}})
    store = agent.store()
    with pytest.raises(StoreTooLarge):
        store.commit([Put("state/a", b"x" * 30_000)])
    store.close()


def test_something_that_is_no_consul_is_not_taken_for_one() -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<html>Welcome</html>"
            self.send_response(301 if "moved" in self.path else 200)
            self.send_header("Location", "/somewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET  # noqa: N815 - named by the standard library

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    store = open_store(f"consul://127.0.0.1:{server.server_port}", environ={})
    with pytest.raises(StoreError, match="does not answer as Consul does"):
        store.get("state/a")
    with pytest.raises(StoreError, match="Is that a Consul"):
        store.get("state/moved")
    assert isinstance(store.commit([Put("state/a", b"")]), Unknown)
    store.close()
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_the_token_is_in_a_header_of_every_call_and_nowhere_else(
    consul: ConsulAgent, proxy: TcpProxy, caplog: pytest.LogCaptureFixture
) -> None:
    token = "6d1f5a0e-0000-4000-8000-00c0ffee0000"
    caplog.set_level(logging.DEBUG)
    environ = {"CONSUL_HTTP_TOKEN": token, "CONSUL_HTTP_ADDR": "192.0.2.1:1"}
    store = open_store(f"consul://{proxy.hostport}/token-test", environ=environ)
    assert isinstance(store, ConsulStore)
    session = store.open_session("agent web", 30)
    store.commit([Acquire("state/a", b"1", session.id), Put("state/b", b"")])
    session.renew()
    store.get("state/a")
    after = store.list("state/").index
    store.wait("state/", after, 0.05)
    store.wait("state/a", after, 0.05)
    store.resume_session(session.id, "agent web", 20)
    node = store.agent.identity().node
    store.agent.checks()
    store.agent.node_checks(node)
    session.close()
    proxy.set("reset")
    with pytest.raises(StoreError) as caught:
        store.get("state/a")
    store.close()

    requests = [each for each in bytes(proxy.sent).split(b"HTTP/1.1\r\n") if each]
    lines = [line for line in bytes(proxy.sent).split(b"\r\n") if b" HTTP/1.1" in line]
    assert len(lines) > 12
    assert bytes(proxy.sent).count(f"X-Consul-Token: {token}".encode()) == len(lines) == len(requests) - 1
    assert not [line for line in lines if token.encode() in line]
    assert token not in caplog.text
    assert token not in str(caught.value)
    assert token not in repr(caught.value.__cause__)
    assert token not in store.url


def test_a_token_file_is_read(consul_acl: ConsulAgent, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{consul_acl.token}\n")
    store = open_store(consul_acl.new_url(), environ={"CONSUL_HTTP_TOKEN_FILE": str(file)})
    assert store.commit([Put("state/a", b"")]) == Committed()
    store.close()


def test_a_token_that_consul_does_not_know_is_denied(consul_acl: ConsulAgent) -> None:
    token = "11111111-1111-1111-1111-111111111111"
    store = open_store(consul_acl.new_url(), environ={"CONSUL_HTTP_TOKEN": token})
    for call in (
        lambda: store.get("state/a"),
        lambda: store.list("state/"),
        lambda: store.commit([Put("state/a", b"")]),
        lambda: store.open_session("agent", 6),
    ):
        with pytest.raises(StoreDenied) as caught:
            call()
        assert "CONSUL_HTTP_TOKEN" in str(caught.value)
        assert token not in str(caught.value)
    store.close()


def test_two_roots_in_one_consul_do_not_see_each_other(consul: ConsulAgent) -> None:
    one, two = consul.store(), consul.store()
    below = open_store(one.url + "/below", environ={})
    one.commit([Put("state/a", b"1")])
    below.commit([Put("state/b", b"2")])

    assert two.list("").entries == ()
    assert [entry.key for entry in one.list("").entries] == ["below/state/b", "state/a"]
    assert [entry.key for entry in below.list("").entries] == ["state/b"]
    assert sentinel.ensure(two, "id-2") == "id-2"
    for each in (one, two, below):
        each.close()


def test_a_root_with_characters_that_urls_escape_works(consul: ConsulAgent) -> None:
    store = open_store(f"{consul.new_url()}/team%20ä/x+y", environ={})
    store.commit([Put("state/a", b"1")])
    assert [entry.key for entry in store.list("").entries] == ["state/a"]
    keys = consul.call("GET", "kv/?keys")
    assert any(key.endswith("/team ä/x+y/state/a") for key in keys)
    store.close()


def test_a_crashed_process_leaves_nothing_that_consul_does_not_remove(consul: ConsulAgent) -> None:
    store = consul.store()
    before = set(store.agent.services())
    session = store.open_session("scheduler default", 1.0)
    (service,) = [each for each in store.agent.services().values() if each.id not in before]
    assert service.meta == {"process": "scheduler default", "ttl_s": "1"}
    checks = {check.service_id: check for check in store.agent.checks().values()}
    assert checks[service.id].status == "passing"
    wait_until(lambda: not session_lives(consul, session.id), what="the session to end")
    assert session.renew() is False
    assert service.id not in store.agent.services(), "what is gone is cleaned up by its owner, or by Consul after 1 min"
    store.close()


def session_lives(consul: ConsulAgent, session_id: str) -> bool:
    return bool(consul.call("GET", f"session/info/{session_id}"))


def test_a_session_that_is_closed_leaves_no_service(consul: ConsulAgent) -> None:
    store = consul.store()
    before = set(store.agent.services())
    session = store.open_session("agent web", 30)
    assert len(set(store.agent.services()) - before) == 1
    session.close()
    assert set(store.agent.services()) == before
    assert not session_lives(consul, session.id)
    store.close()
