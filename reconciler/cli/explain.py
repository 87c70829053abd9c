"""``reconciler explain``."""

import time

import click

from reconciler.cli import output
from reconciler.cli.options import format_option, store_option


@click.command()
@click.argument("name", metavar="TASK|SERVICE|HOST")
@store_option
@format_option("text", "json")
def explain(name: str, store_url: str | None, output_format: str) -> None:
    """Say why a task, a service or a host is as it is.

    First where the objects behind it are declared: file, line, commit and author. Then how it is and what it waits
    for; for what finds no place, each host and why it does not take it; and what was decided last.

    A task may be named by the beginning or end of its id. If a name means several things, say task/NAME, service/NAME
    or host/NAME.
    """
    from reconciler import wiring
    from reconciler.cli import explain_text
    from reconciler.queries import explain as query
    from reconciler.queries import fleet, provenance

    with wiring.open_store(store_url) as store:
        now = time.time()
        answer = query.explain(fleet.read(store, now), provenance.read(store), name)
    if output_format == "json":
        output.print_json(answer)
        return
    for line in explain_text.lines(answer):
        click.echo(line)
