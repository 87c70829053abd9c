"""``reconciler plan``: what would change, before it does."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli import output
from reconciler.cli.deletions import max_deletions_option
from reconciler.cli.options import environment_option, format_option, revision_options, store_option
from reconciler.errors import ReconcilerError, UsageError

if TYPE_CHECKING:
    from reconciler.manifests.source import Source
    from reconciler.operations.saved_plan import Declared
    from reconciler.queries.preview import Preview
    from reconciler.store.frozen import FrozenStore
    from reconciler.store.interface import Store
    from reconciler.sync.brake import DeletionLimit

DIFFERS = 2


@click.command(
    epilog="""
\b
Exit codes:
  0  here is the plan
  1  sync would refuse it, the manifests are invalid, or (with --must-fit) something would not fit
  2  could not plan
With --detailed-exitcode: 0 nothing would change, 2 something would, 1 refused, invalid or could not.

\b
Examples:
  reconciler plan manifests/
  reconciler plan --git https://example.org/team/fleet.git --branch topic
  reconciler plan . --env prod
  reconciler plan manifests/ --against fleet.json --format markdown
"""
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@revision_options
@environment_option
@click.option(
    "--source",
    metavar="NAME",
    help="Which source these manifests are all of. If not given: the only one in the store; with --git, the "
    "repository's name. `apply` stands for `reconciler apply -f`, which deletes nothing.",
)
@click.option(
    "--against",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file from `reconciler snapshot`, instead of the store.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the plan to FILE, for `reconciler apply --plan FILE`: exactly that is applied then, or nothing. "
    "It holds the manifests, so keep it as you keep them.",
)
@max_deletions_option
@click.option(
    "--must-fit", is_flag=True, help="Exit with 1 when tasks would find no place, but for those that have none now."
)
@click.option("--detailed-exitcode", is_flag=True, help="0: nothing would change, 2: something would, 1: an error.")
@store_option
@format_option("text", "json", "markdown")
def plan(
    paths: tuple[str, ...],
    git_url: str | None,
    branch: str | None,
    tag: str | None,
    commit: str | None,
    path: str,
    environment: str | None,
    source: str | None,
    against: Path | None,
    out: Path | None,
    limit: "DeletionLimit",
    must_fit: bool,
    detailed_exitcode: bool,
    store_url: str | None,
    output_format: str,
) -> None:
    """Show what manifests would change: objects and fields in the store, and then tasks.

    Nothing is written. The tasks are planned by the scheduler's own planner, round by round, as if each task that
    starts became healthy: what starts, stops and moves, in which order, and what does not fit and why.
    """
    from reconciler import wiring
    from reconciler.cli import plan_text
    from reconciler.cli.inputs import read_files
    from reconciler.operations.apply import IDENTITY
    from reconciler.operations.saved_plan import Declared
    from reconciler.queries.preview import preview
    from reconciler.queries.snapshot_file import freeze

    with _errors_are_1(detailed_exitcode):
        if bool(paths) == bool(git_url):
            raise UsageError("plan needs manifests", hint="give PATH… or --git URL")
        if not git_url and (branch or tag or commit or path):
            raise UsageError("--branch, --tag, --commit and --path go with --git")
        with open_or_snapshot(store_url, against) as store:
            frozen = freeze(store)
            if git_url:
                place = wiring.source(
                    git_url=git_url,
                    branch=branch,
                    tag=tag,
                    commit=commit,
                    path=path,
                    name=source,
                    environment=environment,
                )
                what = _newest(frozen, place)
                made = preview(
                    frozen,
                    what.files,
                    source=place.name,
                    environment=environment,
                    revision=what.revision,
                    is_related=what.is_related,
                    now=time.time(),
                    limit=limit,
                    location=place.location,
                )
            else:
                files = tuple(read_files(paths))
                made = preview(frozen, files, source=source, environment=environment, now=time.time(), limit=limit)
                what = Declared(identity=IDENTITY, revision=made.revision, files=files, environment=environment)
            if out is not None:
                _save(frozen, what, made, out)
    if output_format == "json":
        output.print_json(made)
    else:
        for line in plan_text.markdown(made) if output_format == "markdown" else plan_text.text(made):
            click.echo(line)
    if made.refused or (must_fit and not made.fits):
        sys.exit(1)
    sys.exit(DIFFERS if detailed_exitcode and made.differs else 0)


def _newest(frozen: "FrozenStore", place: "Source") -> "Declared":
    """What a source declares now."""
    from reconciler.operations.saved_plan import Declared
    from reconciler.queries.preview_source import newest
    from reconciler.sync.source_state import Identity

    found = newest(frozen, place)
    return Declared(
        identity=Identity(place.name, place.kind, place.location),
        revision=found.revision.id,
        files=tuple(found.revision.files.items()),
        is_related=found.is_related,
        author=found.revision.author,
        subject=found.revision.subject,
        environment=place.environment,
    )


def _save(frozen: "FrozenStore", what: "Declared", made: "Preview", place: Path) -> None:
    """Write the plan to a file; a plan that would be refused is not worth one."""
    from reconciler.operations import saved_plan

    if made.source != what.identity.source:
        raise UsageError(
            f"--out with files goes with --source apply: source {made.source} reads them from elsewhere",
            hint="For a repository, give --git URL in the place of PATH.",
        )
    if made.refused:
        click.echo(f"reconciler: {place} is not written: the plan would be refused", err=True)
        return
    keys = [change.key for change in made.changes]
    saved_plan.write(saved_plan.saved(frozen, what, plan_hash=made.hash, keys=keys), place)
    click.echo(f"wrote {place}; apply it with: reconciler apply --plan {shlex.quote(str(place))}", err=True)


@contextmanager
def open_or_snapshot(store_url: str | None, against: Path | None) -> "Iterator[Store]":
    """The store, or the one that a snapshot file holds."""
    if against is not None:
        from reconciler.queries import snapshot_file

        yield snapshot_file.parse(against.read_bytes(), str(against))
        return
    from reconciler import wiring

    with wiring.open_store(store_url) as store:
        yield store


@contextmanager
def _errors_are_1(detailed: bool) -> Iterator[None]:
    """With --detailed-exitcode 2 means that something would change, so an error must not say so."""
    try:
        yield
    except ReconcilerError as error:
        if not detailed:
            raise
        click.echo(f"reconciler: {error}", err=True)
        sys.exit(1)
