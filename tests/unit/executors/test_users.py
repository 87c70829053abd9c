"""A task as a user of its own: what it may do, and that nothing it does leads the agent astray."""

import os
import pwd
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import ExecutorError
from reconciler.executors import users
from reconciler.executors.bash import Bash
from reconciler.executors.interface import Observed, Owner, Ref, Spec, Values
from reconciler.executors.users import user_of
from reconciler.model.manifests import BashContainer, BashExecutor
from tests.support.wait import wait_until

REF = Ref("c-web-1-0", 1, "main")


class Host:
    """A bash executor that runs as root, in a folder that others may pass through."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can start something as somebody else")
        self.user = pwd.getpwnam("nobody")
        self.folder = Path(tempfile.mkdtemp(prefix="reconciler-users-"))
        self.folder.chmod(0o755)
        self.owner = Owner(uuid.uuid4().hex, "machine")
        self.executor = Bash(self.owner, self.folder)

    def start(
        self,
        *start: str,
        user: str = "nobody",
        attempt: int = 1,
        files: dict[str, bytes] | None = None,
        environment: dict[str, str] | None = None,
        **fields: tuple[str, ...],
    ) -> BashContainer:
        executor = BashExecutor(start=start, user=user, stop=fields.get("stop", ()))
        container = BashContainer(name="main", executor=executor, setup=fields.get("setup", ()))
        self.executor.start(
            Spec(
                ref=REF,
                container=container,
                digest="d",
                attempt=attempt,
                environment=environment or {},
                address="127.0.0.1",
                values=Values(files=files or {}),
            )
        )
        return container

    def output(self) -> str:
        return self.executor.logs(REF, 100).decode()

    def ended(self) -> Observed:
        def look() -> Observed | None:
            (seen,) = [each for each in self.executor.observe() if each.owner == self.owner]
            return None if seen.running else seen

        found = wait_until(look, what="it has ended")
        assert found is not None
        return found

    def close(self) -> None:
        self.executor.stop(REF, None, 0)
        self.executor.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


def test_everything_of_a_task_runs_as_its_user(host: Host) -> None:
    container = host.start(
        'echo "start $(id -u) $USER $HOME"; echo x >here; exec sleep 600',
        setup=('echo "setup $(id -un)"',),
        stop=('echo "stop $(id -un)" && cat here',),
    )
    wait_until(lambda: "start" in host.output(), what="its output")
    checked = host.executor.run_script(REF, "id -un; cat here", {}, 20)
    assert (checked.exit_code, checked.output) == (0, "nobody\nx\n")
    host.executor.stop(REF, container, 20)
    lines = host.output().splitlines()[:4]
    assert lines == ["setup nobody", f"start {host.user.pw_uid} nobody {host.user.pw_dir}", "stop nobody", "x"]
    assert host.ended().exit_code is not None, "how it ended is written down"


def test_a_task_with_a_user_can_write_to_its_own_folder_only(host: Host) -> None:
    host.start("cd ..; for file in exit attempt.json new own/../output.log.1; do echo 0 >$file || :; done; "
               "rm -rf ../* || :; ln -s /etc/passwd output.log.new || :; echo tried; exit 7")  # fmt: skip
    ended = host.ended()
    assert "tried" in host.output()
    assert ended.exit_code == 7
    assert ended.attempt == 1
    host.start("exit 0", attempt=2)
    assert host.ended().exit_code == 0, "the next attempt finds its folders anew"
    host.start('test "$(id -u)" = 0', user="root", attempt=3)
    assert host.ended().exit_code == 0, "and one as the agent's own user too"


def test_it_gets_to_its_folders_whatever_the_umask_is_and_is_told_what_is_closed() -> None:
    before = os.umask(0o077)
    try:
        host = Host()
        host.executor = Bash(host.owner, host.folder / "run" / "bash")
        host.start("exit 0", user="")
        host.start("pwd; exit 7", attempt=2)
        assert host.ended().exit_code == 7
        host.folder.chmod(0o700)
        with pytest.raises(ExecutorError, match=f"user nobody can't get .* {host.folder} is closed") as caught:
            host.start("exit 0", attempt=3)
        assert (caught.value.permanent, caught.value.hint) == (True, f"chmod o+x {host.folder}")
        os.chown(host.folder, 0, host.user.pw_gid)
        host.folder.chmod(0o710)
        host.start("exit 8", attempt=4)
        assert host.ended().exit_code == 8, "its group lets it in"
    finally:
        os.umask(before)
    host.close()


def test_its_secrets_can_be_read_by_its_user_alone(host: Host) -> None:
    host.start('cat "$RECONCILER_SECRETS_DIR/db"; exit 0', files={"db": b"a password"})
    assert host.ended().exit_code == 0
    assert "a password" in host.output()
    (file,) = host.folder.glob("secrets/*/bash/*/db")
    assert (file.stat().st_mode & 0o777, file.stat().st_uid) == (0o400, host.user.pw_uid)


def test_a_user_that_is_not_there_is_a_permanent_error(host: Host) -> None:
    with pytest.raises(ExecutorError, match="there is no user nosuchuser on this host") as caught:
        host.start("exit 0", user="nosuchuser")
    assert caught.value.permanent


def test_an_agent_that_is_not_root_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    own = pwd.getpwnam("nobody")
    monkeypatch.setattr(users.os, "geteuid", lambda: own.pw_uid)
    assert user_of("nobody") is None, "its own user needs no change"
    with pytest.raises(ExecutorError, match="does not run as root") as caught:
        user_of("root")
    assert caught.value.permanent


def test_no_environment_of_a_task_makes_a_program_run_as_root(host: Host) -> None:
    tools = host.folder / "tools"
    tools.mkdir()
    for name in ("bash", "env", "mv", "setpriv", "sh"):
        (tools / name).write_text(f'#!/bin/sh\nid -u >>{tools}/ran-as\nPATH=/usr/bin:/bin exec {name} "$@"\n')
        (tools / name).chmod(0o755)
    (tools / "spy").write_text(f"/usr/bin/id -u >>{tools}/ran-as\n")
    os.chown(tools, host.user.pw_uid, host.user.pw_gid)
    variables = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "ENV": str(tools / "spy"),
        "BASH_ENV": str(tools / "spy"),
        "BASH_FUNC_echo%%": f'() {{ id -u >>{tools}/ran-as; builtin echo "$@"; }}',
        "IFS": "o",
    }
    host.start("exit 3", setup=("true",), stop=("true",), environment=variables)
    assert host.ended().exit_code == 3
    host.start("echo ready; exec sleep 600", stop=("true",), attempt=2, environment=variables)
    wait_until(lambda: "ready" in host.output(), what="its output")
    assert host.executor.run_script(REF, "exit 0", {}, 20).exit_code == 0
    host.executor.stop(REF, None, 20)
    host.ended()
    ran_as = set((tools / "ran-as").read_text().split())
    assert ran_as == {str(host.user.pw_uid)}


def test_how_it_ended_is_known_to_the_agent_after_this_one(host: Host) -> None:
    host.start("echo ready; read -r _ <pipe; exit 9", setup=("mkfifo pipe",))
    wait_until(lambda: "ready" in host.output(), what="its output")
    host.executor.close()
    host.executor = Bash(host.owner, host.folder)
    (pipe,) = host.folder.rglob("pipe")
    pipe.write_text("go\n")
    assert host.ended().exit_code == 9


@pytest.mark.parametrize("trick", ["ln -s /etc/hostname", "mkfifo", "mkdir", "ln -s exit", "echo 9999 >"])
def test_what_a_task_puts_in_place_of_its_exit_status_leads_nobody_astray(host: Host, trick: str) -> None:
    host.start(f"cd ../own; {trick} exit; kill -9 $PPID; exit 0")
    assert host.ended().exit_code is None
