"""Schedulers of two makers, and one judge: what ``reconciler conformance`` says of ours and of the example for Node.

All runs go on at once, each on a store of its own: they mostly wait.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.consul import ConsulAgent
from tests.support.program import Program

pytestmark = [pytest.mark.consul, pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
NODE_SCHEDULER = ROOT / "examples/schedulers/node/scheduler.mjs"


class Run:
    """``reconciler conformance`` beside two processes of one scheduler."""

    def __init__(self, program: Program, url: str, name: str, *other: str) -> None:
        environ = {**program.environ, "RECONCILER_STORE": url}
        program.use(url)
        for _ in range(2):
            if other:
                program.start_other(*other, name=name)
            else:
                program.start("scheduler", "--name", name, "--http", "127.0.0.1:0", name=name)
        self._log = program.folder / f"conformance-{name}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "conformance", "--cluster", "demo", "--scheduler", name,
                 "--format", "json"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environ,
                cwd=program.folder,
            )  # fmt: skip

    def report(self) -> dict[str, Any]:
        output, _ = self.process.communicate(timeout=300)
        report: dict[str, Any] = json.loads(output) if output else {}
        broken = {each["rule"]: each["evidence"] for each in report.get("rules", ()) if each["verdict"] != "kept"}
        assert broken == {}, self._log.read_text()
        assert report.get("stopped", "no report") is None, self._log.read_text()
        assert self.process.returncode == 0
        return report


@pytest.fixture
def runs(program: Program) -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        run.process.kill()
        run.process.wait(20)


def test_ours_and_the_one_for_node_keep_every_rule(
    program: Program, runs: list[Run], consul: ConsulAgent, node: str
) -> None:
    urls = [consul.new_url(), consul.new_url()]
    runs.append(Run(program, urls[0], "ours"))
    runs.append(Run(program, urls[1], "node", node, str(NODE_SCHEDULER), "--name", "node"))
    for run, url in zip(runs, urls, strict=True):
        report = run.report()
        assert report["store"] == url
        assert len(report["rules"]) >= 20
        assert all(each["checks"] and each["evidence"] for each in report["rules"])


def test_a_store_in_use_is_refused_with_what_to_do(program: Program) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    manifest = program.folder / "manifest.yml"
    manifest.write_text("hosts: [{name: web-1}]\n")
    program.ok("apply", "-f", str(manifest))
    done = program.run("conformance", "--cluster", "demo")
    assert done.returncode == 2
    assert "config/hosts/web-1" in done.stderr
    assert "a place of their own" in done.stderr


def test_a_scheduler_that_is_not_there_is_an_answer_not_a_wait(program: Program) -> None:
    program.use(f"sqlite://{program.folder}/store.db")
    done = program.run("conformance", "--cluster", "demo", "--scheduler", "nobody", "--patience", "1")
    assert done.returncode == 1
    assert "lock" in done.stdout
    assert "does a scheduler called 'nobody' run on this store?" in done.stdout
