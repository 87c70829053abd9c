"""Control groups: which part of the tree is ours, and what the kernel of this machine does with a task in one."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import ExecutorError
from reconciler.executors.bash import Bash
from reconciler.executors.control_groups import TASKS, ControlGroups, given_parts, limits
from reconciler.executors.interface import Keep, Observed, Owner, Ref, Spec
from reconciler.executors.naming import instance_name
from reconciler.executors.processes import ProcessTable, alive, kill_until_gone
from reconciler.model.manifests import BashContainer, BashExecutor
from tests.support.wait import wait_until

UNIFIED = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
HYBRID = """\
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"""


@pytest.mark.parametrize(
    ("own", "mounts", "parts"),
    [
        ("0::/system.slice/reconciler-agent.service/agent", UNIFIED,
         ["/sys/fs/cgroup/system.slice/reconciler-agent.service"]),
        ("0::/system.slice/reconciler-agent.service", UNIFIED, []),
        ("0::/agent", UNIFIED, []),
        ("0::/agent/other", UNIFIED, []),
        ("4:memory:/x/agent\n2:cpu,cpuacct:/x/agent\n9:name=systemd:/x/agent\n0::/x/agent", HYBRID,
         ["/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/cpu,cpuacct/x", "/sys/fs/cgroup/unified/x"]),
        ("4:memory:/\n0::/x/agent", HYBRID, ["/sys/fs/cgroup/unified/x"]),
        ("0::/docker/abc/x/agent", "1 0 0:1 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw", ["/sys/fs/cgroup/x"]),
        ("0::/elsewhere/agent", "1 0 0:1 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw", []),
    ],
)  # fmt: skip
def test_only_an_agent_in_a_group_of_that_name_was_given_the_one_above(own: str, mounts: str, parts: list[str]) -> None:
    assert [str(part) for part in given_parts(own, mounts)] == parts


def test_limits_are_what_a_container_engine_makes_of_them() -> None:
    assert limits(0, 0) == {}
    assert limits(64, 0) == {"memory.max": "67108864", "memory.limit_in_bytes": "67108864"}
    assert limits(0, 1024) == {"cpu.shares": "1024", "cpu.weight": "39"}
    assert limits(0, 1 << 20)["cpu.weight"] == "10000"


def roots() -> list[Path]:
    """The trees of this machine in which we may make groups."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        place = Path(fields.split()[4])
        if (kind.startswith("cgroup2 ") or kind.endswith(",memory")) and os.access(place, os.W_OK):
            found.append(place)
    return found


class Grouped:
    """An executor with a part of the tree of its own."""

    def __init__(self, folder: Path) -> None:
        self.parts = [root / f"reconciler-test-{uuid.uuid4().hex[:8]}" for root in roots()]
        try:
            for part in self.parts:
                part.mkdir()
        except OSError as error:
            pytest.skip(f"no control groups can be made here: {error}")
        if not self.parts or os.geteuid() != 0:
            pytest.skip("no control groups can be made here: it takes root and a tree that is mounted writable")
        self.owner = Owner(uuid.uuid4().hex, "machine")
        self.folder = folder
        self.executor = self.another()
        self.ref = Ref("c-web-1-0", 1, "main")

    def another(self) -> Bash:
        return Bash(self.owner, self.folder, groups=ControlGroups(self.parts))

    def spec(self, *start: str, memory: int = 0, attempt: int = 1) -> Spec:
        container = BashContainer(name="main", executor=BashExecutor(start=start))
        return Spec(ref=self.ref, container=container, digest="digest", attempt=attempt, environment={},
                    address="127.0.0.1", memory=memory)  # fmt: skip

    def groups(self) -> list[Path]:
        return [group for part in self.parts for group in (part / TASKS).iterdir() if group.is_dir()]

    def members(self) -> set[int]:
        return {int(pid) for group in self.groups() for pid in (group / "cgroup.procs").read_text().split()}

    def ended(self) -> Observed:
        def look() -> Observed | None:
            (seen,) = [each for each in self.executor.observe() if each.owner == self.owner]
            return None if seen.running else seen

        found = wait_until(look, what="it has ended")
        assert found is not None
        return found

    def close(self) -> None:
        self.executor.stop(self.ref, None, 0)
        self.executor.remove(self.ref)
        self.executor.close()
        for part in self.parts:
            with contextlib.suppress(FileNotFoundError):
                (part / TASKS).rmdir()
            part.rmdir()


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[Grouped]:
    with contextlib.closing(Grouped(tmp_path / "run")) as made:
        yield made


