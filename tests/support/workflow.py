"""Runs the ``run:`` steps of GitHub's workflows and actions as they are written, as its runner would."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")


def load_yaml(path: Path) -> dict[str, Any]:
    """A file of YAML, as GitHub reads it (``on`` is a text there)."""
    loaded: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
    return loaded


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its ``${{ expressions }}`` replaced; one that is not known fails the test."""
    return _EXPRESSION.sub(lambda found: values[found[1]], text)


def run_step(
    step: Mapping[str, Any], values: Mapping[str, str], environ: Mapping[str, str], folder: Path
) -> "subprocess.CompletedProcess[str]":
    """One step, with the shell and options that GitHub documents for ``shell: bash``."""
    assert step.get("shell", "bash") == "bash"
    assert "${{" not in step["run"], "give values to scripts by env: what is put into the text itself would be run"
    env = dict(environ) | {name: filled(value, values) for name, value in step.get("env", {}).items()}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def runner_environment(temporary: Path, **more: str) -> dict[str, str]:
    """What a runner has set; our own settings are kept out."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("RECONCILER_", "GITHUB_", "GIT_"))
    }
    return kept | {"CI": "true", "GITHUB_ACTIONS": "true", "RUNNER_TEMP": str(temporary)} | more
