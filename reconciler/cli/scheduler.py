"""``reconciler scheduler``."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import DaemonOptions, daemon_options, store_option

if TYPE_CHECKING:
    from reconciler.scheduler.steps import Plan


@click.command()
@click.option(
    "--name",
    default="default",
    show_default=True,
    help="Serve the clusters whose `scheduler` is this name.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be issued and withdrawn now, write nothing, and exit.")
@store_option
@daemon_options(8232)
def scheduler(
    name: str,
    dry_run: bool,
    store_url: str | None,
    daemon_options: DaemonOptions,
) -> None:
    """Decide which tasks run where, and issue them.

    Start as many as you like: each cluster is served by the one that holds its lock, and another takes over within
    seconds when that one dies. SIGTERM gives the locks up at once. Tasks keep running without any scheduler.
    """
    from reconciler import wiring
    from reconciler.runtime.process import serve
    from reconciler.scheduler import loop

    daemon_options.set_up_log()
    with wiring.open_store(store_url) as store:
        if dry_run:
            for plan in loop.dry_run(store, scheduler_name=name, now=time.time()):
                for line in _lines(plan):
                    click.echo(line)
            return
        serve([wiring.scheduler(store, name=name)], bind=daemon_options.bind, access=daemon_options.access())


def _lines(plan: "Plan") -> Iterator[str]:
    from reconciler.scheduler.steps import Amend, Issue, Prepare, Withdraw

    if plan.hold:
        yield f"{plan.cluster}: nothing is changed: {plan.hold}"
    for action in plan.actions:
        match action:
            case Issue(task, why):
                yield f"{plan.cluster}: issue {task.id} on {task.host}: {why}"
            case Withdraw(task, why):
                yield f"{plan.cluster}: withdraw {task.id} from {task.host}: {why}"
            case Amend(task, why):
                yield f"{plan.cluster}: amend the record of {task.id}: {why}"
            case Prepare(wanted, why):
                what = f"{wanted.task_name} version {wanted.task_version}"
                yield f"{plan.cluster}: prepare {what} on {wanted.host}: {why}"
            case _:
                pass
    for pending in plan.pending:
        yield f"{plan.cluster}: {pending.service}: {pending.count} cannot be placed: {pending.reason}"
    for note in plan.notes:
        yield f"{plan.cluster}: {note.service}: {note.reason}"
    if plan.brake:
        yield f"{plan.cluster}: {plan.brake}"
    if not (plan.hold or plan.actions or plan.pending):
        yield f"{plan.cluster}: nothing to do"
