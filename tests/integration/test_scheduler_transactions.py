"""A scheduler's transaction on a bad line to a real Consul: it ends exactly once, or never."""

import signal
from collections.abc import Callable

import pytest

from reconciler.model import keys
from reconciler.model.task import RolloutPhase
from reconciler.store.interface import Store
from tests.support.consul import ConsulAgent
from tests.support.program import Daemon, Program
from tests.support.scheduler_store import PretendAgents, declare_web, head, make_ours, rollout, tasks
from tests.support.tcp_proxy import TcpProxy, Trap
from tests.support.wait import wait_until

pytestmark = [pytest.mark.consul, pytest.mark.slow]

ISSUES = b"/state/tasks/_/main-web-"
"""What only a transaction that issues (or withdraws) tasks has in it."""
WAIT_S = 60.0


def through(proxy: TcpProxy, url: str) -> str:
    """The same store, seen through the proxy."""
    return f"consul://{proxy.hostport}/{url.rpartition('/')[2]}"


def started(store: Store) -> list[str]:
    """What the head says was started: one line for each transaction that did."""
    return [each.what for each in head(store).decisions if each.what.startswith("start ")]


def is_shown_by(daemon: Daemon, store: Store) -> bool:
    entry = store.get(keys.scheduler_lock("main"))
    return entry is not None and entry.holder is not None and f":{daemon.pid}".encode() in entry.value


def is_completed(store: Store) -> bool:
    found = rollout(store)
    return found is not None and found.phase is RolloutPhase.COMPLETED


@pytest.mark.parametrize("how", ["reset", "lose_answer"])
def test_rule_01_a_transaction_that_is_reset_in_the_middle_ends_exactly_once(
    consul: ConsulAgent, tcp_proxy: Callable[[str, int], TcpProxy], program: Program, how: Trap
) -> None:
    url, proxy = consul.new_url(), tcp_proxy(consul.address, consul.http_port)
    store = consul.store(url)
    make_ours(store)
    agents = PretendAgents(store, "h1", "h2")
    proxy.trap(ISSUES, how)
    program.use(through(proxy, url))
    program.start("scheduler", "--http", "127.0.0.1:0")
    declare_web(store, desired=3)
    assert proxy.trapped.wait(WAIT_S), "no task was issued"
    wait_until(lambda: agents.healthy("web", 1, 3), timeout_s=WAIT_S, what="three tasks")
    assert sorted(task.instance for task in tasks(store)) == [0, 1, 2]
    assert len({task.issue for task in tasks(store)}) == 1
    assert len(started(store)) == 1
    # one that never arrived is sent anew; one that did is seen instead, when the store is read again
    assert proxy.sent.count(ISSUES + b"1-0") == (2 if how == "reset" else 1)
    store.close()


def test_rule_01_a_transaction_that_arrives_after_its_sender_was_replaced_is_refused(
    consul: ConsulAgent, tcp_proxy: Callable[[str, int], TcpProxy], program: Program
) -> None:
    url, proxy = consul.new_url(), tcp_proxy(consul.address, consul.http_port)
    store = consul.store(url)
    make_ours(store)
    agents = PretendAgents(store, "h1", "h2")
    proxy.trap(ISSUES, "hold")
    program.use(through(proxy, url))
    frozen = program.start("scheduler", "--http", "127.0.0.1:0", name="frozen")
    declare_web(store, desired=2)
    assert proxy.trapped.wait(WAIT_S), "no task was issued"
    frozen.signal(signal.SIGSTOP)
    try:
        program.use(url)
        other = program.start("scheduler", "--http", "127.0.0.1:0", name="other")
        wait_until(lambda: is_shown_by(other, store), timeout_s=WAIT_S, what="the other one to take over")
        wait_until(lambda: agents.healthy("web", 1, 2), timeout_s=WAIT_S, what="two tasks")
        wait_until(lambda: is_completed(store), timeout_s=WAIT_S, what="it to have nothing more to write")
        issued, seq, answers = tasks(store), head(store).seq, len(proxy.answered)

        proxy.release()
        wait_until(lambda: b"409 Conflict" in proxy.answered[answers:], timeout_s=WAIT_S, what="Consul's refusal")
        assert b"invalid session" in proxy.answered[answers:] or b"current session" in proxy.answered[answers:]
        assert (tasks(store), head(store).seq) == (issued, seq)
    finally:
        frozen.signal(signal.SIGCONT)
    # and awake it stands by
    declare_web(store, desired=3)
    wait_until(lambda: agents.healthy("web", 1, 3), timeout_s=WAIT_S, what="three tasks")
    assert is_shown_by(other, store)
    assert {task.id for task in issued} < {task.id for task in tasks(store)}
    store.close()
