"""``reconciler suspend`` and ``reconciler resume``."""

import time
from datetime import UTC, datetime

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
    from reconciler.model.intents import Suspension
    from reconciler.operations import source_intents

    now = time.time()
    ends = _time(until, now) if until else 0.0
    with wiring.open_store(store_url) as store:
        source_intents.suspend(store, source, Suspension(by=by, reason=reason, since=now, until=ends))
    click.echo(f"{source} is suspended" + (f" until {output.when(ends)}" if ends else ""))


@click.command()
@click.argument("source")
@store_option
def resume(source: str, store_url: str | None) -> None:
    """End the suspension of SOURCE; if it is not suspended, end its rollback."""
    from reconciler import wiring
    from reconciler.operations import source_intents

    with wiring.open_store(store_url) as store:
        done = source_intents.resume(store, source, time.time())
    click.echo(f"{source} {done}")


def _time(text: str, now: float) -> float:
    """Seconds since 1970 of a moment to come."""
    from reconciler.errors import UsageError
    from reconciler.model.durations import parse_duration

    try:
        return now + parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--until {text!r} is neither a duration such as 2h nor a time such as 2031-05-01T08:00"
        ) from None
    at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if at <= now:
        raise UsageError(f"--until {text} is over already")
    return at
