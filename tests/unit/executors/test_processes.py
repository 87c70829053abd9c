"""Real processes: whose they are, whatever they do to hide it."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.executors import naming
from reconciler.executors.interface import Owner, Ref
from reconciler.executors.naming import Marks, from_environment, instance_name, to_environment
from reconciler.executors.processes import (
    Process,
    ProcessTable,
    TaskProcesses,
    alive,
    kill_until_gone,
    look,
    send,
    wait_for_end,
)
from tests.support.wait import wait_until

Spawn = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def marks() -> Marks:
    return Marks(Owner(uuid.uuid4().hex, "machine"), Ref("default-web-1-0", 7, "main"), "digest", 2)


@pytest.fixture
def spawn(marks: Marks) -> Iterator[Spawn]:
    """Starts marked processes in a session of their own; what is left of them is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str, role: str = "") -> subprocess.Popen[bytes]:
        environment = {"PATH": os.environ["PATH"], **to_environment(marks)}
        if role:
            environment[naming.ROLE] = role
        process = subprocess.Popen(
            ["bash", "-c", script], env=environment, start_new_session=True, stdout=subprocess.PIPE
        )
        started.append(process)
        return process

    yield start
    kill_until_gone(lambda: [*found.own, *found.beside] if (found := find(marks)) else [], 10)
    for process in started:
        with process:
            process.kill()


def find(marks: Marks, table: ProcessTable | None = None) -> TaskProcesses | None:
    return (table or ProcessTable()).scan().get((marks.owner, marks.ref))


def first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def test_marks_survive_the_way_through_an_environment(marks: Marks) -> None:
    assert from_environment({"PATH": "/bin", **to_environment(marks)}) == marks
    assert from_environment({**to_environment(marks), naming.ISSUE: "seven"}) is None
    assert from_environment({"RECONCILER_TASK_ID": "default-web-1-0", "RECONCILER_ISSUE": "7"}) is None


def test_names_are_readable_and_nobody_elses(marks: Marks) -> None:
    name = instance_name(marks.owner, marks.ref)
    assert name.startswith("default-web-1-0.7.main.")
    others = [
        instance_name(Owner("other", "machine"), marks.ref),
        instance_name(Owner(marks.owner.store_id, "other"), marks.ref),
        instance_name(marks.owner, Ref("default-web-1-0", 8, "main")),
    ]
    assert len({name, *others}) == 4
    long = instance_name(marks.owner, Ref("c" * 64 + "-" + "s" * 64 + "-1-0", 1, "n/ä" * 30))
    assert len(long) < 255
    assert long.isascii()
    assert "/" not in long


def test_a_process_is_found_with_its_children(spawn: Spawn, marks: Marks) -> None:
    process = spawn("sleep 600 & echo ready; wait")
    assert first_line(process) == "ready"
    found = find(marks)
    assert found is not None
    assert found.marks == marks
    assert len(found.own) == 2
    assert found.first.pid == process.pid


def test_a_child_that_daemonised_is_found(spawn: Spawn, marks: Marks) -> None:
    process = spawn("setsid setsid bash -c 'echo $$; exec sleep 600' & wait $!")
    daemon = int(first_line(process))
    process.kill()
    process.wait()
    # in the instant of its exec nobody can read its environment
    wait_until(lambda: (found := find(marks)) and daemon in {each.pid for each in found.own}, what="it is found")


def test_a_process_without_marks_is_found_in_the_session_of_one_with_marks(spawn: Spawn, marks: Marks) -> None:
    process = spawn("env -i HIDDEN=1 /bin/sleep 600 & echo $!; wait")
    hidden = int(first_line(process))
    wait_until(lambda: _environ(hidden) == b"HIDDEN=1\0", what="it has changed its environment")
    found = find(marks)
    assert found is not None
    assert hidden in {each.pid for each in found.own}


def test_a_process_that_lost_its_marks_is_known_by_who_saw_it_before(spawn: Spawn, marks: Marks) -> None:
    table = ProcessTable()
    process = spawn("env -i HIDDEN=1 /bin/sleep 600 & echo $!; wait")
    hidden = int(first_line(process))
    wait_until(lambda: _environ(hidden) == b"HIDDEN=1\0", what="it has changed its environment")
    assert find(marks, table)
    process.kill()
    process.wait()
    found = find(marks, table)
    assert found is not None
    assert [each.pid for each in found.own] == [hidden]
    os.kill(hidden, signal.SIGKILL)


def test_some_of_our_marks_are_not_enough(marks: Marks) -> None:
    # as in a docker container's process, which is seen from the host too
    variables = {naming.TASK: marks.ref.task_id, naming.ISSUE: "7", "PATH": os.environ["PATH"]}
    with subprocess.Popen(["sleep", "600"], env=variables, start_new_session=True) as process:
        try:
            assert process.pid not in {each.pid for found in ProcessTable().scan().values() for each in found.own}
        finally:
            process.kill()


def test_check_scripts_stand_beside_the_task(spawn: Spawn, marks: Marks) -> None:
    check = spawn("echo ready; exec sleep 600", role="check")
    first_line(check)
    found = find(marks)
    assert found is not None
    assert found.own == ()
    assert [process.pid for process in found.beside] == [check.pid]
    assert found.marks == marks


def test_a_zombie_does_not_live(spawn: Spawn, marks: Marks) -> None:
    process = spawn("exit 0")
    wait_until(lambda: b") Z " in _stat(process.pid), what="it is a zombie")
    assert look(process.pid) is None
    assert find(marks) is None


def test_a_signal_reaches_only_the_very_process(spawn: Spawn) -> None:
    process = spawn("echo ready; exec sleep 600")
    first_line(process)
    seen = look(process.pid)
    assert seen is not None
    earlier = Process(seen.pid, seen.started - 100, seen.session, seen.group)
    send(earlier, signal.SIGKILL)
    assert alive(seen)
    assert not alive(earlier)
    send(seen, signal.SIGKILL)
    wait_for_end([seen], 10)
    assert not alive(seen)
    send(seen, signal.SIGKILL)


def test_what_forks_all_the_time_is_killed_too(spawn: Spawn, marks: Marks) -> None:
    program = (
        "import os, time\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    if os.fork(): os._exit(0)\n"
        "    time.sleep(0.001)\n"
    )
    process = spawn(f'exec {sys.executable} -c "{program}"')
    first_line(process)
    process.wait()

    def everything() -> list[Process]:
        found = find(marks)
        return list(found.own) if found else []

    def group_is_empty() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    # one look may miss it altogether, but once it is seen its whole group goes at once
    wait_until(lambda: kill_until_gone(everything, 20) and group_is_empty(), what="nothing is left of it")


def test_one_look_at_all_processes_serves_all_who_ask_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    table = ProcessTable()
    looking, go_on, look_once = threading.Event(), threading.Event(), table._scan

    def slow_look() -> Mapping[tuple[Owner, Ref], TaskProcesses]:
        looking.set()
        assert go_on.wait(20)
        return look_once()

    monkeypatch.setattr(table, "_scan", slow_look)
    with ThreadPoolExecutor(20) as threads:
        first = threads.submit(table.scan)
        assert looking.wait(20)
        asked = time.monotonic()
        others = [threads.submit(table.scan, asked) for _ in range(15)]
        go_on.set()
        for each in (first, *others):
            each.result(20)
    assert table.looks == 2, "the look that went on was too old for all of them, and the next one served all"
    table.scan()
    assert table.looks == 3


def _environ(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def _stat(pid: int) -> bytes:
    return Path(f"/proc/{pid}/stat").read_bytes()
