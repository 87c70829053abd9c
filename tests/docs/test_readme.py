"""The README's command blocks, run as they stand.

A comment before each block says how: ``<!-- test: run -->``, what it needs (``needs consul docker``), that its tasks
must become healthy (``until healthy``), or ``<!-- test: not run, because … -->``. Commands that stay up run beside the
ones after them. Two things differ from what is written: ports are free ones, and ``consul agent`` is the tests' own, so
that this can run beside other tests and beside somebody's real Consul.
"""

import shutil
import subprocess

import pytest

from tests.docs.pages import ROOT, Block, blocks
from tests.support.docker import DockerEngine
from tests.support.program import Program
from tests.support.wait import wait_until

BLOCKS = list(blocks(ROOT / "README.md"))
STAY_UP = {"combined", "dev", "sync", "scheduler", "agent"}


def run_blocks() -> list[object]:
    """The blocks that can be run, with the markers of what they need."""
    params = []
    for block in BLOCKS:
        if block.mark and block.mark.startswith("run"):
            marks = [getattr(pytest.mark, name) for name in ("consul", "docker") if name in block.mark]
            if "docker" in block.mark:  # one process at a time may give the example's image a meaning
                marks.append(pytest.mark.xdist_group("example-image"))
            params.append(pytest.param(block, marks=marks, id=f"line-{block.line}"))
    return params


def test_every_block_says_how_it_is_tested() -> None:
    unsaid = [str(block) for block in BLOCKS if not block.mark or not block.mark.startswith(("run", "not run, "))]
    assert not unsaid
    assert sum(block.mark is not None and block.mark.startswith("run") for block in BLOCKS) >= 4


@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", run_blocks())
def test_a_block_does_what_the_readme_says(block: Block, program: Program, request: pytest.FixtureRequest) -> None:
    assert block.mark is not None
    if "docker" in block.mark:
        # the images that the example names, served from this machine: no registry is asked
        engine = request.getfixturevalue("docker_engine")
        engine.import_for(ROOT / "examples/hello-world.yml")
        request.addfinalizer(lambda: end_all(program, engine))
    if "consul" in block.mark:
        program.use(request.getfixturevalue("consul").new_url())
    shutil.copytree(ROOT / "examples", program.folder / "examples")
    for command in block.commands:
        run(command, program)
    if "until healthy" in block.mark:
        wait_until(lambda: all_healthy(program), timeout_s=120, what=f"{block}: all tasks healthy", every_s=0.3)


def end_all(program: Program, engine: DockerEngine) -> None:
    """An agent that is stopped leaves its containers running, and with them their ports taken."""
    for daemon in program.daemons:
        daemon.stop()
    engine.end_tasks()


def run(command: list[str], program: Program) -> None:
    """One command, as said above."""
    match command:
        case ["make", target]:
            done = subprocess.run(["make", target], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert done.returncode == 0, f"make {target}\n{done.stdout}\n{done.stderr}"
        case ["consul", "agent", *_]:
            assert "RECONCILER_STORE" in program.environ, "the block needs Consul, but its mark does not say so"
        case ["reconciler", name, *arguments] if name in STAY_UP:
            if name == "dev":
                program.use(f"sqlite://{program.folder}/.reconciler/dev.db")
            program.start(name, *arguments, "--http", "127.0.0.1:0")
        case ["reconciler", *arguments]:
            program.ok(*arguments, timeout_s=120)
        case _:
            pytest.fail(f"the test does not know how to run {command}")


def all_healthy(program: Program) -> bool:
    rows = program.tasks()
    return bool(rows) and all(row["phase"] == "running" and row["health"] == "passing" for row in rows)
