"""``reconciler rebalance``."""

import time
from typing import TYPE_CHECKING

import click

from reconciler.cli import output
from reconciler.cli.overriding import Overriding, overriding
from reconciler.cli.waiting import HEALTHY, wait_for
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.scheduler.balance import Balance


@click.command()
@click.argument("services", metavar="[SERVICE]...", nargs=-1)
@click.option(
    "--at-most",
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Move no more tasks than that; ask again for the next ones.",
)
@click.option("--dry-run", is_flag=True, help="Only show which tasks would be moved.")
@click.option("--clear", is_flag=True, help="Take it back: what has not moved yet stays where it is.")
@overriding(ends=False, waits=HEALTHY)
def rebalance(services: tuple[str, ...], at_most: int, dry_run: bool, clear: bool, options: Overriding) -> None:
    """Move tasks of each SERVICE (default: of all) to hosts where there is more room.

    Nothing moves by itself when a host is added or comes back. This looks once for tasks that would be better
    elsewhere, from the fullest host on, and has them replaced as a drain does: healthy there first (stopped first where
    `max` or `order` wants it), within `min` and the `rollout` block. A task is moved if that spreads its service better
    over the tag of `spread_over` or over hosts, or if the other host, with it, is emptier by 5 % of a host than its own
    is now. Where it starts is decided when it does.
    """
    from reconciler.model import keys
    from reconciler.operations import replacements
    from reconciler.queries import fleet
    from reconciler.queries.settling import settling
    from reconciler.scheduler import balance
    from reconciler.scheduler.snapshot import view_of

    if clear and (dry_run or options.reason):
        raise UsageError("--clear takes back what was asked for: it takes neither --dry-run nor --reason")
    with options.store() as store:
        if clear:
            _show_cleared(replacements.stay(store, services), options.output_format)
            return
        read = fleet.read(store, time.time())
        if unknown := sorted(set(services) - read.snapshot.services.keys()):
            raise UsageError(f"there is no service {unknown[0]} in {store.url}", hint="`reconciler status` lists them.")
        planned = [(view_of(read.scene, name), plan) for name, plan in read.plans.items()]
        found = balance.find(read.scene.hosts, planned, services or None, at_most)
        if not dry_run:
            replacements.rebalance(store, found.moves, options.said)
        if options.output_format == "json":
            output.print_json(found)
        else:
            _show(found, dry_run=dry_run, at_most=at_most)
        changed = sorted({keys.service(move.service) for move in found.moves})
        if options.wait and changed and not dry_run:
            wait_for(store, lambda fleet: settling(fleet, changed, ""), options.timeout_s)


def _show_cleared(services: tuple[str, ...], output_format: str) -> None:
    if output_format == "json":
        output.print_json({"cleared": services})
        return
    for service in services:
        click.echo(f"{service}: what has not moved yet stays where it is")
    if not services:
        click.echo("nothing was asked to be moved")


def _show(found: "Balance", *, dry_run: bool, at_most: int) -> None:
    output.print_table(
        ("task", "from", "best on", "because"),
        [(move.task, move.host, move.to, move.reason) for move in found.moves],
        empty="no task would be better elsewhere",
    )
    for service, why in sorted(found.left_out.items()):
        click.echo(f"{service} is left as it is: {why}", err=True)
    if not found.moves:
        return
    tasks = "1 task" if len(found.moves) == 1 else f"{len(found.moves)} tasks"
    click.echo(f"{tasks} would be moved" if dry_run else f"{tasks} will be replaced, as on a draining host")
    if len(found.moves) == at_most:
        click.echo("there may be more: ask again when these have moved")
