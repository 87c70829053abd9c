"""``reconciler logs``."""

import os
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import http_file_option, http_token_option, store_option
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.queries.whereabouts import Whereabouts
    from reconciler.runtime.http_client import Credentials


@click.command()
@click.argument("task")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it writes, through restarts; Ctrl-C ends it.")
@click.option("--tail", "lines", metavar="N", type=click.IntRange(0, 100_000), default=100, show_default=True,
              help="How many lines of what it has written to begin with.")  # fmt: skip
@click.option("--container", metavar="NAME", help="Which container, of a task that has several.")
@click.option("--host", metavar="NAME", help="Where it was, of a task that is gone; what it wrote is kept for a while.")
@http_token_option
@http_file_option("--http-ca", "Whose certificates of agents to believe; those that the system believes if not given.")
@http_file_option("--http-cert", "The certificate to show, where agents ask for one.")
@http_file_option("--http-key", "The key of that certificate.")
@store_option
def logs(
    task: str,
    follow: bool,
    lines: int,
    container: str | None,
    host: str | None,
    http_token_file: Path | None,
    http_ca: Path | None,
    http_cert: Path | None,
    http_key: Path | None,
    store_url: str | None,
) -> None:
    """Print what a task has written, both its streams, as its host's agent has kept it.

    TASK is an id, or the beginning or end of one. With --follow it ends when the task is gone from its host.

    The store says which host has the task, and where that host's agent listens. By default agents listen on loopback
    only: then this works on the host itself. For others start agents with --http and a token.

    \b
    reconciler logs main-web-1-0 --tail 20
    reconciler logs web-1-0 -f
    reconciler logs main-web-1-0 --host web-7   # failed there, and replaced
    """
    from reconciler import wiring
    from reconciler.queries import fleet
    from reconciler.queries.whereabouts import whereabouts
    from reconciler.runtime import http_client, secret
    from reconciler.runtime.http_access import TOKEN_VARIABLE

    try:
        token = secret.read("the token for HTTP", http_token_file, TOKEN_VARIABLE, os.environ)
        with wiring.open_store(store_url) as store:
            where = whereabouts(fleet.read(store, time.time()), task, host)
        query = {"tail": str(lines), "follow": str(int(follow)), "host": where.host}
        if container is not None:
            query["container"] = container
        _print(where, query, http_client.Credentials(token, http_ca, http_cert, http_key))
    except KeyboardInterrupt:
        return


def _print(where: "Whereabouts", query: dict[str, str], credentials: "Credentials") -> None:
    from urllib.parse import quote

    from reconciler.runtime import http_client

    _check_within_reach(where)
    try:
        for piece in http_client.stream(f"{where.url}/v1/tasks/{quote(where.task_id)}/logs", query, credentials):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except http_client.Unreachable as error:
        raise ReconcilerError(error.message, hint=f"Is the agent of {where.host} up, and may it be reached?") from error
    except http_client.Cut as error:
        raise ReconcilerError(
            f"the agent of {where.host} has stopped, or is out of reach; the task may well go on",
            hint="Give the same command again; the next agent goes on with the same logs.",
        ) from error
    except http_client.Answered as error:
        if error.status == HTTPStatus.MISDIRECTED_REQUEST:
            raise _elsewhere(where) from error
        hints = {
            401: f"Give the token of {where.host}'s agent: --http-token-file, or RECONCILER_HTTP_TOKEN.",
            404: "What is on its host now has logs (`reconciler tasks`); for a while also what failed there (--host).",
            400: "See `reconciler logs --help`.",
        }
        raise ReconcilerError(f"{where.host}: {error.message}", hint=hints.get(error.status)) from error


def _check_within_reach(where: "Whereabouts") -> None:
    """An agent on loopback answers its own machine only; another one's would answer here, for other tasks."""
    from urllib.parse import urlsplit

    from reconciler.agent.identity import is_this_machine
    from reconciler.runtime.http_access import is_loopback

    if not where.url:
        raise ReconcilerError(
            f"{where.task_id} is on {where.host}, whose agent serves no HTTP",
            hint="Start it without `--http off`; one of an older version does not say where it listens: upgrade it.",
        )
    if is_loopback(urlsplit(where.url).hostname or "") and not is_this_machine(where.machine, where.address):
        raise _elsewhere(where)


def _elsewhere(where: "Whereabouts") -> ReconcilerError:
    return ReconcilerError(
        f"{where.task_id} is on {where.host} ({where.address}), whose agent listens on its loopback only",
        hint=f"Run this there (ssh {where.address}), or start that agent with `--http {where.address}:8231` and a "
        "token (--http-token-file, here too).",
    )
