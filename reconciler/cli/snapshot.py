"""``reconciler snapshot``."""

import time

import click

from reconciler.cli import output
from reconciler.cli.options import store_option


@click.command()
@store_option
def snapshot(store_url: str | None) -> None:
    """Print all that `plan --against` and `validate --against` need, as one JSON document.

    So that CI can plan without a way to the store. It holds what is declared and what runs where, with all that stands
    in manifests; no session, no token, and nothing that a program printed.
    """
    from reconciler import wiring
    from reconciler.queries import snapshot_file

    with wiring.open_store(store_url) as store:
        document = snapshot_file.document(snapshot_file.freeze(store), time.time())
    output.print_json(document)
