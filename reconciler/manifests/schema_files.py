"""The JSON Schemas as files: where they are, and what they say. Called by ``schema`` and ``validator``."""

import functools
import json
from pathlib import Path
from typing import Any, Final

from reconciler.errors import UsageError

SCHEMAS: Final = (
    *("manifest", "cluster", "service", "task_definition", "host", "settings"),
    *("task", "host_state", "host_policy", "notifications"),
)


@functools.cache
def schemas() -> dict[str, Any]:
    """All schemas, by file name.

    Raises:
        UsageError: the installation lacks them.
    """
    folder = schema_folder()
    return {f"{name}.json": json.loads((folder / f"{name}.json").read_text("utf-8")) for name in SCHEMAS}


def schema_folder() -> Path:
    """Where the schemas are: inside the installed package, or beside it when it runs from its repository."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_schemas", package.parent / "schemas"):
        if (folder / "manifest.json").is_file():
            return folder
    raise UsageError(
        f"the JSON Schemas are missing: neither in {package / '_schemas'} nor beside the package",
        hint="install reconciler again",
    )
