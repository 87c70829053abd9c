"""Control groups for bash tasks, where the agent was given a part of the tree: limits, and whose a process is.

A part is given by running the agent in a group called ``agent``: then what is beside it, in the group above, is for
tasks (systemd does so with ``Delegate=`` and ``DelegateSubgroup=agent``). Each container gets a group of its name in
``reconciler-tasks`` there, in the unified tree (version 2) and in those of version 1 that hold memory and cpu. No child
can leave it, whatever it does to its session and environment. Without such a part nothing is limited, and marks alone
tell whose a process is.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from reconciler.errors import ExecutorError

log = logging.getLogger(__name__)

OWN_NAME: Final = "agent"
TASKS: Final = "reconciler-tasks"
_V1_CONTROLLERS: Final = ("memory", "cpu")
_REMOVE_S: Final = 1.0


def given_parts(own_groups: str, mounts: str) -> list[Path]:
    """The groups above that of the agent, given ``/proc/self/cgroup`` and ``/proc/self/mountinfo``. Pure.

    Empty where the agent is in no group of the name ``agent``.
    """
    parts = []
    for line in own_groups.splitlines():
        _, controllers, path = line.split(":", 2)
        group = PurePosixPath(path)
        if group.name != OWN_NAME or len(group.parts) < 3:
            continue
        for root, mounted_at, kind, options in _mounted(mounts):
            is_its = kind == "cgroup2" if not controllers else kind == "cgroup" and controllers in options
            if is_its and group.is_relative_to(root) and (not controllers or _holds(controllers)):
                parts.append(Path(mounted_at, group.parent.relative_to(root)))
                break
    return parts


def limits(memory_mib: int, cpu_units: int) -> dict[str, str]:
    """What to write into which file of a group; a tree has some of them. 0: no limit. Pure."""
    files = {}
    if memory_mib:
        files["memory.max"] = files["memory.limit_in_bytes"] = str(memory_mib * 1024 * 1024)
    if cpu_units:
        shares = min(max(cpu_units, 2), 262144)
        files["cpu.shares"] = str(shares)
        # version 2 counts from 1 to 10,000, and this is how container engines turn one into the other
        files["cpu.weight"] = str(1 + (shares - 2) * 9999 // 262142)
    return files


class ControlGroups:
    """The groups of one agent's tasks, by name; ``parts`` is empty where there are none. Thread-safe."""

    def __init__(self, parts: Sequence[Path] = ()) -> None:
        self._trees = [tree for part in parts if (tree := _opened(part)) is not None]
        self._missed: set[str] = set()

    @classmethod
    def of_this_process(cls) -> "ControlGroups":
        """Those that this process was given."""
        try:
            own = Path("/proc/self/cgroup").read_text(encoding="utf-8")
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        except OSError:
            return cls()
        return cls(given_parts(own, mounts))

    def make(self, name: str, memory_mib: int, cpu_units: int) -> list[Path]:
        """Make the groups of a container, empty and with its limits, for its first process to join. Raises OSError."""
        groups = [tree / name for tree in self._trees]
        for group in groups:
            group.mkdir(exist_ok=True)
            for file, value in limits(memory_mib, cpu_units).items():
                if (group / file).exists():
                    (group / file).write_text(value, encoding="ascii")
        for wanted, what in ((memory_mib, "memory"), (cpu_units, "cpu")):
            files = [file for file in limits(1, 1) if file.startswith(f"{what}.")]
            if groups and wanted and not any((group / file).exists() for group in groups for file in files):
                self._say_once(what)
        return groups

    def _say_once(self, what: str) -> None:
        if what not in self._missed:
            self._missed.add(what)
            log.warning("no control group that this agent was given has the controller %s: it limits nothing", what)

    def join(self, groups: Sequence[Path], pid: int) -> None:
        """Let a process into ``groups``, with all that it will start.

        Raises:
            ExecutorError: the kernel refused.
        """
        for group in groups:
            try:
                (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
            except OSError as error:
                raise ExecutorError(
                    f"cannot start a process in the control group {group}: {error.strerror or error}",
                    hint="whoever gave this agent its part of the tree must let it use all of that part",
                ) from error

    def members(self) -> Mapping[str, frozenset[int]]:
        """The processes of each group that has some."""
        if not self._trees:
            return {}
        found = {}
        with contextlib.suppress(OSError):
            for group in self._trees[0].iterdir():
                if pids := _pids(group):
                    found[group.name] = pids
        return found

    def kill(self, name: str) -> None:
        """Kill all of it at once, however fast it forks, where the kernel can do that."""
        for tree in self._trees:
            with contextlib.suppress(OSError):
                (tree / name / "cgroup.kill").write_text("1", encoding="ascii")

    def ran_out_of_memory(self, name: str) -> bool:
        """Whether the kernel killed something of it for its memory limit."""
        for tree in self._trees:
            for file in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    words = (tree / name / file).read_text(encoding="ascii").split()
                    if dict(zip(words[::2], words[1::2], strict=False)).get("oom_kill", "0") != "0":
                        return True
        return False

    def sweep(self, is_kept: Callable[[str], bool]) -> None:
        """Remove empty groups that could not be removed in time, of containers of which nothing ``is_kept``."""
        for tree in self._trees:
            with contextlib.suppress(OSError):
                for group in tree.iterdir():
                    if not is_kept(group.name):
                        _removed(group)

    def remove(self, name: str) -> None:
        """Remove the groups of a container of which nothing runs; what can't be removed yet is left, empty as it is."""
        deadline = time.monotonic() + _REMOVE_S
        for tree in self._trees:
            # for some milliseconds the last process is gone but not yet forgotten
            while not _removed(tree / name) and time.monotonic() < deadline:
                time.sleep(0.005)


def _opened(part: Path) -> Path | None:
    """The group in which those of tasks are made, with the controllers that it may have; None if it can't be used."""
    tree = part / TASKS
    try:
        if _pids(part):
            raise PermissionError(f"processes run in {part} itself")
        tree.mkdir(exist_ok=True)
    except OSError as error:
        log.warning("control groups below %s are not used: %s", part, error.strerror or error)
        return None
    for group in (part, tree):
        for controller in _V1_CONTROLLERS:
            with contextlib.suppress(OSError):  # what is not there limits nothing
                (group / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
    return tree


def _holds(controllers: str) -> bool:
    return any(each in _V1_CONTROLLERS for each in controllers.split(","))


def _mounted(mounts: str) -> Iterator[tuple[str, str, str, str]]:
    """Root, place, kind and options of every mount."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) > 4 and len(kind) > 2:
            yield fields[3], fields[4], kind[0], kind[2]


def _pids(group: Path) -> frozenset[int]:
    try:
        return frozenset(int(pid) for pid in (group / "cgroup.procs").read_text(encoding="ascii").split())
    except (FileNotFoundError, NotADirectoryError):  # the kernel's own files stand beside the groups
        return frozenset()


def _removed(group: Path) -> bool:
    try:
        os.rmdir(group)  # noqa: PTH106 - the files in it belong to the kernel
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
