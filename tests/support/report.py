"""Says at the end of a run what was not tested and why, and how much of the code ran; used by ``tests/conftest.py``.

A skip that nobody notices is a false green. pytest's own list is one line a test; this one is one line a reason.
"""

import collections
import io

import coverage
import pytest

running: dict[str, None] = {}
"""Tests that have begun and not ended, in all worker processes; what is left here when a run is cut hung."""


def pytest_runtest_logstart(nodeid: str) -> None:
    """Called in the main process for each test that any worker begins."""
    running[nodeid] = None


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Called in the main process for each test that any worker ended."""
    running.pop(nodeid, None)


def reason_of(report: pytest.TestReport) -> str:
    """Why a test was skipped, without pytest's prefix."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How many tests each reason kept from running, and the total of the coverage if it was measured."""
    for nodeid in running:
        terminalreporter.line(f"still running when the run was cut: {nodeid}", red=True)
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        reasons = collections.Counter(reason_of(report) for report in skipped)
        terminalreporter.section("NOT TESTED in this run", sep="-", yellow=True)
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:5d} skipped: {reason}")
    if config.pluginmanager.has_plugin("_cov") and config.getoption("cov_source") and not config.getoption("no_cov"):
        measured = coverage.Coverage()
        measured.load()
        try:
            total = measured.report(file=io.StringIO())
        except coverage.exceptions.NoDataError:
            return
        terminalreporter.section("coverage", sep="-")
        terminalreporter.line(f"{total:.0f} % of lines and branches; by file: .venv/bin/coverage report")
