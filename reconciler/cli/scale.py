"""``reconciler scale``."""

import click

from reconciler.cli.overriding import Overriding, overriding
from reconciler.cli.waiting import HEALTHY
from reconciler.errors import UsageError


@click.command()
@click.argument("service")
@click.argument("number", type=click.IntRange(min=0), required=False)
@click.option("--clear", is_flag=True, help="Take it back: what the manifest says counts again.")
@overriding(waits=HEALTHY)
def scale(service: str, number: int | None, clear: bool, options: Overriding) -> None:
    """Run NUMBER tasks of SERVICE, whatever git says.

    NUMBER has to be within the service's `min` and `max`, if it has them. Git is not touched, and nothing fights it:
    the number holds until --until, until `scale --clear`, or until `desired` changes in git. `reconciler status` shows
    it.
    """
    from reconciler.model import keys
    from reconciler.operations import overrides
    from reconciler.queries.settling import settling

    if (number is None) is not clear:
        raise UsageError("scale takes either a NUMBER or --clear")
    if clear and (options.until or options.reason):
        raise UsageError("--until and --reason go with a NUMBER: nothing is kept of what --clear takes back")
    with options.store() as store:
        if number is None:
            done = overrides.start(store, service, options.said.now)
        else:
            done = overrides.scale(store, service, number, options.said)
        options.report(store, done, HEALTHY, lambda fleet: settling(fleet, [keys.service(service)], ""))
