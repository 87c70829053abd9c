"""Lines that people read and editors understand: ``file:line:column: severity code message; what to do``."""

from collections.abc import Sequence
from typing import Final

import click

from reconciler.manifests.checks import Policy
from reconciler.manifests.problem import Problem
from reconciler.manifests.rules import Severity
from reconciler.manifests.verdict import Verdict

_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


def render(verdict: Verdict, policies: Sequence[Policy]) -> str:  # noqa: ARG001 - every form is made so
    """A line for each problem, and the summary."""
    return "\n".join([*map(_line, verdict.problems), summary(verdict)])


def summary(verdict: Verdict) -> str:
    """``valid: 3 files, 7 objects, no errors, 1 warning``."""
    everywhere = f" in {len(verdict.environments)} environments" if len(verdict.environments) > 1 else ""
    counts = [
        _count(len(verdict.names), "file"),
        f"{_count(verdict.objects, 'object')}{everywhere}",
        _count(verdict.errors, "error"),
        _count(verdict.warnings, "warning"),
    ]
    if verdict.ignored:
        counts.append(f"{len(verdict.ignored)} ignored")
    if verdict.elsewhere:
        counts.append(f"{_count(verdict.elsewhere, 'problem')} that the change does not touch")
    return f"{'valid' if verdict.valid else 'invalid'}: {', '.join(counts)}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _line(problem: Problem) -> str:
    """The one text form; click takes the colours out again when the output is no terminal."""
    severity = click.style(str(problem.severity), fg=_COLOURS[problem.severity], bold=True)
    return str(problem).replace(f": {problem.severity} {problem.code} ", f": {severity} {problem.code} ", 1)
