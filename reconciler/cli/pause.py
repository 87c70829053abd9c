"""``reconciler pause`` and ``reconciler unpause``: the emergency brake."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from reconciler.cli.overriding import Overriding, overriding
from reconciler.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def _which(function: F) -> F:
    every = click.option("--all", "every", is_flag=True, help="Every cluster, also those that come later.")
    return click.argument("cluster", required=False)(every(function))


@click.command()
@_which
@overriding()
def pause(cluster: str | None, every: bool, options: Overriding) -> None:
    """The emergency brake: start, stop and move nothing in CLUSTER, but what replaces tasks that died.

    Dead tasks are replaced by their own version. It holds until --until or `reconciler unpause`; `reconciler status`
    shows by whom, and does not call it well. A transaction that a scheduler is about to send is refused as well.
    """
    from reconciler.operations import overrides

    with options.store() as store:
        options.report(store, overrides.pause(store, _name(cluster, every), options.said))


@click.command()
@_which
@overriding(kept=False)
def unpause(cluster: str | None, every: bool, options: Overriding) -> None:
    """Release the emergency brake of CLUSTER, or the one of all clusters."""
    from reconciler.operations import overrides

    with options.store() as store:
        options.report(store, overrides.unpause(store, _name(cluster, every), time.time()))


def _name(cluster: str | None, every: bool) -> str:
    from reconciler.model import keys

    if (cluster is None) is not every:
        raise UsageError("name a CLUSTER, or say --all")
    if cluster == keys.EVERY:
        raise UsageError(f"{cluster} is no cluster's name", hint="For all clusters: --all.")
    return cluster or keys.EVERY
