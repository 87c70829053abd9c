"""Workflow commands, which GitHub shows beside the lines of a pull request; the summary below them is for the log."""

from collections.abc import Sequence
from pathlib import Path

from reconciler.cli.reports import shown_path
from reconciler.cli.reports.text import summary
from reconciler.manifests.checks import Policy
from reconciler.manifests.problem import Problem
from reconciler.manifests.verdict import Verdict


def render(verdict: Verdict, policies: Sequence[Policy]) -> str:  # noqa: ARG001 - every form is made so
    """An annotation for each problem, and the summary."""
    folder = str(Path.cwd())
    return "\n".join([*(_annotation(problem, folder) for problem in verdict.problems), summary(verdict)])


def _annotation(problem: Problem, folder: str) -> str:
    properties = {
        "file": shown_path(problem.file, folder),
        "line": str(problem.line),
        "col": str(problem.column),
        "title": f"{problem.code} {problem.slug}" if problem.code != problem.slug else problem.code,
    }
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    hint = f"; {problem.hint}" if problem.hint else ""
    return f"::{problem.severity} {listed}::{_data(f'{problem.message}{hint}')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
