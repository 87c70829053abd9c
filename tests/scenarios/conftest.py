"""``pytest tests/scenarios --update-scenarios`` writes what happens now into the texts; the diff shows the change."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option, only known when tests/scenarios is named on the command line."""
    parser.addoption("--update-scenarios", action="store_true", help="rewrite the expectations of scenarios")


@pytest.fixture
def updates_scenarios(request: pytest.FixtureRequest) -> bool:
    """Whether expectations are rewritten instead of compared."""
    return bool(request.config.getoption("--update-scenarios", default=False))
