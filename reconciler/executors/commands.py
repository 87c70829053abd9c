"""Runs a command of an operator to its end, with a deadline and bounded output: setup, stop and check scripts.

What it starts stands in a session of its own, so that all of it can be ended at the deadline. The environment begins
from a few harmless variables and never from the agent's own, which holds tokens.
"""

import contextlib
import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from reconciler.errors import ExecutorError
from reconciler.executors.users import User

OUTPUT_BYTES: Final = 4096
_CUT: Final = b"[...]\n"
_WAY_S: Final = 10.0
_PASSED_ON: Final = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR")
_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Ended(msgspec.Struct, frozen=True):
    """How a command ended: ``exit_code`` None at its deadline; the last of what it wrote, both streams in order.

    ``cut``: there was more of it before.
    """

    exit_code: int | None
    output: bytes
    cut: bool = False

    @property
    def text(self) -> str:
        """The output for people, in whole lines: in a part of a line nobody would know a secret again, to hide it."""
        shown = _CUT + self.output.partition(b"\n")[2] if self.cut else self.output
        return shown.decode(errors="replace").strip()


def base_environment() -> dict[str, str]:
    """What every process of a task gets beside its own variables."""
    base = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    base.setdefault("PATH", _DEFAULT_PATH)
    return base


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout_s: float,
    cwd: Path | None = None,
    output_bytes: int = OUTPUT_BYTES,
    user: User | None = None,
    is_cut: Callable[[], bool] = lambda: False,
) -> Ended:
    """Run ``argv`` to its end, or kill it and everything in its session's group after ``timeout_s``.

    ``user``: as whom; None: as this process. ``is_cut``: whether to behave as at the deadline already.

    Children that it leaves behind in the background are let be, unless the deadline struck.

    Raises:
        ExecutorError: it could not be started at all.
    """
    deadline = time.monotonic() + timeout_s
    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=user.groups if user else None,
        )
    except OSError as error:
        raise ExecutorError(f"cannot run {argv[0]}: {error.strerror or error}") from error
    with process:
        if process.stdout is None:
            raise ExecutorError(f"cannot read what {argv[0]} writes")
        output = _Tail(process.stdout.fileno(), output_bytes)
        pause_s = 0.001
        while process.poll() is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or is_cut():
                _kill_group(process.pid)
                process.wait()
                output.read(0)
                return Ended(None, output.kept, output.cut)
            # Its end shows on the pipe, unless a child in the background keeps that open.
            output.read(min(left_s, pause_s))
            pause_s = min(pause_s * 2, 0.05)
        output.read(0)
        return Ended(process.returncode, output.kept, output.cut)


def require_way(user: User, folder: Path) -> None:
    """Make sure that ``user`` can get to ``folder``, where its task is to run.

    Raises:
        ExecutorError: it can't, since a folder above is closed to others; permanent.
    """
    closed = [above for above in (*reversed(folder.parents), folder) if not above.stat().st_mode & stat.S_IXOTH]
    if not closed:
        return
    # it may be let in all the same, by its group or by an access list
    ended = run(["/bin/sh", "-c", 'cd "$0"', str(folder)], environment={}, timeout_s=_WAY_S, user=user)
    if ended.exit_code != 0:
        raise ExecutorError(
            f"user {user.name} can't get to the folders of tasks: {closed[0]} is closed to others",
            hint=f"chmod o+x {closed[0]}",
            permanent=True,
        )


def run_script(
    script: str,
    *,
    environment: Mapping[str, str],
    timeout_s: float,
    cwd: Path,
    file: Path | None = None,
    is_cut: Callable[[], bool] = lambda: False,
) -> Ended:
    """Run ``script`` with ``bash -e``; from ``file`` if given, so that no argument list bounds its length."""
    if file is None:
        return run(["bash", "-e", "-c", script], environment=environment, timeout_s=timeout_s, cwd=cwd, is_cut=is_cut)
    file.write_text(script, encoding="utf-8")
    return run(["bash", "-e", str(file)], environment=environment, timeout_s=timeout_s, cwd=cwd, is_cut=is_cut)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


class _Tail:
    """Reads a pipe without ever blocking on it for long, and keeps the end of what came."""

    def __init__(self, fd: int, most_bytes: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._most_bytes = most_bytes
        self._open = True
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self.kept = b""
        self.cut = False

    def read(self, timeout_s: float) -> None:
        """Take what is there now; wait up to ``timeout_s`` for the first of it."""
        if not self._open:
            time.sleep(timeout_s)
            return
        if not self._poll.poll(timeout_s * 1000):
            return
        for _ in range(64):  # a flood must not keep us from looking at the deadline
            try:
                chunk = os.read(self._fd, 65536)
            except BlockingIOError:
                return
            if not chunk:
                self._open = False
                return
            self.cut = self.cut or len(self.kept) + len(chunk) > self._most_bytes
            self.kept = (self.kept + chunk)[-self._most_bytes :]
