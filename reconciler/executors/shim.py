"""Starts the process of a bash task: a shell that outlives everybody's signals to write down how the task ended.

The agent keeps no pipe to it and is not needed by it: the shim stands in a session of its own, writes to a file, and
leaves the exit status where the next agent finds it. It is a shell and not Python because there is one for each task.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from reconciler.errors import ExecutorError
from reconciler.executors.processes import Process, look

# A trap (and not an ignored signal, which children would inherit) keeps the shell until its child has ended. Its own
# variables have long names because a task may have such of its own, which the child must get unchanged.
SHIM: Final = """\
# shim FOLDER WORK [GROUP...] -- COMMAND...: joins the control groups, runs the command in WORK, and leaves its exit
# status in FOLDER/exit.
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2
reconciler_shim_folder=$1 reconciler_shim_work=$2 reconciler_shim_code=125
shift 2
while [ "$1" != -- ] && echo $$ >"$1/cgroup.procs"; do shift; done
if [ "$1" = -- ] && cd "$reconciler_shim_work"; then
  shift
  "$@"
  reconciler_shim_code=$?
fi
cd "$reconciler_shim_folder" && echo "$reconciler_shim_code" >exit.new && mv -f exit.new exit
"""

_SIGNALS: Final = [number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)]
_children: Final[set[int]] = set()
_children_lock: Final = threading.Lock()


def spawn(
    shim: Path, folder: Path, cwd: Path, output: Path, argv: Sequence[str], environment: Mapping[str, str]
) -> Process:
    """Start the shim that runs ``argv`` in ``cwd``: control groups to join, ``--`` and the command.

    It leaves the exit status in ``folder``; its output is appended to ``output``.

    Raises:
        ExecutorError: no process could be made.
    """
    inherited = [
        (os.POSIX_SPAWN_CLOSE, fd) for fd in _descriptors() if fd > 2 and _inheritable(fd)
    ]  # what came to us from whoever started us must not stay open as long as a task
    actions = [
        *inherited,
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        # Appending is what lets the log be cut while it is written to.
        (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        with _children_lock:
            pid = os.posix_spawn(
                "/bin/sh",
                ["sh", str(shim), str(folder), str(cwd), *argv],
                environment,
                file_actions=actions,
                setsid=True,
                setsigmask=[],
                setsigdef=_SIGNALS,
            )
            _children.add(pid)
    except OSError as error:
        raise ExecutorError(f"cannot start a process: {error.strerror or error}") from error
    # It stays at least as a zombie until we reap it; without its start time it has ended already.
    return look(pid) or Process(pid=pid, started=0, session=pid, group=pid)


def reap() -> None:
    """Take the shims of this process that have ended off the process table."""
    with _children_lock:
        for pid in list(_children):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            _children.discard(pid)


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names only


def _inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:  # the one that the listing itself had open
        return False
