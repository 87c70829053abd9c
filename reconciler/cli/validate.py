"""``reconciler validate``: are these manifests right? For people, for CI, and before a commit."""

import json
import sys
from typing import Final

import click

from reconciler.cli.inputs import read_files
from reconciler.cli.options import format_option
from reconciler.errors import UsageError
from reconciler.manifests.load import Loaded, load
from reconciler.manifests.problem import Problem
from reconciler.manifests.rules import Severity
from reconciler.manifests.settings import SETTINGS_NAME

_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


@click.command(
    epilog="""
\b
Exit codes:
  0  valid (there may be warnings)
  1  invalid
  2  could not check: no such file, or nothing found to check

\b
Examples:
  reconciler validate manifests/
  reconciler validate clusters.yml services/ task_definitions/
  git show HEAD:web.yml | reconciler validate -
  reconciler validate manifests/ --format json | jq '.problems[].code'

Every field is explained in docs/manifests.md.
"""
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@format_option("text", "json")
def validate(paths: tuple[str, ...], output_format: str) -> None:
    """Check manifests, and say where each mistake is and what to do about it.

    PATH is a file, or a folder of which all *.yml, *.yaml and *.json are checked (but hidden ones, and what its
    reconciler.yaml says to ignore), or - for the standard input. Give everything that belongs together in one call:
    a service whose task definition is in none of the files is an error.

    Checked are the syntax, every field against the schemas, and what must hold between objects: that services, task
    definitions and versions exist, min <= desired <= max, nothing declared twice, ids and ports that clash.
    """
    loaded = load(read_files(paths))
    if loaded.valid and not loaded.files:
        raise UsageError(f"nothing to check in {', '.join(paths)}", hint=f"look at ignore in {SETTINGS_NAME}")
    if output_format == "json":
        click.echo(json.dumps(as_json(loaded), indent=2, ensure_ascii=False))
    else:
        for problem in loaded.problems:
            click.echo(_line(problem))
        click.echo(summary(loaded))
    sys.exit(0 if loaded.valid else 1)


def as_json(loaded: Loaded) -> dict[str, object]:
    """The stable form for programs."""
    return {
        "valid": loaded.valid,
        "files": loaded.files,
        "objects": len(loaded.objects),
        "errors": len(loaded.errors),
        "warnings": len(loaded.warnings),
        "problems": [problem.as_json() for problem in loaded.problems],
    }


def summary(loaded: Loaded) -> str:
    """``valid: 3 files, 7 objects, no errors, 1 warning``."""
    counts = [
        _count(loaded.files, "file"),
        _count(len(loaded.objects), "object"),
        _count(len(loaded.errors), "error"),
        _count(len(loaded.warnings), "warning"),
    ]
    return f"{'valid' if loaded.valid else 'invalid'}: {', '.join(counts)}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _line(problem: Problem) -> str:
    """The one text form; click takes the colours out again when the output is no terminal."""
    severity = click.style(str(problem.severity), fg=_COLOURS[problem.severity], bold=True)
    return str(problem).replace(f": {problem.severity} {problem.code} ", f": {severity} {problem.code} ", 1)
