"""``reconciler approve``."""

import click

from reconciler.cli.options import store_option


@click.command()
@click.argument("source")
@click.argument("plan_hash", metavar="HASH")
@store_option
def approve(source: str, plan_hash: str, store_url: str | None) -> None:
    """Let SOURCE delete more than `sync --max-deletions` allows, if its plan is exactly the one called HASH.

    The refusal, in `reconciler status` and `reconciler plan`, names the HASH. It stands for the revision and for each
    key with its value before and after: when one of them is another by then, it is refused again, with another HASH.
    """
    from reconciler import wiring
    from reconciler.operations import source_intents

    with wiring.open_store(store_url) as store:
        source_intents.approve(store, source, plan_hash)
    click.echo(f"plan {plan_hash} of {source} is approved")
