"""Options that several commands share, so that they read and behave alike everywhere."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def store_option(function: F) -> F:
    """``--store URL``; None when not given: the local Consul, or what the command says."""
    return click.option(
        "--store",
        "store_url",
        envvar="RECONCILER_STORE",
        metavar="URL",
        help="Where the state is kept: consul://HOST:PORT[/PREFIX], consul+https://…, sqlite:///PATH. "
        "The default is the local Consul, as CONSUL_HTTP_ADDR and its like say. [env: RECONCILER_STORE]",
    )(function)


def format_option(*formats: str) -> Callable[[F], F]:
    """``--format``; the first one is the default."""
    return click.option(
        "--format",
        "output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to print the answer.",
    )
