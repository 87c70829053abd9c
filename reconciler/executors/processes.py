"""Finds the processes of tasks in /proc, by the marks in their environment, and signals them.

A process belongs to a task if it carries the task's marks, or stands in a session in which one does (some programs
overwrite their environment to show a title), or is in the task's control group, where there are such. So children that
daemonise are found, after any crash of ours. A process is known by its id *and* its start time: the id alone may be
somebody else's by now.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from reconciler.errors import ExecutorError
from reconciler.executors.interface import Observed, Owner, Ref
from reconciler.executors.naming import STORE, Marks, from_environment

PROC: Final = Path("/proc")
_NEEDLE: Final = f"{STORE}=".encode()
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_SETTLED_S: Final = 10.0
"""Between fork and exec a process shows its parent's environment: only an older one is known to have no marks."""
_LISTS: Final = 5
_RESTS: Final = 2.0
_MOST_REST_S: Final = 0.1
_KERNEL_THREAD: Final = 0x00200000


Grouped: TypeAlias = Callable[[], Iterable[tuple[Marks, frozenset[int]]]]
"""Control groups: the marks of the task, and the processes that are in it."""


class Process(msgspec.Struct, frozen=True):
    """A process that lives. ``started`` is in clock ticks since boot."""

    pid: int
    started: int
    session: int
    group: int

    @property
    def leads(self) -> bool:
        """Whether it leads its session, as the shim of a task does."""
        return self.pid == self.session


class TaskProcesses(msgspec.Struct, frozen=True):
    """What lives of one container, the oldest first: a shell must hear of its end before its child dies of it.

    ``beside`` are its check and stop scripts, which are no sign of its life.
    """

    marks: Marks
    own: tuple[Process, ...]
    beside: tuple[Process, ...]

    @property
    def first(self) -> Process:
        """The one to watch: the leader of a session if there is one, else the oldest."""
        return next((process for process in self.own if process.leads), self.own[0])

    def observed(self, since: float | None) -> Observed:
        """What is seen of it; ``since`` (wall time): when its start was noted, if it was."""
        marks = self.marks
        return Observed(
            ref=marks.ref,
            owner=marks.owner,
            digest=marks.digest,
            attempt=marks.attempt,
            running=True,
            started_at=since or started_at(self.first),
            fingerprint=marks.values,
        )


class ProcessTable:
    """Reads /proc. Remembers what it knows of a process, so that a look costs one short read for each. Thread-safe."""

    def __init__(self, grouped: Grouped | None = None) -> None:
        """``grouped`` says whose processes are in which control group."""
        self._grouped = grouped or (lambda: ())
        self._known: dict[tuple[int, int], Marks | None] = {}
        self._lock = threading.Lock()
        self._rest_until = 0.0
        self._latest: tuple[float, Mapping[tuple[Owner, Ref], TaskProcesses]] = (0.0, {})
        self.looks = 0
        """How often all of /proc was gone through."""

    def scan(self, since: float | None = None) -> Mapping[tuple[Owner, Ref], TaskProcesses]:
        """All that lives and carries marks, of any owner. ``since``: a look that began later will do (monotonic).

        One look serves all who ask while the one before goes on, and while it rests for twice as long: not felt with
        few processes, and hundreds of tasks that stop at once share the looks at thousands.

        Raises:
            ExecutorError: /proc cannot be read.
        """
        asked = time.monotonic() if since is None else since
        began, found = self._latest
        if began > asked:
            return found
        with self._lock:
            began, found = self._latest
            if began > asked:
                return found
            time.sleep(max(0.0, self._rest_until - time.monotonic()))
            began = time.monotonic()
            self._latest = (began, self._scan())
            ended = time.monotonic()
            self._rest_until = ended + min(_RESTS * (ended - began), _MOST_REST_S)
            self.looks += 1
            return self._latest[1]

    def _scan(self) -> Mapping[tuple[Owner, Ref], TaskProcesses]:
        living = self._living()
        self._add_grouped(living)
        sessions = {process.session: marks for process, marks in living.items() if marks is not None}
        tasks: dict[tuple[Owner, Ref], tuple[Marks, list[Process], list[Process]]] = {}
        for process, own_marks in living.items():
            marks = own_marks or sessions.get(process.session)
            if marks is None:
                continue
            self._known[process.pid, process.started] = marks
            _, own, beside = tasks.setdefault((marks.owner, marks.ref), (marks, [], []))
            (beside if marks.role else own).append(process)
        self._forget(living)
        return {key: TaskProcesses(_life(marks), _oldest_first(own), _oldest_first(beside))
                for key, (marks, own, beside) in tasks.items()}  # fmt: skip

    def _add_grouped(self, living: dict[Process, Marks | None]) -> None:
        """Whoever is in a task's control group is the task's, marked or not."""
        by_pid = {process.pid: process for process in living}
        for marks, pids in self._grouped():
            for pid in pids:
                process = by_pid.get(pid) or look(pid)
                if process is not None and living.get(process) is None:
                    living[process] = marks

    def _living(self) -> dict[Process, Marks | None]:
        """All that lives. The list is made anew until it has nothing new.

        What was born after the first list, of a parent that died before it was looked at, would be missed otherwise.
        """
        uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        living: dict[Process, Marks | None] = {}
        listed: set[int] = set()
        for _ in range(_LISTS):
            new = _pids() - listed
            if not new:
                break
            listed |= new
            for pid in sorted(new, reverse=True):  # the youngest first: they are the most likely to be gone soon
                process = look(pid)
                if process is not None:
                    living[process] = self._marks(process, uptime_s)
        return living

    def _marks(self, process: Process, uptime_s: float) -> Marks | None:
        key = (process.pid, process.started)
        if key in self._known:
            return self._known[key]
        environment = environment_of(process)
        if environment is None:
            return None
        marks = from_environment(environment) if STORE in environment else None
        if marks is not None or uptime_s - process.started / _TICKS_PER_S > _SETTLED_S:
            self._known[key] = marks
        return marks

    def _forget(self, living: Iterable[Process]) -> None:
        alive = {(process.pid, process.started) for process in living}
        for key in list(self._known):
            if key not in alive:
                self._known.pop(key, None)


