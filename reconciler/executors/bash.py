"""Runs containers of type ``bash``: plain processes of this host, found again by marks in their environment.

Built by wiring, called by the agent. What runs needs no agent: see ``shim``. What ran is told by its folder: see
``task_folder``.
"""

import logging
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from reconciler.errors import ExecutorError
from reconciler.executors import naming, task_scripts
from reconciler.executors.archives import Limits
from reconciler.executors.artifacts import Artifacts
from reconciler.executors.commands import base_environment, run
from reconciler.executors.control_groups import ControlGroups
from reconciler.executors.deaths import Deaths
from reconciler.executors.folders import disk_errors
from reconciler.executors.interface import (
    Keep,
    Observed,
    Owner,
    Ref,
    ScriptResult,
    Spec,
    Swept,
    never,
    unless_cancelled,
)
from reconciler.executors.launching import Launcher, bash_container
from reconciler.executors.leftovers import delete_old
from reconciler.executors.naming import Marks
from reconciler.executors.processes import (
    PROC,
    Process,
    ProcessTable,
    TaskProcesses,
    alive,
    environment_of,
    folder_of,
    kill_until_gone,
    send,
    wait_for_end,
)
from reconciler.executors.secret_files import SecretFiles
from reconciler.executors.shim import reap
from reconciler.executors.task_folder import Attempt, TaskFolder, boot_id, folders_in
from reconciler.executors.task_log import MOST_BYTES, Logs, tail
from reconciler.executors.users import user_of
from reconciler.model.manifests import BashContainer, Container
from reconciler.model.ports import HostPort
from reconciler.runtime.clock import Clock, SystemClock

log = logging.getLogger(__name__)

SETUP_TIMEOUT_S: Final = 600.0
_KILL_S: Final = 10.0
_CUT_S: Final = 86_400.0
_LOG_LOOK_S: Final = 5.0
_KILLED: Final = 128 + signal.SIGKILL


