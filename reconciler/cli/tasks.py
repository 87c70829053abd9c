"""``reconciler tasks``."""

import click

from reconciler.cli import output
from reconciler.cli.options import format_option, read_fleet, store_option
from reconciler.queries.tasks import TaskRow


@click.command()
@click.argument("service", required=False)
@click.option("--cluster", metavar="NAME", help="Only this cluster's tasks.")
@click.option("--host", metavar="NAME", help="Only tasks on this host.")
@store_option
@format_option("text", "json")
def tasks(
    service: str | None, cluster: str | None, host: str | None, store_url: str | None, output_format: str
) -> None:
    """Show every task: where it is, how it is, and why it isn't well.

    A task that waits for a place has no id and no host yet; REASON says what is missing. Give SERVICE to see only its
    tasks.
    """
    from reconciler.queries import tasks as query

    rows = [
        row
        for row in query.tasks(read_fleet(store_url))
        if service in (None, row.service) and cluster in (None, row.cluster) and host in (None, row.host)
    ]
    if output_format == "json":
        output.print_json(rows)
        return
    output.print_table(COLUMNS, [cells(row) for row in rows], empty="no tasks")


COLUMNS = ("task", "version", "host", "port", "phase", "health", "since", "reason")


def cells(row: TaskRow) -> tuple[object, ...]:
    """A task as a row of ``COLUMNS``."""
    return (
        row.id or f"{row.cluster}-{row.service}-…",
        row.task_version,
        row.host or "-",
        output.ports(row.port, row.ports, row.published) or "-",
        str(row.phase),
        str(row.health),
        output.ago(row.since),
        row.reason,
    )
