"""``--max-deletions``, for ``sync`` and ``plan``."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from reconciler.sync.brake import DeletionLimit

F = TypeVar("F", bound=Callable[..., Any])


def max_deletions_option(function: F) -> F:
    """Gives the command ``limit``."""
    return click.option(
        "--max-deletions",
        "limit",
        metavar="N|P%",
        callback=_limit,
        help="How many objects one revision may delete, or which share of the source's, before `reconciler approve` is "
        "needed. If not given: 10, or 30% if that is more.",
    )(function)


def _limit(ctx: click.Context, param: click.Parameter, value: str | None) -> "DeletionLimit":
    from reconciler.sync import brake

    if value is None:
        return brake.DEFAULT
    try:
        return brake.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error
