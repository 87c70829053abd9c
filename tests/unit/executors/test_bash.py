"""What is special to plain processes; what all executors share is in ``tests/executor_contract``."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reconciler.errors import ExecutorError
from reconciler.executors.bash import Bash
from reconciler.executors.interface import Observed, Owner, Ref, Spec, StartCancelled, Values
from reconciler.executors.naming import Marks, instance_name, marks_of, to_environment
from reconciler.executors.processes import Process, ProcessTable, alive, look
from reconciler.executors.task_folder import TaskFolder
from reconciler.model.manifests import BashContainer, BashExecutor, DockerContainer, DockerExecutor
from tests.support.endless_server import EndlessServer
from tests.support.wait import wait_until


class Host:
    """A host's bash executor and its folder."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.owner = Owner(uuid.uuid4().hex, "machine")
        self.executor = Bash(self.owner, folder, **options)

    def spec(self, *start: str, attempt: int = 1, setup: tuple[str, ...] = (), **fields: Any) -> Spec:
        container = BashContainer(name="main", executor=BashExecutor(start=start, **fields), setup=setup)
        return Spec(
            ref=Ref("c-web-1-0", 1, "main"),
            container=container,
            digest="digest",
            attempt=attempt,
            environment={"GREETING": "hello"},
            address="127.0.0.1",
        )

    def task(self, spec: Spec) -> TaskFolder:
        return TaskFolder(self.folder / "tasks" / instance_name(self.owner, spec.ref))

    def processes(self, spec: Spec) -> list[Process]:
        found = ProcessTable().scan().get((self.owner, spec.ref))
        return list(found.own) if found else []

    def output(self, spec: Spec) -> str:
        return self.executor.logs(spec.ref, 1000).decode()

    def ready(self, spec: Spec, word: str = "ready") -> Spec:
        self.executor.start(spec)
        wait_until(lambda: word in self.output(spec), what=f"{word} in the output")
        return spec

    def seen(self) -> Observed:
        found = [each for each in self.executor.observe() if each.owner == self.owner]
        assert len(found) == 1
        return found[0]

    def ended(self) -> Observed:
        return wait_until(lambda: (seen := self.seen()) and (None if seen.running else seen), what="it has ended")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "run", log_bytes=20_000, setup_timeout_s=20)
    yield host
    host.executor.stop(Ref("c-web-1-0", 1, "main"), None, 0)
    host.executor.close()


def test_a_stop_looks_at_all_processes_twice_at_most(host: Host) -> None:
    spec = host.ready(host.spec("echo ready; exec sleep 600"))
    before = host.executor._table.looks
    host.executor.stop(spec.ref, spec.container, 20)
    host.executor.remove(spec.ref)
    assert host.executor._table.looks - before == 2, "what is there, and what is left; removing needs no third one"
    host.executor.start(spec)
    with pytest.raises(ExecutorError, match="still runs"):
        host.executor.remove(spec.ref)


def test_setup_and_start_are_one_script(host: Host) -> None:
    spec = host.ready(host.spec("echo $value in $PWD", "echo ready", "exec sleep 600", setup=("value=7", "cd /")))
    assert host.output(spec) == "7 in /\nready\n"


def test_the_first_command_that_fails_ends_it(host: Host) -> None:
    host.executor.start(host.spec("false", "echo never"))
    assert host.ended().exit_code == 1


def test_it_works_in_a_folder_of_its_own_that_every_attempt_finds_empty(host: Host) -> None:
    spec = host.spec("ls", "touch left-behind", "echo done")
    host.executor.start(spec)
    host.ended()
    assert (host.task(spec).work / "left-behind").exists()
    again = host.spec("ls", "echo done", attempt=2)
    host.executor.start(again)
    host.ended()
    # what the attempt before wrote can still be read
    assert host.output(again) == "done\ndone\n"


