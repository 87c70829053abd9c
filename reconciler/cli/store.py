"""``reconciler store``."""

import click

from reconciler.cli.options import store_option


@click.group()
def store() -> None:
    """Look after the store itself."""


@store.command()
@store_option
def init(store_url: str | None) -> None:
    """Mark a store as ours, on purpose.

    Every process does this by itself on an empty store. Do it by hand when the store is not empty, or after it was
    wiped or restored and you are sure that what it holds now is what should run: agents and schedulers hold everything
    as it is until then.
    """
    from reconciler import wiring
    from reconciler.runtime.ids import new_id
    from reconciler.store import sentinel

    with wiring.open_store(store_url) as opened:
        store_id = sentinel.initialise(opened, new_id())
        click.echo(f"{opened.url} is ours, with the id {store_id}")