class Bash:
    """The executor ``bash``. ``folder`` is where it keeps outputs, exit statuses and artifacts of this host."""

    def __init__(
        self,
        owner: Owner,
        folder: Path,
        *,
        setup_timeout_s: float = SETUP_TIMEOUT_S,
        log_bytes: int = MOST_BYTES,
        limits: Limits | None = None,
        clock: Clock | None = None,
        groups: ControlGroups | None = None,
        secrets: Path | None = None,
    ) -> None:
        self._owner = owner
        self._folder = folder.absolute()
        self._secrets = SecretFiles(secrets or self._folder / "secrets", owner, "bash")
        self._tasks = self._folder / "tasks"
        self._artifacts = Artifacts(self._folder / "artifacts", limits)
        self._setup_timeout_s = setup_timeout_s
        self._logs = Logs(log_bytes)
        self._next_log_look = -math.inf
        self._clock = clock or SystemClock()
        self._groups = groups if groups is not None else ControlGroups.of_this_process()
        self._launcher = Launcher(self._folder, self._artifacts, self._secrets, self._groups)
        self._table = ProcessTable(self._grouped)
        self._deaths = Deaths()
        self._lock = threading.Lock()
        self._running: dict[Ref, Process] = {}
        self._gone: dict[Ref, float] = {}
        """When somebody began to look for what then was not there; until it is removed or started anew."""

    @property
    def name(self) -> str:
        return "bash"

    def unavailable(self) -> str | None:
        if shutil.which("bash") is None:
            return "there is no bash on this host"
        return None if (PROC / "self" / "stat").exists() else f"{PROC} is not mounted"

    def publisher(self, port: HostPort) -> str | None:  # noqa: ARG002 - processes listen themselves, and are seen
        return None

    def observe(self) -> Sequence[Observed]:
        reap()
        with disk_errors("read", self._tasks):
            kept = [(folder, attempt) for folder in folders_in(self._tasks) if (attempt := folder.attempt())]
            living = self._living()
            boot = boot_id()
            noted = {attempt.marks: attempt.started_at for _, attempt in kept}
            seen = [task.observed(noted.get(task.marks)) for task in living.values()]
            seen += [self._ended(folder, attempt, boot) for folder, attempt in kept if _key(attempt) not in living]
        ours = {task.marks.ref: task.first for task in living.values() if task.marks.owner == self._owner}
        with self._lock:
            self._running = ours
        self._deaths.replace(ours.values())
        return seen

    def take_over(self, found: Sequence[Observed]) -> None:
        self._secrets.sweep(found)

    def _ended(self, folder: TaskFolder, attempt: Attempt, boot: str) -> Observed:
        ended = folder.ended(attempt, boot)
        if ended.exit_code in (None, _KILLED) and self._groups.ran_out_of_memory(folder.path.name):
            return msgspec.structs.replace(ended, reason="killed because it used more memory than it may")
        return ended

    def _living(self) -> dict[tuple[Owner, Ref], TaskProcesses]:
        return {key: task for key, task in self._table.scan().items() if task.own}

    def prepare(self, spec: Spec, is_cancelled: Callable[[], bool] = never) -> None:
        executor = bash_container(spec).executor
        user_of(executor.user)  # what can't be run is not fetched
        if executor.artifact:
            self._artifacts.fetch(executor.artifact, executor.sha256, is_cancelled)

    def start(self, spec: Spec, is_cancelled: Callable[[], bool] = never) -> None:
        user_of(bash_container(spec).executor.user)  # for what can't be run nothing is killed
        folder, marks = self._task(spec.ref), naming.marks_of(spec, self._owner)
        if folder.path.exists() and (task := self._find(spec.ref)):
            if task.own and (task.marks.digest, task.marks.attempt) == (spec.digest, spec.attempt):
                self._await_setup(task.first, folder, spec, is_cancelled)
                return
            self._kill(spec.ref)
        with disk_errors("write", folder.path):
            process = self._launcher.launch(spec, folder, marks, self._clock.wall(), is_cancelled)
        with self._lock:
            self._running[spec.ref] = process
            self._gone.pop(spec.ref, None)
        self._deaths.add(process)
        self._await_setup(process, folder, spec, is_cancelled)

    def _await_setup(self, process: Process, folder: TaskFolder, spec: Spec, is_cancelled: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._setup_timeout_s
        pause_s = 0.001
        while not folder.set_up:
            if time.monotonic() > deadline or is_cancelled():
                self._kill(spec.ref)
                unless_cancelled(is_cancelled)
                raise ExecutorError(f"setup of {spec.ref.container} took more than {self._setup_timeout_s:g} s")
            if not alive(process) and not folder.set_up:
                reap()
                why = f"setup of {spec.ref.container} ended with exit code {folder.exit_code()}"
                raise ExecutorError(why, hint=folder.last_words() or None)
            wait_for_end([process], pause_s)
            pause_s = min(pause_s * 2, 0.05)

    def stop(self, ref: Ref, container: Container | None, timeout_s: float, *, strict: bool = False) -> None:  # noqa: ARG002 - all is on disk
        deadline = time.monotonic() + timeout_s
        task, folder = self._find(ref), self._task(ref)
        if task is not None and task.own:
            if folder.stop_script.exists():
                task_scripts.run_stop(folder, task.first, timeout_s)
                task = self._find(ref)
            task = self._terminate(task, ref, deadline)
        if task is not None:
            self._kill(ref)
        self._secrets.remove(folder.path.name)
        reap()

    def _terminate(self, task: TaskProcesses | None, ref: Ref, deadline: float) -> TaskProcesses | None:
        """SIGTERM to all of it, those born meanwhile too; returns what is left of it at the end, or at the deadline."""
        asked: set[Process] = set()
        while task is not None and task.own:
            for process in task.own:
                if process not in asked:
                    send(process, signal.SIGTERM)
                    asked.add(process)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            wait_for_end(task.own, left_s)
            began = time.monotonic()
            task = self._find(ref)
            if task is None:
                with self._lock:
                    self._gone[ref] = began
        return task

    def _kill(self, ref: Ref) -> None:
        def find() -> Sequence[Process]:
            task = self._find(ref)
            return (*task.own, *task.beside) if task else ()

        self._groups.kill(self._task(ref).path.name)
        if not kill_until_gone(find, _KILL_S):
            left = ", ".join(str(process.pid) for process in find())
            raise ExecutorError(f"processes of {ref.task_id} can't be killed: {left}")

    def remove(self, ref: Ref) -> None:
        with self._lock:
            since = self._gone.pop(ref, None)
        task, folder = self._find(ref, since), self._task(ref)
        if task is not None and task.own:
            raise ExecutorError(f"{ref.task_id} can't be removed: it still runs")
        if task is not None:
            self._kill(ref)
        self._groups.remove(folder.path.name)
        self._secrets.remove(folder.path.name)
        with disk_errors("delete", folder.path):
            folder.remove()

    def sweep(self, keep: Keep, wanted: Sequence[Container]) -> Swept:
        now = self._clock.wall()
        named = [each.executor for each in wanted if isinstance(each, BashContainer) and each.executor.artifact]
        with disk_errors("sweep", self._folder):
            self._groups.sweep(lambda name: (self._tasks / name).exists())  # a start makes its folder first
            downloads = self._artifacts.sweep(keep, [(each.artifact, each.sha256) for each in named], now)
            cut = delete_old((each.path for each in folders_in(self._tasks) if each.is_cut), now - _CUT_S)
        return Swept(downloads.count + cut.count, downloads.size + cut.size)

    def run_script(self, ref: Ref, script: str, environment: Mapping[str, str], timeout_s: float) -> ScriptResult:
        with self._lock:
            process = self._running.get(ref)
        if process is None or not alive(process):
            task = self._find(ref)
            if task is None or not task.own:
                raise ExecutorError(f"{ref.task_id} does not run")
            process = task.first
        variables = {**(environment_of(process) or base_environment()), **environment, naming.ROLE: "check"}
        cwd = folder_of(process) or self._folder
        user = self._task(ref).user()
        ended = run(["bash", "-c", script], environment=variables, timeout_s=timeout_s, cwd=cwd, user=user)
        return ScriptResult(ended.exit_code, ended.output.decode(errors="replace"))

    def logs(self, ref: Ref, tail_lines: int) -> bytes:
        output = self._task(ref).output
        with disk_errors("read", output):
            return tail(output, tail_lines)

    def follow(self, ref: Ref, tail_lines: int) -> Iterator[bytes]:
        output = self._task(ref).output
        with disk_errors("read", output):
            yield from self._logs.follow(output, tail_lines)

    def wait(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not self._deaths.closed:
            self._cut_logs()
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            if self._deaths.wait(min(left_s, _LOG_LOOK_S)):
                reap()
                return True
        return False

    def close(self) -> None:
        self._deaths.close()

    def _task(self, ref: Ref) -> TaskFolder:
        return TaskFolder(self._tasks / naming.instance_name(self._owner, ref))

    def _find(self, ref: Ref, since: float | None = None) -> TaskProcesses | None:
        return self._table.scan(since).get((self._owner, ref))

    def _grouped(self) -> Iterator[tuple[Marks, frozenset[int]]]:
        for name, pids in self._groups.members().items():
            if (attempt := TaskFolder(self._tasks / name).attempt()) is not None:
                yield attempt.marks, pids

    def _cut_logs(self) -> None:
        # not in observe: who only looks (a dry run) changes nothing
        now = time.monotonic()
        if now < self._next_log_look:
            return
        self._next_log_look = now + _LOG_LOOK_S
        with self._lock:
            refs = list(self._running)
        for ref in refs:
            try:
                self._logs.cut_if_long(self._task(ref).output)
            except OSError as error:
                log.warning("cannot cut the log of %s: %s", ref.task_id, error)


def _key(attempt: Attempt) -> tuple[Owner, Ref]:
    return attempt.marks.owner, attempt.marks.ref
