"""What schedulers promise when something goes wrong, with real processes: a bad version, a drain, lost hosts."""

from typing import Any

import pytest

from tests.e2e.conftest import bash_tasks
from tests.support.consul import ConsulAgent, StartConsul
from tests.support.manifests import manifest, service, write
from tests.support.program import Daemon, Program
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow
LIVES, DIES = "exec sleep 1000", "sleep 0.2; exit 3"


def apply(program: Program, start: str, version: int = 1, *, check: str = "", **fields: Any) -> None:
    """A service ``web`` of processes."""
    container = {"name": "web", "type": "bash", "executor": {"start": [start]}}
    checks = [{"script": check, "interval": "1s", "timeout": "1s"}] if check else []
    definition = {"name": "web", "version": version, "containers": [container], "checks": checks}
    content = manifest(cluster="main", services=[service("web", version, **fields)], definitions=[definition])
    program.ok("apply", "-f", str(write(program.folder / "web.json", content)))


def start(program: Program, *hosts: str) -> dict[str, Daemon]:
    """A scheduler, and by name an agent for each host."""
    program.start("scheduler", "--http", "off")
    agents = {host: agent(program, host) for host in hosts}
    await_hosts(program, len(hosts))
    return agents


def await_hosts(program: Program, count: int) -> None:
    wait_until(
        lambda: program.run("hosts").stdout.count(" ok ") == count, timeout_s=40, what=f"{count} hosts", every_s=0.2
    )


def agent(program: Program, host: str) -> Daemon:
    return program.start("agent", "--host", host, "--address", "127.0.0.1", "--executor", "bash", "--http", "off")


def status_says(program: Program, text: str) -> str:
    """What ``reconciler status`` prints, once it says that."""
    found = wait_until(
        lambda: (shown := program.run("status").stdout) and text in shown and shown,
        timeout_s=40,
        what=f"status to say: {text}",
        every_s=0.3,
    )
    assert isinstance(found, str)
    return found


def test_a_version_that_dies_at_each_start_is_taken_back_and_costs_no_task(program: Program) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    start(program, "h1", "h2")
    rollout = {"on_failure": "revert", "deadline": "4s"}
    apply(program, LIVES, rollout=rollout)
    program.healthy("web", 2, version=1)
    before = bash_tasks(program)
    apply(program, DIES, 2, rollout=rollout)
    shown = status_says(program, "version 2 was taken back")
    assert "web ended with exit code 3" in shown
    assert "0, 2 old" in shown, "what serves is shown beside what is wanted"
    program.healthy("web", 2, version=1)
    assert bash_tasks(program) == before, "no old task stopped for it"


def test_past_its_deadline_a_drain_leaves_nothing_on_two_hosts_at_once(program: Program) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    start(program, "h1", "h2")
    apply(program, LIVES, check='[ "$RECONCILER_HOST" != h3 ] || exit 2')
    assert {row["host"] for row in program.healthy("web", 2)} == {"h1", "h2"}
    agent(program, "h3")
    await_hosts(program, 3)
    program.ok("drain", "h1", "--deadline", "10m")
    told = program.ok("drain", "h2", "--deadline", "10m", "--reason", "disk")
    assert "what is left there is replaced at once, whatever min says" in told
    shown = status_says(program, "is healthy: exit code 2")
    assert "overridden: host h2 drains" in shown
    assert {row["host"] for row in program.tasks() if row["health"] == "passing"} == {"h1", "h2"}, (
        "min is kept until then"
    )
    program.ok("drain", "h2", "--deadline", "1ms", "--wait", "--timeout", "30")
    program.ok("drain", "h1", "--deadline", "1ms", "--wait", "--timeout", "30")
    assert {row["host"] for row in program.tasks()} == {"h3"}


@pytest.mark.consul
def test_few_lost_hosts_are_replaced_and_many_are_not_and_what_they_kept_stops(
    program: Program, start_consul: StartConsul
) -> None:
    consul = start_consul()
    program.use(consul.url)
    agents = start(program, "h1", "h2", "h3")
    apply(program, LIVES, desired=3, reschedule_after="1s")
    before = {row["host"]: row["id"] for row in program.healthy("web", 3)}
    running = bash_tasks(program)
    assert set(before) == {"h1", "h2", "h3"}

    for host in ("h2", "h3"):
        agents[host].kill()
        end_session(consul, host)
    shown = status_says(program, "2 of 3 hosts with tasks are missing (h2, h3): nothing is replaced")
    assert "reconciler hosts forget HOST --gone" in shown
    assert {row["id"] for row in program.tasks()} == set(before.values())

    agent(program, "h2")
    replaced = wait_until(
        lambda: [row for row in program.healthy("web", 3) if row["id"] not in before.values()],
        timeout_s=40,
        what="the task of the one that is still gone to run elsewhere",
        every_s=0.3,
    )
    assert len(replaced) == 1
    assert replaced[0]["host"] != "h3"
    assert bash_tasks(program)[before["h2"]] == running[before["h2"]], "who came back kept what ran"

    agent(program, "h3")
    issued = {row["id"] for row in program.tasks()}
    wait_until(lambda: set(bash_tasks(program)) == issued, timeout_s=40, what="the surplus to stop", every_s=0.2)


def end_session(consul: ConsulAgent, host: str) -> None:
    """As Consul does when a machine is gone."""
    (entry,) = consul.call("GET", f"kv/state/hosts/{host}")
    consul.call("PUT", f"session/destroy/{entry['Session']}")