def test_a_child_that_hides_in_every_way_is_found_by_its_group_and_stopped(grouped: Grouped, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden.pid"
    spec = grouped.spec(f"env -i setsid bash -c 'echo $$ >{hidden}; exec sleep 600' & wait; exec sleep 600")
    grouped.executor.start(spec)
    pid = int(wait_until(lambda: hidden.exists() and hidden.read_text().strip(), what="its id"))
    assert pid in grouped.members()
    following = grouped.another()
    found = following._table.scan()[grouped.owner, grouped.ref]
    process = next(each for each in found.own if each.pid == pid)
    by_marks_alone = ProcessTable().scan()[grouped.owner, grouped.ref]
    assert pid not in {each.pid for each in by_marks_alone.own}, "it does hide"
    following.stop(grouped.ref, spec.container, 20)
    assert not alive(process)
    following.remove(grouped.ref)
    assert grouped.groups() == []


def test_what_forks_without_end_is_killed_at_once(grouped: Grouped) -> None:
    grouped.executor.start(grouped.spec("trap '' TERM; while :; do env -i setsid sleep 30 & sleep 0.01; done"))
    wait_until(lambda: len(grouped.members()) > 20, what="many children")
    grouped.executor.stop(grouped.ref, None, 0)
    assert grouped.members() == set()
    assert kill_until_gone(list, 0)


def test_a_task_gets_no_more_memory_than_it_said(grouped: Grouped) -> None:
    if not any("memory" in (part / "cgroup.controllers").read_text().split() if (part / "cgroup.controllers").exists()
               else (part / "memory.limit_in_bytes").exists() for part in grouped.parts):  # fmt: skip
        pytest.skip("no tree with the memory controller is mounted here")
    greedy = "exec python3 -c 'x = bytearray(200 << 20); print(len(x))'"
    grouped.executor.start(grouped.spec(greedy, memory=64))
    assert (ended := grouped.ended()).exit_code == 137
    assert "more memory than it may" in ended.reason
    grouped.executor.start(grouped.spec(greedy, memory=400, attempt=2))
    assert grouped.ended().exit_code == 0
    grouped.executor.start(grouped.spec("kill -9 $$", memory=64, attempt=3))
    assert "memory" not in grouped.ended().reason, "an earlier attempt's end is not this one's"


def test_a_group_that_vanished_is_said(grouped: Grouped) -> None:
    grouped.executor.start(grouped.spec("exec sleep 600"))
    names = {group.name for group in grouped.groups()}
    assert names == {instance_name(grouped.owner, grouped.ref)}
    grouped.executor.stop(grouped.ref, None, 20)
    grouped.executor.start(grouped.spec("exit 0", attempt=2))
    assert grouped.ended().exit_code == 0


def test_groups_that_were_left_are_swept_and_those_in_use_stay(grouped: Grouped) -> None:
    grouped.executor.start(grouped.spec("exec sleep 600"))
    for part in grouped.parts:
        (part / TASKS / "left-by-somebody").mkdir()
    grouped.executor.sweep(Keep(downloads_s=1, download_bytes=1), [])
    assert {group.name for group in grouped.groups()} == {instance_name(grouped.owner, grouped.ref)}


def test_what_the_kernel_refuses_is_told_and_nothing_runs(grouped: Grouped, tmp_path: Path) -> None:
    groups = grouped.executor._groups
    made = groups.make
    groups.make = lambda *args: [*made(*args), tmp_path / "gone"]  # type: ignore[method-assign]
    with pytest.raises(ExecutorError, match=f"cannot start a process in the control group {tmp_path}/gone"):
        grouped.executor.start(grouped.spec("exec sleep 600"))
    assert "cannot start a process in the control group" in grouped.ended().reason
