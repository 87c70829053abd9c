"""``reconciler restart``."""

import click

from reconciler.cli.overriding import Overriding, overriding
from reconciler.cli.waiting import HEALTHY


@click.command()
@click.argument("service")
@overriding(ends=False, waits=HEALTHY)
def restart(service: str, options: Overriding) -> None:
    """Replace every task of SERVICE by a new one of the same version, as in a rollout.

    Within `min`, `max` and the service's `rollout` block, health first: no more than allowed are away at any time.
    Nothing has to change in git.
    """
    from reconciler.model import keys
    from reconciler.operations import overrides
    from reconciler.queries.settling import settling

    with options.store() as store:
        done = overrides.restart(store, service, options.said)
        options.report(store, done, HEALTHY, lambda fleet: settling(fleet, [keys.service(service)], ""))