def test_it_works_where_its_artifact_is(host: Host, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho I am in $(pwd)\n")
    folder = tmp_path / "opt/tools"
    spec = host.spec("./tool", artifact=f"file://{tmp_path}/tool", download_dir=str(folder))
    host.executor.prepare(spec)
    host.executor.start(spec)
    assert host.ended().exit_code == 0
    assert host.output(spec) == f"I am in {folder}\n"
    host.executor.remove(spec.ref)
    assert (folder / "tool").exists()


def test_a_relative_download_folder_is_in_the_tasks_own(host: Host, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho here\n")
    spec = host.spec("./tool", artifact=f"file://{tmp_path}/tool", download_dir="sub/bin")
    host.executor.start(spec)
    host.ended()
    assert (host.task(spec).work / "sub/bin/tool").exists()
    with pytest.raises(ExecutorError, match="leads out"):
        host.executor.start(host.spec("true", attempt=2, download_dir="../../x"))


def test_an_artifact_that_is_missing_is_the_reason_why_it_did_not_start(host: Host) -> None:
    spec = host.spec("./tool", artifact="file:///no/such/tool")
    with pytest.raises(ExecutorError, match="no such file") as caught:
        host.executor.start(spec)
    assert caught.value.permanent
    assert "no such file" in host.seen().reason


def test_stop_commands_run_first_and_in_the_tasks_world(host: Host) -> None:
    spec = host.spec(
        "trap 'echo asked by signal; exit 0' TERM",
        # what comes after its last word is no matter of time: a signal then says nothing
        "echo ready; until [ -e stopping ]; do sleep 0.05; done; echo asked by file; trap '' TERM; touch over",
        stop=("touch stopping", 'echo "$GREETING from stop"', "until [ -e over ]; do sleep 0.05; done"),
    )
    host.ready(spec)
    host.executor.stop(spec.ref, None, 20)
    output = host.output(spec)
    assert "asked by file" in output
    assert "hello from stop" in output
    assert "asked by signal" not in output
    assert host.seen().exit_code == 0


def test_stop_commands_that_hang_or_fail_do_not_keep_it_alive(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    spec = host.ready(host.spec("echo ready", "exec sleep 600", stop=("sleep 600",)))
    host.executor.stop(spec.ref, None, 0.5)
    assert host.processes(spec) == []
    again = host.ready(
        host.spec("echo ready again", "exec sleep 600", stop=("echo hunter2; exit 3",), attempt=2), "ready again"
    )
    host.executor.stop(again.ref, None, 20)
    assert "ended with exit code 3" in caplog.text
    assert "hunter2" in host.output(again)
    assert "hunter2" not in caplog.text, "it may be a secret: it is the task's own"
    assert host.seen().reason == "killed by SIGTERM"


def test_a_daemon_is_the_task_and_is_stopped_with_it(host: Host) -> None:
    spec = host.spec("setsid bash -c 'echo ready; exec sleep 600' &", "sleep 0.3")
    host.ready(spec)
    wait_until(lambda: len(host.processes(spec)) == 1, what="only the daemon is left")
    (daemon,) = host.processes(spec)
    assert host.seen().running
    host.executor.stop(spec.ref, None, 20)
    assert not alive(daemon)
    assert host.seen().exit_code == 0


def test_the_end_of_a_daemon_is_news(host: Host) -> None:
    spec = host.spec("setsid bash -c 'echo ready; exec sleep 600' &", "sleep 0.3")
    host.ready(spec)
    wait_until(lambda: len(host.processes(spec)) == 1, what="only the daemon is left")
    host.executor.observe()
    wait_until(lambda: not host.executor.wait(0.3), what="no more news")
    os.kill(host.processes(spec)[0].pid, signal.SIGKILL)
    assert host.executor.wait(20)
    assert not host.seen().running


def test_children_that_ignore_the_signal_are_killed_with_the_rest(host: Host) -> None:
    spec = host.ready(host.spec("(trap '' TERM; while :; do sleep 0.1; done) &", "echo ready", "exec sleep 600"))
    assert len(host.processes(spec)) >= 3
    host.executor.stop(spec.ref, None, 1)
    assert host.processes(spec) == []


def test_signals_that_the_agent_ignores_reach_a_task(host: Host) -> None:
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        spec = host.spec("grep -E 'SigIgn|SigBlk' /proc/self/status")
        host.executor.start(spec)
    finally:
        signal.signal(signal.SIGPIPE, before)
    host.ended()
    masks = [int(line.split()[1], 16) & 0x7FFFFFFF for line in host.output(spec).splitlines()]
    assert masks == [0, 0]


def test_a_task_holds_nothing_open_that_was_the_agents(host: Host) -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    try:
        spec = host.ready(host.spec("echo ready", "exec sleep 600"))
    finally:
        os.close(write_end)
    for process in host.processes(spec):
        targets = {str(Path(f"/proc/{process.pid}/fd/{fd}").readlink()) for fd in ("0", "1", "2")}
        assert targets == {"/dev/null", str(host.task(spec).output)}
    os.set_blocking(read_end, False)
    assert os.read(read_end, 1) == b"", "the pipe is still open somewhere"
    os.close(read_end)


def test_a_killed_shim_leaves_the_task_running_and_its_end_known_as_unknown(host: Host) -> None:
    spec = host.ready(host.spec("echo ready", "exec sleep 600"))
    shim = next(process for process in host.processes(spec) if process.leads)
    os.kill(shim.pid, signal.SIGKILL)
    wait_until(lambda: not alive(shim), what="the shim is gone")
    assert host.seen().running
    os.kill(host.processes(spec)[0].pid, signal.SIGKILL)
    ended = host.ended()
    assert (ended.exit_code, ended.reason) == (None, "killed; its exit code is not known")


def test_a_start_that_was_cut_off_is_seen_as_ended_and_can_be_done_again(host: Host) -> None:
    spec = host.spec("echo ready", "exec sleep 600")
    # as far as an agent comes that is killed just before it starts the process
    host.task(spec).begin(marks_of(spec, host.owner), 1.0)
    seen = host.seen()
    assert (seen.running, seen.exit_code, seen.reason) == (False, None, "its start was cut off")
    host.ready(spec)
    assert host.seen().running


def test_a_start_that_is_cancelled_while_it_fetches_is_no_attempt_and_leaves_no_secret(
    host: Host, endless_server: EndlessServer
) -> None:
    spec = host.spec("exec ./tool", artifact=f"http://{endless_server.hostport}/tool")
    spec = msgspec.structs.replace(spec, values=Values(files={"password": b"hunter2"}))
    with pytest.raises(StartCancelled):
        host.executor.start(spec, endless_server.asked.is_set)
    assert [each for each in host.executor.observe() if each.owner == host.owner] == []
    assert list(host.folder.rglob("password")) == []
    endless_server.content = b"#!/bin/sh\nexec sleep 600\n"
    host.executor.start(spec)
    assert host.seen().running


def test_an_agent_killed_during_setup_leaves_a_start_that_goes_on(host: Host) -> None:
    spec = host.spec("echo started", "exec sleep 600", setup=("echo ready", "while [ ! -e go ]; do sleep 0.05; done"))
    starting = threading.Thread(target=host.executor.start, args=(spec,))
    starting.start()
    wait_until(lambda: "ready" in host.output(spec), what="setup has begun")
    successor = Bash(host.owner, host.folder)
    try:
        assert [each.running for each in successor.observe() if each.owner == host.owner] == [True]
        (host.task(spec).work / "go").touch()
        successor.start(spec)
        starting.join(20)
        assert host.output(spec) == "ready\nstarted\n"
    finally:
        successor.close()


def test_setup_that_never_ends_is_cut(tmp_path: Path) -> None:
    host = Host(tmp_path / "run", setup_timeout_s=0.5)
    spec = host.spec("echo never", setup=("sleep 600",))
    with pytest.raises(ExecutorError, match=r"took more than 0\.5 s"):
        host.executor.start(spec)
    assert host.processes(spec) == []
    assert host.seen().reason
    host.executor.close()


def test_a_setup_that_fails_says_so_afterwards_too(host: Host) -> None:
    with pytest.raises(ExecutorError):
        host.executor.start(host.spec("echo never", setup=("exit 9",)))
    assert (host.seen().exit_code, host.seen().reason) == (9, "setup ended with exit code 9")


def test_a_setup_that_fails_is_told_with_its_own_words_and_none_of_an_earlier_attempts(host: Host) -> None:
    host.ready(host.spec("printf 'ready with an old password'"))
    host.ended()
    with pytest.raises(ExecutorError) as caught:
        host.executor.start(host.spec("echo never", setup=("echo no such table; exit 9",), attempt=2))
    assert caught.value.hint == "no such table"


@pytest.mark.parametrize(
    ("start", "setup", "where"),
    [("if true; then", "", "start of main"), ("echo 'fine'", "echo 'open", "setup of main"), ("fi", "", "line 2")],
)
def test_bad_bash_is_refused_with_the_place(host: Host, start: str, setup: str, where: str) -> None:
    with pytest.raises(ExecutorError, match=where) as caught:
        host.executor.start(host.spec(start, setup=(setup,) if setup else ()))
    assert caught.value.permanent
    assert "not valid bash" in host.seen().reason


def test_a_restart_of_the_host_is_a_reason(host: Host) -> None:
    spec = host.spec("true")
    folder = host.task(spec)
    folder.begin(marks_of(spec, host.owner), 1.0)
    attempt = folder.attempt()
    assert attempt is not None
    assert folder.ended(attempt, "another boot").reason == "the host was restarted"


def test_the_log_is_cut_while_the_task_runs_without_any_restart(host: Host) -> None:
    spec = host.ready(host.spec("seq 1 30000", "echo ready", "sleep 0.5", "seq 1 10", "exec sleep 600"))
    host.executor.wait(0)
    wait_until(lambda: "\n10\n" in host.output(spec), what="what it wrote after the cut")
    folder = host.task(spec)
    assert folder.output.stat().st_size < 20_000
    assert host.output(spec).endswith("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n")


def test_who_only_looks_cuts_no_log(host: Host) -> None:
    spec = host.ready(host.spec("seq 1 30000", "echo ready", "exec sleep 600"))
    long = host.task(spec).output.stat().st_size
    host.executor.observe()
    assert host.task(spec).output.stat().st_size == long


def test_a_processes_environment_is_in_no_file(host: Host) -> None:
    spec = host.ready(host.spec("echo ready", "exec sleep 600"))
    for path in host.folder.rglob("*"):
        if path.is_file():
            assert b"hello" not in path.read_bytes(), path
    assert (host.task(spec).path.stat().st_mode & 0o777) == 0o700


def test_folders_and_files_that_are_none_of_ours_are_passed_over(host: Host) -> None:
    tasks = host.folder / "tasks"
    (tasks / "empty").mkdir(parents=True)
    (tasks / "broken").mkdir()
    (tasks / "broken/attempt.json").write_text("{")
    (tasks / "a-file").write_text("x")
    assert [each for each in host.executor.observe() if each.owner == host.owner] == []


def test_a_process_whose_folder_was_deleted_is_still_seen_and_stopped(host: Host) -> None:
    spec = host.ready(host.spec("echo ready", "exec sleep 600"))
    host.task(spec).remove()
    seen = host.seen()
    assert seen.running
    assert abs(seen.started_at - time.time()) < 120
    host.executor.stop(spec.ref, None, 20)
    assert host.processes(spec) == []


def test_a_container_of_another_type_is_refused(host: Host) -> None:
    spec = Spec(
        ref=Ref("c-web-1-0", 1, "main"),
        container=DockerContainer(name="main", executor=DockerExecutor(image="x")),
        digest="d",
        attempt=1,
        environment={},
        address="127.0.0.1",
    )
    with pytest.raises(ExecutorError, match="type docker") as caught:
        host.executor.start(spec)
    assert caught.value.permanent


def test_a_disk_that_cannot_be_written_is_an_error_that_passes(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder should be")
    host = Host(tmp_path / "run")
    with pytest.raises(ExecutorError, match="cannot write") as caught:
        host.executor.start(host.spec("true"))
    assert not caught.value.permanent
    host.executor.close()


def test_ended_shims_do_not_pile_up_as_zombies(host: Host) -> None:
    spec = host.spec("exit 0")
    host.executor.start(spec)
    host.ended()
    host.executor.observe()
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    assert all(look(int(pid)) is not None for pid in children)


def test_marks_cannot_be_forged_by_the_definition(host: Host) -> None:
    spec = host.spec("echo ready", "exec sleep 600")
    forged = to_environment(Marks(Owner("another store", "machine"), Ref("x", 1, "main"), "d", 1))
    host.ready(msgspec.structs.replace(spec, environment=forged))
    assert host.seen().running