def look(pid: int) -> Process | None:
    """The process with this id; None if there is none that lives (a zombie or kernel thread does not)."""
    stat = _read(f"{PROC}/{pid}/stat")
    if not stat:
        return None
    # The name stands in parentheses and may hold any character, so count from the last one.
    fields = stat[stat.rfind(b")") + 2 :].split(None, 20)
    if len(fields) < 20 or fields[0] in (b"Z", b"X", b"x") or int(fields[6]) & _KERNEL_THREAD:
        return None
    return Process(pid=pid, started=int(fields[19]), session=int(fields[3]), group=int(fields[2]))


def alive(process: Process) -> bool:
    """Whether this very process still lives."""
    now = look(process.pid)
    return now is not None and now.started == process.started


def environment_of(process: Process) -> dict[str, str] | None:
    """The environment that a process was started with; None if it may not be read."""
    raw = _read(f"{PROC}/{process.pid}/environ")
    if raw is None:
        return None
    if _NEEDLE not in raw:
        return {}
    pairs = (part.partition(b"=") for part in raw.split(b"\0") if part)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def folder_of(process: Process) -> Path | None:
    """The folder in which a process works; None if that may not be seen."""
    try:
        folder = (PROC / str(process.pid) / "cwd").readlink()
    except OSError:
        return None
    return folder if folder.is_dir() else None


def started_at(process: Process) -> float:
    """When a process began, in wall time."""
    ago_s = time.clock_gettime(time.CLOCK_BOOTTIME) - process.started / _TICKS_PER_S
    return time.time() - ago_s


def send(process: Process, signum: signal.Signals) -> None:
    """Signal this very process; does nothing if it is gone or may not be signalled by us."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        fd = open_pidfd(process)
        if fd is None:
            if alive(process):
                os.kill(process.pid, signum)
            return
        try:
            if alive(process):  # looked at after the descriptor was opened: it can be no other one's any more
                signal.pidfd_send_signal(fd, signum)
        finally:
            os.close(fd)


def open_pidfd(process: Process) -> int | None:
    """A descriptor that becomes readable when the process ends; None where the kernel has none or the limit is met."""
    try:
        return os.pidfd_open(process.pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None


def wait_for_end(processes: Sequence[Process], timeout_s: float) -> None:
    """Return when all of ``processes`` have ended, or the time is over."""
    deadline = time.monotonic() + timeout_s
    for process in processes:
        try:
            fd = open_pidfd(process)
        except ProcessLookupError:
            continue
        try:
            poll = select.poll()
            if fd is not None:
                poll.register(fd, select.POLLIN)
            while alive(process) and (left_s := deadline - time.monotonic()) > 0:
                poll.poll((left_s if fd is not None else min(left_s, 0.05)) * 1000)
        finally:
            if fd is not None:
                os.close(fd)


def kill_until_gone(find: Callable[[], Sequence[Process]], timeout_s: float) -> bool:
    """SIGKILL what ``find`` finds, and whatever is in its process groups. False: some of it will not go.

    What forks faster than anybody can look at it does not leave its group by that.
    """
    deadline = time.monotonic() + timeout_s
    while processes := find():
        for process in processes:
            send(process, signal.SIGKILL)
        for group in {process.group for process in processes} - {0, 1, os.getpgrp()}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        wait_for_end(processes, max(0.0, deadline - time.monotonic()))
        if time.monotonic() >= deadline:
            return not find()
    return True


def _pids() -> set[int]:
    try:
        return {int(name) for name in os.listdir(PROC) if name.isdigit()}  # noqa: PTH208 - names only, for each look
    except OSError as error:
        raise ExecutorError(
            f"cannot read {PROC}: {error.strerror or error}", hint="the bash executor finds its processes there"
        ) from error


def _read(path: str) -> bytes | None:
    """A file of /proc; None if its process is gone, or may not be looked at. Plain calls: it is done very often."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(fd)


def _oldest_first(processes: Iterable[Process]) -> tuple[Process, ...]:
    return tuple(sorted(processes, key=lambda process: (process.started, process.pid)))


def _life(marks: Marks) -> Marks:
    return msgspec.structs.replace(marks, role="") if marks.role else marks
