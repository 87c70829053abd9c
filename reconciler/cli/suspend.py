"""``reconciler suspend`` and ``reconciler resume``."""

import time

import click

from reconciler.cli import output
from reconciler.cli.options import by_option, store_option


@click.command()
@click.argument("source")
@click.option("--reason", metavar="TEXT", default="", help="Why; shown in `status`.")
@click.option(
    "--until",
    metavar="TIME",
    help="When it ends by itself: a duration such as 2h, or a time such as 2031-05-01T08:00 (UTC).",
)
@by_option
@store_option
def suspend(source: str, reason: str, until: str | None, by: str, store_url: str | None) -> None:
    """Have nothing written for SOURCE until it is resumed: no new revision, no repair of changes by hand.

    `reconciler status` shows who, why and until when, and does not call the source well. Tasks go on as they are.
    """
    from reconciler import wiring
    from reconciler.cli.moments import moment
    from reconciler.errors import UsageError
    from reconciler.model.intents import Suspension
    from reconciler.operations import source_intents

    now = time.time()
    ends = moment("--until", until, now, ahead=True) if until else 0.0
    if until and ends <= now:
        raise UsageError(f"--until {until} is over already")
    with wiring.open_store(store_url) as store:
        source_intents.suspend(store, source, Suspension(by=by, reason=reason, since=now, until=ends))
    click.echo(f"{source} is suspended" + (f" until {output.when(ends)}" if ends else ""))


@click.command()
@click.argument("source")
@click.option(
    "--discard",
    is_flag=True,
    help="Delete all that operators said about SOURCE (rollback, approval and adoption too), also what can't be read.",
)
@store_option
def resume(source: str, discard: bool, store_url: str | None) -> None:
    """End the suspension of SOURCE; if it is not suspended, end its rollback, or try again what is quarantined."""
    from reconciler import wiring
    from reconciler.operations import source_intents

    with wiring.open_store(store_url) as store:
        if discard:
            had = source_intents.discard(store, source)
            click.echo(f"{source}: " + ("what operators said is discarded" if had else "operators said nothing"))
            return
        done = source_intents.resume(store, source, time.time())
    click.echo(f"{source} {done}")
