"""Says at the end of a run what was not tested and why, in words that tell what to do; used by ``tests/conftest.py``.

A skip that nobody notices is a false green. pytest's own list is per test; this one is per reason.
"""

import collections

import pytest


def reason_of(report: pytest.TestReport) -> str:
    """Why a test was skipped, without pytest's prefix."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a reason: how many tests it kept from running."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = collections.Counter(reason_of(report) for report in skipped)
    terminalreporter.section("NOT TESTED in this run", sep="-", yellow=True)
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:5d} skipped: {reason}")
