"""``reconciler stop`` and ``reconciler start``."""

import click

from reconciler.cli.overriding import Overriding, overriding
from reconciler.cli.waiting import HEALTHY, STOPPED


@click.command()
@click.argument("service")
@overriding(waits=STOPPED)
def stop(service: str, options: Overriding) -> None:
    """Stop all tasks of SERVICE, whatever git says.

    It stays stopped until --until, until `reconciler start`, or until its `desired` changes in git; `reconciler status`
    shows by whom, and does not call it well.
    """
    from reconciler.operations import overrides
    from reconciler.queries import waits

    with options.store() as store:
        done = overrides.stop(store, service, options.said)
        options.report(store, done, STOPPED, lambda fleet: waits.stopped(fleet, service))


@click.command()
@click.argument("service")
@overriding(kept=False, waits=HEALTHY)
def start(service: str, options: Overriding) -> None:
    """Start SERVICE again after `reconciler stop`: what git says counts again."""
    from reconciler.model import keys
    from reconciler.operations import overrides
    from reconciler.queries.settling import settling

    with options.store() as store:
        done = overrides.start(store, service, options.said.now)
        options.report(store, done, HEALTHY, lambda fleet: settling(fleet, [keys.service(service)], ""))
