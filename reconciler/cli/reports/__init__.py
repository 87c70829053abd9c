"""The forms in which ``validate`` answers; each file makes one of them. Pure: a verdict in, text out.

All of them but ``text`` are contracts, written down in docs/validate-in-ci.md.
"""

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from reconciler.manifests.checks import Policy
from reconciler.manifests.verdict import Verdict

Report: TypeAlias = Callable[[Verdict, Sequence[Policy]], str]

FORMATS: Final = ("text", "json", "github", "sarif", "junit")


def report(output_format: str) -> Report:
    """The function that makes a form."""
    name = "json_form" if output_format == "json" else output_format
    render: Report = importlib.import_module(f"reconciler.cli.reports.{name}").render
    return render


def shown_path(name: str, folder: str) -> str:
    """A file's name as a program expects it: relative to ``folder`` if it is inside, without ``./``, with slashes."""
    path = Path(os.path.normpath(name))
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
