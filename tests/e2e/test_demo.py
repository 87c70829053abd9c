"""``reconciler demo``: the whole path on a machine that has nothing."""

import subprocess
import sys

import psutil

from tests.support.program import Program


def test_the_demo_upgrades_without_a_failed_request_and_leaves_nothing(program: Program) -> None:
    ours = f"{program.folder}/nothing:{program.environ['PATH']}"  # tells what this demo starts from what others do
    program.environ["PATH"] = ours
    done = program.run("demo", timeout_s=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed (" in done.stdout
    assert "all tasks run version 2" in done.stdout
    assert not [process for process in psutil.process_iter() if _environment(process).get("PATH") == ours]
    assert not list(program.folder.iterdir())


def test_the_demo_needs_neither_consul_nor_docker(program: Program) -> None:
    program.environ |= {"DOCKER_HOST": "unix:///nowhere", "CONSUL_HTTP_ADDR": "127.0.0.1:1"}
    done = program.run("demo", timeout_s=110)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_git_the_demo_says_what_to_install(program: Program) -> None:
    program.environ["PATH"] = str(program.folder)
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "demo"], env=program.environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "apt-get install git" in done.stderr
    assert "Traceback" not in done.stderr


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
