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
                environment={},
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
    assert host.ended().exit_code is not None, "its end is written down by the agent's own user"


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
