"""``reconciler render``: the manifests of one environment, as they would be applied."""

import difflib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import environment_option, format_option, revision_options
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.manifests.problem import Problem
    from reconciler.manifests.render import Rendered


@click.command(
    epilog="""
\b
Exit codes:
  0  rendered
  1  something is wrong with it; what could be rendered is printed all the same
  2  could not: no such file or repository

\b
Examples:
  reconciler render --env prod
  reconciler render manifests/ --env prod --diff staging
  reconciler render --env prod | reconciler validate -
  reconciler render --git https://example.org/team/fleet.git --env prod
"""
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@revision_options
@environment_option
@click.option("--diff", "other", metavar="NAME", help="Only what is different from this other environment.")
@format_option("yaml", "json")
def render(
    paths: tuple[str, ...],
    git_url: str | None,
    branch: str | None,
    tag: str | None,
    commit: str | None,
    path: str,
    environment: str | None,
    other: str | None,
    output_format: str,
) -> None:
    """Print the manifests of an environment: its overlay laid over, its parameters filled in.

    PATH is the folder with reconciler.yaml, the current one by default. A comment above each object says where it is
    declared, and one behind a value where that is written, if it is another file. The output is a manifest again.
    """
    from reconciler import wiring
    from reconciler.cli.inputs import read_files
    from reconciler.manifests.render import render as render_files

    if paths and git_url:
        raise UsageError("render takes PATH… or --git URL, not both")
    if not git_url and (branch or tag or commit or path):
        raise UsageError("--branch, --tag, --commit and --path go with --git")
    if other and output_format != "yaml":
        raise UsageError("--diff compares texts, so it goes with --format yaml")
    if git_url:
        source = wiring.source(git_url=git_url, branch=branch, tag=tag, commit=commit, path=path)
        files = [*source.read().files.items()]
        source.close()
    else:
        files = read_files(paths or (".",))
    made = render_files(files, environment)
    if other:
        compared = render_files(files, other)
        click.echo(_difference((other, compared), (environment or "", made)), nl=False)
        _fail_if_wrong([*compared.loaded.errors, *made.loaded.errors])
    else:
        click.echo(made.json() if output_format == "json" else made.yaml(), nl=output_format == "json")
    _fail_if_wrong(made.loaded.errors)


def _difference(before: "tuple[str, Rendered]", after: "tuple[str, Rendered]") -> str:
    """From one environment to the other, as lines."""
    old, new = (rendered.yaml(with_places=False).splitlines(keepends=True) for _, rendered in (before, after))
    return "".join(difflib.unified_diff(old, new, before[0], after[0]))


def _fail_if_wrong(problems: "Sequence[Problem]") -> None:
    if problems:
        for problem in dict.fromkeys(problems):
            click.echo(str(problem), err=True)
        sys.exit(1)
