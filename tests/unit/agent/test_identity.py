"""Who an agent is: a machine that stays the same, and one agent per host name on it."""

import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.agent import identity
from reconciler.agent.identity import HostLock
from reconciler.agent.settings import AgentSettings
from reconciler.errors import UsageError

HOLDS_THE_LOCK = """
import pathlib, sys
from reconciler.agent.identity import HostLock
from reconciler.agent.settings import AgentSettings
lock = HostLock(AgentSettings(host="h1", address="", runtime_dir=pathlib.Path(sys.argv[1])), "store")
lock.take()
print("held", flush=True)
sys.stdin.read()
"""


def settings(folder: Path, host: str = "h1") -> AgentSettings:
    return AgentSettings(host=host, address="127.0.0.1", runtime_dir=folder)


def test_a_machine_keeps_its_id_and_never_shows_the_systems_own(tmp_path: Path) -> None:
    system = tmp_path / "machine-id"
    system.write_text("0123456789abcdef0123456789abcdef\n")
    first = identity.machine(tmp_path / "a", system)
    assert first == identity.machine(tmp_path / "b", system)
    assert first not in system.read_text()
    assert system.read_text().strip() not in first


@pytest.mark.parametrize("content", [None, ""])
def test_a_machine_without_an_id_is_given_one_that_stays(tmp_path: Path, content: str | None) -> None:
    system = tmp_path / "machine-id"
    if content is not None:
        system.write_text(content)
    first = identity.machine(tmp_path / "run", system)
    assert first == identity.machine(tmp_path / "run", system)
    assert first != identity.machine(tmp_path / "elsewhere", system)


def test_agents_of_two_hosts_on_one_machine_have_two_identities(tmp_path: Path) -> None:
    first = identity.owner(settings(tmp_path, "h1"), "s")
    second = identity.owner(settings(tmp_path, "h2"), "s")
    assert first != second
    assert first.machine.partition("@")[2] == second.machine.partition("@")[2]


def test_a_second_agent_of_the_same_name_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLDS_THE_LOCK, str(tmp_path)]
    holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=rf"process {holder.pid}\b") as caught:
            HostLock(settings(tmp_path), "store").take()
        assert "--host" in str(caught.value)
        HostLock(settings(tmp_path, "h2"), "store").take()
        HostLock(settings(tmp_path), "another store").take()
        # however the holder dies, the name is free at once
        holder.kill()
        holder.wait()
        HostLock(settings(tmp_path), "store").take()


def test_the_next_process_finds_the_session_of_the_last_one(tmp_path: Path) -> None:
    lock = HostLock(settings(tmp_path), "store")
    lock.take()
    assert lock.last_session() is None
    lock.note_session("abc")
    lock.release()
    assert HostLock(settings(tmp_path), "store").last_session() == "abc"
    assert HostLock(settings(tmp_path), "another").last_session() is None


def test_a_host_tells_what_it_has(tmp_path: Path) -> None:
    state = identity.host_state(settings(tmp_path), ("bash",))
    assert state.memory > 0
    assert state.cpu_units % 1024 == 0
    assert state.disk > 0
    assert state.executors == ("bash",)
    assert state.attributes["os"] == "linux"
    assert state == identity.host_state(settings(tmp_path), ("bash",))


def test_a_runtime_folder_that_can_not_be_made_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--runtime-dir"):
        HostLock(settings(tmp_path / "file"), "store").take()
