"""``reconciler apply``."""

from pathlib import Path

import click

from reconciler.cli import output
from reconciler.cli.options import format_option, store_option


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    type=click.Path(exists=True, allow_dash=True, path_type=Path),
    help="A manifest or a folder of them; `-` reads standard input. May be given several times.",
)
@store_option
@format_option("text", "json")
def apply(files: tuple[Path, ...], store_url: str | None, output_format: str) -> None:
    """Write manifests to the store by hand, without git.

    Everything is checked first; nothing is written unless all of it is valid. Objects that are not mentioned stay:
    `apply` never removes anything. What a `sync` source manages is refused.
    """
    from reconciler import wiring

    result = wiring.apply(store_url, files)
    if output_format == "json":
        output.print_json(result)
        return
    for line in result.lines():
        click.echo(line)
