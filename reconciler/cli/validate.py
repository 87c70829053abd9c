"""``reconciler validate``: are these manifests right? For people, for CI, and before a commit."""

import gc
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from reconciler.cli.checks import checks
from reconciler.cli.inputs import read_files
from reconciler.cli.options import environment_option, format_option
from reconciler.cli.reports import FORMATS, report
from reconciler.errors import UsageError
from reconciler.manifests.checks import Checks
from reconciler.manifests.disk_cache import judge
from reconciler.manifests.find import SETTINGS_NAME
from reconciler.manifests.verdict import Verdict

if TYPE_CHECKING:
    from reconciler.manifests.gates import Files
    from reconciler.manifests.problem import Problem


@click.command(
    epilog="""
\b
Exit codes:
  0  valid (there may be warnings, unless --strict)
  1  invalid
  2  could not check: no such file, or nothing found to check

\b
Examples:
  reconciler validate manifests/
  reconciler validate clusters.yml services/ task_definitions/
  git show HEAD:web.yml | reconciler validate -
  reconciler validate manifests/ --format json | jq '.problems[].code'
  reconciler validate manifests/ --changed-since origin/main --format github
  reconciler validate manifests/ --base origin/main
  reconciler validate manifests/ --policy policies/ --policy hosts/policy.yml
  reconciler snapshot > fleet.json; reconciler validate manifests/ --against fleet.json

Every field is explained in docs/manifests.md, every problem by `reconciler rules`, CI in docs/validate-in-ci.md.
"""
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@format_option(*FORMATS)
@environment_option
@click.option("--strict", is_flag=True, help="Warnings make it invalid too.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="PATH",
    help="A folder with your own rules as JSON Schema files, or the execution policy of a host (policy.yml): what its "
    "agent would reject is an error. May be given several times.",
)
@click.option(
    "--changed-since",
    "revision",
    metavar="REV",
    help="Only problems that the change since the git revision REV touches: on its lines, or new because of it.",
)
@click.option(
    "--base",
    metavar="REV",
    help="Also fail when a task definition has another content than in the git revision REV, under the same version.",
)
@click.option(
    "--against",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Also fail when tasks would find no place on the hosts in FILE, which `reconciler snapshot` made.",
)
@click.option(
    "--source", metavar="NAME", help="With --against: which source's manifests these are, if there are several."
)
@click.option("--no-cache", is_flag=True, help="Remember nothing of earlier runs, and leave nothing for later ones.")
def validate(
    paths: tuple[str, ...],
    output_format: str,
    environment: str | None,
    strict: bool,
    policies: tuple[str, ...],
    revision: str | None,
    base: str | None,
    against: Path | None,
    source: str | None,
    no_cache: bool,
) -> None:
    """Check manifests, and say where each mistake is and what to do about it.

    PATH is a file, or a folder of which all *.yml, *.yaml and *.json are checked (but hidden ones, and what its
    reconciler.yaml says to ignore), or - for the standard input. Give everything that belongs together in one call:
    a service whose task definition is in none of the files is an error.

    Checked are the syntax, every field against the schemas, and what must hold between objects: that services, task
    definitions and versions exist, min <= desired <= max, nothing declared twice, ids and ports that clash. If
    reconciler.yaml declares environments, each of them is checked.

    A comment `# reconciler: ignore=RC012 and the reason`, on the line of a problem or alone above it, takes it out.
    """
    gc.disable()  # the process ends before there is anything to collect, and looking for it takes a fifth of the time
    wanted = checks(policies)
    files = read_files(paths)
    verdict = judge(files, wanted, None if no_cache else _cache_folder(), environment)
    if not verdict.names and verdict.valid:
        raise UsageError(f"nothing to check in {', '.join(paths)}", hint=f"look at ignore in {SETTINGS_NAME}")
    misfits = _misfits(files, verdict, against, source, environment)
    if revision is not None:
        if against is not None and verdict.errors:
            raise UsageError(
                f"nobody can say what fits while the manifests are invalid ({verdict.errors} errors)",
                hint="Look at them without --changed-since first.",
            )
        verdict = _touched(verdict, revision, paths, wanted, environment)
    gates = [*_changed_versions(files, base, paths, environment), *misfits]
    problems = sorted([*verdict.problems, *gates], key=lambda problem: problem.sort_key)
    verdict = msgspec.structs.replace(verdict, problems=tuple(problems), strict=strict)
    click.echo(report(output_format)(verdict, wanted.policies))
    gc.freeze()  # nor at the very end
    sys.exit(0 if verdict.valid else 1)


def _touched(
    verdict: Verdict, revision: str, paths: tuple[str, ...], wanted: Checks, environment: str | None
) -> Verdict:
    """The verdict with only those problems that the change since ``revision`` touches."""
    from reconciler.manifests.changes import changes_since, touched

    if "-" in paths:
        raise UsageError("--changed-since needs files in a git repository, not the standard input")
    changes = changes_since(revision, paths)
    before = judge(changes.before, wanted, None, environment)
    shown = touched(verdict.problems, changes, before.problems)
    return msgspec.structs.replace(verdict, problems=tuple(shown), elsewhere=len(verdict.problems) - len(shown))


def _changed_versions(
    files: "Files", base: str | None, paths: tuple[str, ...], environment: str | None
) -> "list[Problem]":
    """Definitions that changed since ``base`` under the same version."""
    if base is None:
        return []
    from reconciler.manifests.changes import files_at
    from reconciler.manifests.gates import changed_versions

    if "-" in paths:
        raise UsageError("--base needs files in a git repository, not the standard input")
    before = files_at(base, paths)
    if not before:
        click.echo(f"reconciler: {base} has no manifests in {', '.join(paths)}: nothing to compare with", err=True)
    found, notes = changed_versions(files, before, base, environment)
    for note in notes:
        click.echo(f"reconciler: {note}", err=True)
    return found


def _misfits(
    files: "Files", verdict: Verdict, against: Path | None, source: str | None, environment: str | None
) -> "tuple[Problem, ...]":
    """Services that find no place; asked only of manifests that are right."""
    if against is None:
        if source is not None:
            raise UsageError("--source goes with --against")
        return ()
    from reconciler.queries import fits, snapshot_file

    if verdict.environments:
        raise UsageError(
            "--against compares one environment with its hosts",
            hint=f"say with --env which one is meant: {', '.join(verdict.environments)}",
        )
    store = snapshot_file.parse(against.read_bytes(), str(against))
    if verdict.errors:
        click.echo(f"reconciler: not compared with {against}, since the manifests are invalid", err=True)
        return ()
    return fits.misfits(store, files, source=source, environment=environment, now=time.time())


def _cache_folder() -> Path | None:
    """Where answers are remembered; None when the user has no folder for it."""
    folder = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("HOME") and str(Path("~/.cache").expanduser()))
    return Path(folder) / "reconciler" / "validate" if folder else None
