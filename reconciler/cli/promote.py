"""``reconciler promote`` and ``reconciler abort``."""

import click

from reconciler.cli.overriding import Overriding, overriding
from reconciler.cli.waiting import BACK, HEALTHY


@click.command()
@click.argument("service")
@overriding(ends=False, waits=HEALTHY)
def promote(service: str, options: Overriding) -> None:
    """Let the rollout of SERVICE go on from its canaries to all tasks.

    A version that failed, or was taken back, is tried once more: what failed of it goes, and it begins anew.
    """
    from reconciler.model import keys
    from reconciler.operations import verdicts
    from reconciler.queries.settling import settling

    with options.store() as store:
        done = verdicts.decide(store, service, promote=True, said=options.said)
        options.report(store, done, HEALTHY, lambda fleet: settling(fleet, [keys.service(service)], ""))


@click.command()
@click.argument("service")
@overriding(ends=False, waits=BACK)
def abort(service: str, options: Overriding) -> None:
    """Take the rollout of SERVICE back: canaries, or as far as it has come, to the version before.

    The version stays in git, and is not tried again until its content or the service's version changes there, or until
    `reconciler promote`. A first version has nothing to go back to, and is refused; of a batch no more tasks start.
    """
    from reconciler.operations import verdicts
    from reconciler.queries import waits

    with options.store() as store:
        done = verdicts.decide(store, service, promote=False, said=options.said)
        options.report(store, done, BACK, lambda fleet: waits.taken_back(fleet, service))
