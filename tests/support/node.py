"""The Node that the example scheduler is tested with."""

import os
import shutil
import subprocess

import pytest

OLDEST = 18


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node; skips the test when there is none, fails it in CI."""
    path = shutil.which("node")
    reason = "" if path else "there is no `node` on PATH"
    if path:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        if int(said.removeprefix("v").partition(".")[0]) < OLDEST:
            reason = f"{path} is Node {said}; the example needs {OLDEST}"
    if not reason:
        return str(path)
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
