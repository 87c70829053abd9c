"""Says at the end of a run what was not tested and why, and how much of the code ran; used by ``tests/conftest.py``.

A skip that nobody notices is a false green. pytest's own list is one line a test; this one is one line a reason.
"""

import collections
import io

import coverage
import pytest


def reason_of(report: pytest.TestReport) -> str:
    """Why a test was skipped, without pytest's prefix."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How many tests each reason kept from running, and the total of the coverage if it was measured."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        reasons = collections.Counter(reason_of(report) for report in skipped)
        terminalreporter.section("NOT TESTED in this run", sep="-", yellow=True)
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:5d} skipped: {reason}")
    if config.pluginmanager.has_plugin("_cov") and config.getoption("cov_source"):
        measured = coverage.Coverage()
        measured.load()
        total = measured.report(file=io.StringIO())
        terminalreporter.section("coverage", sep="-")
        terminalreporter.line(f"{total:.0f} % of lines and branches; by file: .venv/bin/coverage report")
