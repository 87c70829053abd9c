"""``reconciler restart``."""

import click

from reconciler.cli.overriding import Overriding, overriding
from reconciler.cli.waiting import HEALTHY
from reconciler.errors import UsageError


@click.command()
@click.argument("service")
@click.option("--clear", is_flag=True, help="Take it back: what has not been replaced yet stays.")
@overriding(ends=False, waits=HEALTHY)
def restart(service: str, clear: bool, options: Overriding) -> None:
    """Replace every task of SERVICE by a new one of the same version, as in a rollout.

    Within `min`, `max` and the service's `rollout` block, health first: no more than allowed are away at any time.
    Nothing has to change in git. A batch begins anew.
    """
    from reconciler.model import keys
    from reconciler.operations import replacements
    from reconciler.queries.settling import settling

    if clear and options.reason:
        raise UsageError("--reason goes with a restart: nothing is kept of what --clear takes back")
    with options.store() as store:
        if clear:
            done = replacements.keep(store, service, options.said.now)
        else:
            done = replacements.restart(store, service, options.said)
        options.report(store, done, HEALTHY, lambda fleet: settling(fleet, [keys.service(service)], ""))
