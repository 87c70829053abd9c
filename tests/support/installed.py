"""Programs of the machine that some tests need."""

import os
import shutil

import pytest


def installed(program: str) -> str:
    """Where a program is; skips the test when it is nowhere, fails it in CI."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is not None:
        return path
    reason = f"there is no `{program}` on PATH"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
