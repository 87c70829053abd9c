"""``reconciler drain`` and ``reconciler undrain``."""

import click

from reconciler.cli.overriding import Overriding, moment, overriding
from reconciler.cli.waiting import EMPTY


@click.command()
@click.argument("host")
@click.option(
    "--deadline",
    metavar="TIME",
    callback=lambda _, __, text: moment("--deadline", text) if text else 0.0,
    help="From then on what is left is replaced at once, though `min` may suffer: a duration such as 30m, or a time.",
)
@overriding(waits=EMPTY)
def drain(host: str, deadline: float, options: Overriding) -> None:
    """Empty HOST: what runs there starts elsewhere, and stops here once it is healthy there.

    Also a single instance, and on several hosts at once. Nothing new is placed there until `reconciler undrain`. With
    --wait it ends when the host is empty, and says meanwhile what it waits for.
    """
    from reconciler.operations import overrides
    from reconciler.queries import waits

    with options.store() as store:
        done = overrides.drain(store, host, options.said, deadline)
        options.report(store, done, EMPTY, lambda fleet: waits.emptied(fleet, host))


@click.command()
@click.argument("host")
@overriding()
def undrain(host: str, options: Overriding) -> None:
    """Use HOST again: take `reconciler drain` back, or override a `draining: true` of its manifest.

    Only the latter is kept, so only with it there is an --until.
    """
    from reconciler.operations import overrides

    with options.store() as store:
        options.report(store, overrides.undrain(store, host, options.said))
