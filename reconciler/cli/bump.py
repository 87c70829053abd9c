"""``reconciler bump``: the next version of a task definition, and its services on it."""

import os
import tempfile
from pathlib import Path

import click

from reconciler.cli import output
from reconciler.cli.inputs import read_files
from reconciler.cli.options import environment_option, format_option
from reconciler.errors import UsageError
from reconciler.manifests.bump import bump as change


@click.command(
    epilog="""
\b
Examples:
  reconciler bump web                                    in the folder where you are
  reconciler bump web manifests/ --image example/web:1.8
  reconciler bump web --to 20 --dry-run
  reconciler bump web --env staging                      where the version is said for each environment
"""
)
@click.argument("name")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "--to", type=click.IntRange(min=0), metavar="VERSION", help="The new version; the next number by default."
)
@click.option("--image", metavar="IMAGE", help="Also write this image into its docker container.")
@environment_option
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@format_option("text", "json")
def bump(
    name: str,
    paths: tuple[str, ...],
    to: int | None,
    image: str | None,
    environment: str | None,
    dry_run: bool,
    output_format: str,
) -> None:
    """Raise the version of the task definition NAME, and point the services that run it at the new one.

    A version never changes once it was written, so every change of a task definition needs a new number. The
    manifests in PATH (a file or folder, the current one by default) are changed in place: only the numbers, so that
    comments and layout stay. The old version stays in the store for as long as tasks run it, and in git.

    Services that run an older version stay as they are, and are named. Where there are environments, the number is
    changed wherever it is said: in the base, an overlay, or the value of a parameter; with --env only for that one.
    """
    if "-" in paths:
        raise UsageError("bump changes files in place, so it can't read the standard input")
    result = change(read_files(paths or (".",)), name, to=to, image=image, environment=environment)
    if not dry_run:
        for file, content in result.files.items():
            _write(file, content)
    if output_format == "json":
        output.print_json(
            {
                "name": result.name,
                "before": result.before,
                "after": result.after,
                "written": not dry_run,
                "edits": result.edits,
                "left": result.left,
            }
        )
        return
    for edit in result.edits:
        click.echo(f"{edit.file}:{edit.line}: {edit.what}: {edit.old} → {edit.new}")
    for service in result.left:
        click.echo(f"service {service!r} runs an older version, and stays there")
    if dry_run:
        click.echo("nothing was written (--dry-run)")


def _write(file: str, content: bytes) -> None:
    """In one step, and with the rights that the file has; a link stays a link."""
    place = Path(os.path.realpath(file))
    try:
        mode = place.stat().st_mode
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name}.", delete=False) as draft:
            draft.write(content)
        Path(draft.name).chmod(mode & 0o7777)
        Path(draft.name).replace(place)
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error.strerror or error}") from error
