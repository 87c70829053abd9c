"""The program as users run it: ``reconciler …`` as a process of its own, with its output kept."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import codec
from reconciler.queries.fleet import read
from reconciler.queries.tasks import tasks
from reconciler.store.connect import open_store
from tests.support.ports import port_block
from tests.support.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]


class Daemon:
    """A process that stays up, by default ``reconciler``; its log is shown when a test fails."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        log: Path,
        environ: Mapping[str, str],
        cwd: Path,
        program: tuple[str, ...] = (sys.executable, "-m", "reconciler"),
    ) -> None:
        self.arguments = arguments
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environ,
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 30) -> int:
        """SIGTERM, and wait for the end."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait(10)


class Program:
    """Runs ``reconciler`` commands on one store, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CONSUL_HTTP_", "RECONCILER_")) and name != "COVERAGE_PROCESS_START"
        }
        self.environ["PYTHONUNBUFFERED"] = "1"
        self.environ["RECONCILER_PORT_RANGE"] = "{}-{}".format(*port_block())
        self.environ["RECONCILER_RUNTIME_DIR"] = str(folder / "run")
        self.daemons: list[Daemon] = []
        self.host = socket.gethostname()

    def use(self, store_url: str) -> None:
        """Which store all commands work on."""
        self.environ["RECONCILER_STORE"] = store_url

    def run(self, *arguments: str, timeout_s: float = 60, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command to its end, whatever its exit code."""
        return subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.environ,
            cwd=self.folder,
        )

    def ok(self, *arguments: str, **options: Any) -> str:
        """A command that must exit with 0; its standard output."""
        done = self.run(*arguments, **options)
        assert done.returncode == 0, f"{arguments} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *arguments: str, name: str = "") -> Daemon:
        """A daemon; stopped at the end of the test if the test does not."""
        log = self.folder / f"{name or arguments[0]}-{len(self.daemons)}.log"
        daemon = Daemon(arguments, log, self.environ, self.folder)
        self.daemons.append(daemon)
        return daemon

    def start_other(self, *command: str, name: str) -> Daemon:
        """Another program, beside ours, in the same environment; stopped at the end like ours."""
        log = self.folder / f"{name}-{len(self.daemons)}.log"
        daemon = Daemon(command[1:], log, self.environ, self.folder, program=command[:1])
        self.daemons.append(daemon)
        return daemon

    def tasks(self) -> list[dict[str, Any]]:
        """``reconciler tasks --format json``."""
        rows: list[dict[str, Any]] = json.loads(self.ok("tasks", "--format", "json"))
        return rows

    def healthy(
        self, service: str, count: int, *, version: int | None = None, timeout_s: float = 60
    ) -> list[dict[str, Any]]:
        """Wait until exactly ``count`` tasks of a service exist and all are healthy (and of ``version``)."""

        def look() -> list[dict[str, Any]]:
            rows = [row for row in self._tasks_seen() if row["service"] == service]
            good = [
                row
                for row in rows
                if row["phase"] == "running" and row["health"] == "passing" and version in (None, row["task_version"])
            ]
            return good if len(good) == len(rows) == count else []

        wait_until(look, timeout_s=timeout_s, what=f"{count} healthy tasks of {service}", every_s=0.1)
        return wait_until(
            lambda: [row for row in self.tasks() if row["service"] == service],
            what="the command to show them",
            every_s=0.2,
        )

    def _tasks_seen(self) -> list[dict[str, Any]]:
        """What ``reconciler tasks`` would show, without a process for each look."""
        store = open_store(None, environ=self.environ)
        try:
            found: list[dict[str, Any]] = codec.to_builtins(tasks(read(store, time.time())))
        finally:
            store.close()
        return found


@pytest.fixture
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    """The program in a folder of its own."""
    program = Program(tmp_path)
    yield program
    for daemon in reversed(program.daemons):
        if daemon.process.poll() is None:
            daemon.stop()
    if request.node.stash.get(FAILED, False):
        for daemon in program.daemons:
            print(f"--- {' '.join(daemon.arguments)} (exit {daemon.process.returncode})\n{daemon.output()[-8000:]}")


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember a failure, so that the fixture shows the logs."""
    report = yield
    if report.when == "call" and report.failed:
        item.stash[FAILED] = True
    return report
