"""Makes the fixtures of every file in ``tests/support`` known to every test; a new file there needs no entry here."""

from pathlib import Path

import pytest

# before anything imports one of them, since they import each other
pytest.register_assert_rewrite("tests.support")

SUPPORT = Path(__file__).parent / "support"

pytest_plugins = sorted(f"tests.support.{path.stem}" for path in SUPPORT.glob("*.py") if path.stem != "__init__")
