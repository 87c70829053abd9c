"""``reconciler apply``."""

import click

from reconciler.cli import output
from reconciler.cli.options import format_option, store_option
from reconciler.cli.waiting import wait_healthy, wait_options


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="A manifest or a folder of them; `-` reads standard input. May be given several times.",
)
@click.option(
    "--abandon-unfinished",
    is_flag=True,
    help="Go on although an earlier apply was killed before it had written everything, and its files are gone.",
)
@wait_options
@store_option
@format_option("text", "json")
def apply(
    files: tuple[str, ...],
    abandon_unfinished: bool,
    wait: bool,
    timeout_s: float,
    store_url: str | None,
    output_format: str,
) -> None:
    """Write manifests to the store by hand, without git.

    Everything is checked first; nothing is written unless all of it is valid. Objects that are not mentioned stay:
    `apply` never removes anything. What a `sync` source manages is refused.
    """
    from reconciler import wiring
    from reconciler.cli.inputs import read_files
    from reconciler.operations import apply as operation
    from reconciler.sync.passes import APPLY

    contents = read_files(files)
    with wiring.open_store(store_url) as store:
        wiring.ready(store)
        result = operation.apply(store, contents, abandon_unfinished=abandon_unfinished)
        if output_format == "json":
            output.print_json(result)
        else:
            for line in result.lines():
                click.echo(line)
        if wait:
            wait_healthy(store, [each.key for each in result.applied], APPLY, timeout_s)
