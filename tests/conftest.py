"""Makes the fixtures of every file in ``tests/support`` known to every test; a new file there needs no entry here."""

from pathlib import Path

import pytest

# before anything imports one of them, since they import each other
pytest.register_assert_rewrite("tests.support")

SUPPORT = Path(__file__).parent / "support"

pytest_plugins = sorted(f"tests.support.{path.stem}" for path in SUPPORT.glob("*.py") if path.stem != "__init__")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fail rather than let tests of one group run beside each other, as some versions of pytest-xdist silently do."""
    if not config.getoption("loadgroup", default=False):
        return
    for item in items:
        if item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
            raise pytest.UsageError("this pytest-xdist ignores xdist_group: see the versions in constraints.txt")
