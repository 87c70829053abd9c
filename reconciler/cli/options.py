"""Options that several commands share, so that they read and behave alike everywhere."""

from collections.abc import Callable
from pathlib import Path
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
        "output_format",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to print the answer.",
    )


def daemon_options(port: int) -> Callable[[F], F]:
    """``--http``, ``--log-format`` and ``--log-level`` of a process that stays up."""

    def add(function: F) -> F:
        function = click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default="info",
            show_default=True,
            envvar="RECONCILER_LOG_LEVEL",
        )(function)
        function = click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            envvar="RECONCILER_LOG_FORMAT",
            help="Lines for people, or one JSON object a line.",
        )(function)
        return click.option(
            "--http",
            "bind",
            callback=bind_address,
            default=f"127.0.0.1:{port}",
            show_default=True,
            metavar="HOST:PORT",
            help="Where to serve /healthz and /metrics; port 0 takes any free one, `off` serves nothing.",
        )(function)

    return add


def bind_address(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, int] | None:
    """``HOST:PORT``, ``:PORT``, ``PORT`` or ``off`` (None)."""
    if value == "off":
        return None
    host, _, port = value.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT", ctx, param)
    return host.strip("[]") or "127.0.0.1", int(port)


def agent_options(function: F) -> F:
    """What names and places an agent."""
    function = click.option(
        "--executor",
        "executors",
        multiple=True,
        type=click.Choice(["docker", "bash"]),
        help="Offer only these executors (may be repeated); all of them if not given.",
    )(function)
    function = click.option(
        "--runtime-dir",
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="RECONCILER_RUNTIME_DIR",
        help="Where logs and other small files of running tasks are kept.",
    )(function)
    function = click.option(
        "--address",
        metavar="IP",
        help="The address under which tasks on this host are reached; found out if not given.",
    )(function)
    return click.option("--host", metavar="NAME", help="This host's name in the store; the machine's if not given.")(
        function
    )
