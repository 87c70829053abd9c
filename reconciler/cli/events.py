"""``reconciler events``."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click
import msgspec

from reconciler.cli import output
from reconciler.cli.options import format_option, store_option

if TYPE_CHECKING:
    from reconciler.queries.events import FleetEvent
    from reconciler.store.interface import Store

WATCH_S: Final = 30.0
NEVER_S: Final = 1e6


@click.command()
@click.option("--cluster", metavar="NAME", help="Only what concerns this cluster.")
@click.option("--service", metavar="NAME", help="Only what concerns this service.")
@click.option("--since", metavar="TIME", help="Only what is newer: a duration such as 10m, or a time (UTC).")
@click.option("--follow", is_flag=True, help="Go on with whatever happens from now on; Ctrl-C ends it.")
@store_option
@format_option("text", "json")
def events(
    cluster: str | None,
    service: str | None,
    since: str | None,
    follow: bool,
    store_url: str | None,
    output_format: str,
) -> None:
    """Show what schedulers decided and why, and what became of tasks; the newest last.

    A cluster's head keeps its last decisions (8 KB of them), a host's status the last state of each of its tasks:
    older ones are gone. With --follow, `--format json` prints one object a line.
    """
    from reconciler import wiring
    from reconciler.cli.moments import moment
    from reconciler.queries.events import EventReader, chosen

    after = moment("--since", since, time.time(), ahead=False) if since else None
    with wiring.open_store(store_url) as store:
        reader = EventReader(store)

        def news() -> "list[FleetEvent]":
            return chosen(reader.read(time.time()), cluster=cluster, service=service, since=after)

        if follow:
            _follow(store, reader.WATCHED, lambda: _print(news(), output_format))
            return
        found = news()
    if output_format == "json":
        output.print_json(found)
    elif found:
        _print(found, output_format)
    else:
        click.echo("nothing has happened yet, as far as the store knows")


def _print(found: "list[FleetEvent]", output_format: str) -> None:
    for event in found:
        if output_format == "json":
            click.echo(msgspec.json.encode(event).decode())
            continue
        about = "/".join(filter(None, (event.cluster, event.service)))
        why = f": {event.why}" if event.why else ""
        at = output.when(event.at) if event.at else "at some time"
        click.echo(f"{at}  {about}  {' '.join(f'{event.what}{why}'.split())}")
    sys.stdout.flush()


def _follow(store: "Store", prefixes: tuple[str, ...], show: Callable[[], None]) -> None:
    """Show what is new whenever something under the prefixes moves, until Ctrl-C, or until nobody reads it."""
    from reconciler.runtime.process import stop_signals, wait_for
    from reconciler.runtime.runner import Loop, Waker

    with stop_signals() as stop:

        def step() -> float:
            try:
                show()
            except BrokenPipeError:
                stop.set()
            return NEVER_S

        loop = Loop("events", step, resync_s=NEVER_S)
        wakers = [Waker(f"events: {prefix}", _moves(store, prefix), [loop]) for prefix in prefixes]
        loop.start()
        for waker in wakers:
            waker.start()
        wait_for(stop)
        for waker in wakers:
            waker.stop()
        loop.stop()


def _moves(store: "Store", prefix: str) -> Callable[[], bool]:
    """Blocks until something under a prefix may have changed."""
    index = 0

    def wait() -> bool:
        nonlocal index
        before, index = index, store.wait(prefix, index, WATCH_S)
        return index != before or index == 0

    return wait
