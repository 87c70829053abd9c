"""Starts the process of a bash task: a shell that outlives everybody's signals to write down how the task ended.

The agent is not needed by it: the shim stands in a session of its own, writes to a file, and leaves the exit status
where the next agent finds it. It is a shell and not Python because there is one for each task. It has the task's
environment, which decides what any program does (``PATH``, ``LD_PRELOAD``), so it has no more rights than the task.
"""

import contextlib
import hashlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from reconciler.errors import ExecutorError
from reconciler.executors.processes import Process, look
from reconciler.executors.users import User

# A trap (and not an ignored signal, which children would inherit) keeps the shell until its child has ended. Its own
# variables have long names because a task may have such of its own, which the child must get unchanged. All that it
# does itself is built in: nothing is looked up in the task's PATH, which may lead nowhere.
SHIM: Final = """\
# shim FOLDER WORK COMMAND...: waits for its agent's word, runs the command in WORK, and leaves its exit status in
# FOLDER/exit. Without that word (the agent was killed, or could not limit it) nothing is run and nothing is left.
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2
reconciler_shim_folder=$1 reconciler_shim_work=$2 reconciler_shim_code=125
shift 2
read -r reconciler_shim_word && [ "$reconciler_shim_word" = go ] || exit 125
exec </dev/null
if cd "$reconciler_shim_work"; then
  "$@"
  reconciler_shim_code=$?
fi
cd "$reconciler_shim_folder" && echo "$reconciler_shim_code" >exit
"""

_SIGNALS: Final = [number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)]
_children: Final[dict[int, subprocess.Popen[bytes] | None]] = {}
_children_lock: Final = threading.Lock()


def written(folder: Path) -> Path:
    """The shim as a file; never changed once written, because shells read their scripts as they go. Raises OSError."""
    shim = folder / f"shim-{hashlib.sha256(SHIM.encode()).hexdigest()[:8]}"
    if not shim.exists():
        part = shim.with_name(f"{shim.name}.{threading.get_ident()}")
        part.write_text(SHIM, encoding="utf-8")
        part.chmod(0o644)  # whatever the umask is, users of tasks have to read it
        part.replace(shim)
    return shim


def spawn(
    argv: Sequence[str],
    environment: Mapping[str, str],
    output: Path,
    *,
    user: User | None = None,
    admit: Callable[[int], None] = lambda _: None,
) -> Process:
    """Start a shim, given its file and its arguments; what it and all below it write is appended to ``output``.

    ``user``: as whom, from the first instruction on; None: as this process. ``admit`` is called with its id before it
    does anything.

    Raises:
        ExecutorError: no process could be made, or it was not admitted.
    """
    with contextlib.ExitStack() as opened:
        try:
            word, say = os.pipe()
            opened.callback(os.close, word)
            opened.callback(os.close, say)
            # Appending is what lets the log be cut while it is written to.
            log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, log)
            with _children_lock:
                if user is None:
                    pid, child = _as_we_are(argv, environment, word, log), None
                else:
                    child = _as_user(argv, environment, word, log, user)
                    pid = child.pid
                _children[pid] = child
            # It stays at least as a zombie until we reap it; without its start time it has ended already.
            process = look(pid) or Process(pid=pid, started=0, session=pid, group=pid)
            admit(pid)
            os.write(say, b"go\n")
        except OSError as error:
            raise ExecutorError(f"cannot start a process: {error.strerror or error}") from error
    return process


def _as_we_are(argv: Sequence[str], environment: Mapping[str, str], stdin: int, output: int) -> int:
    # what came to us from whoever started us must not stay open as long as a task
    inherited = [(os.POSIX_SPAWN_CLOSE, fd) for fd in _descriptors() if fd > 2 and _inheritable(fd)]
    actions = [
        *inherited,
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    return os.posix_spawn(
        "/bin/sh",
        ["sh", *argv],
        environment,
        file_actions=actions,
        setsid=True,
        setsigmask=[],
        setsigdef=_SIGNALS,
    )


def _as_user(
    argv: Sequence[str], environment: Mapping[str, str], stdin: int, output: int, user: User
) -> subprocess.Popen[bytes]:
    """The rights are given up between fork and exec: so no program ever has root's rights and a task's environment."""
    return subprocess.Popen(
        ["/bin/sh", *argv],
        env=dict(environment),
        stdin=stdin,
        stdout=output,
        stderr=output,
        start_new_session=True,
        user=user.uid,
        group=user.gid,
        extra_groups=user.groups,
    )


def reap() -> None:
    """Take the shims of this process that have ended off the process table."""
    with _children_lock:
        for pid, child in list(_children.items()):
            if child.poll() is not None if child else _reaped(pid):
                del _children[pid]


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names only


def _inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:  # the one that the listing itself had open
        return False
