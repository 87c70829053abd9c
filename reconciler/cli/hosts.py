"""``reconciler hosts``."""

import click

from reconciler.cli import output
from reconciler.cli.options import format_option, read_fleet, store_option


@click.command()
@store_option
@format_option("text", "json")
def hosts(store_url: str | None, output_format: str) -> None:
    """Show the hosts: whether their agents are alive, and how full they are.

    MEMORY is in MiB and CPU in units of 1/1024 of a core; both as promised to tasks, of what there is.
    """
    from reconciler.queries import hosts as query

    rows = query.hosts(read_fleet(store_url))
    if output_format == "json":
        output.print_json(rows)
        return
    output.print_table(
        ("host", "agent", "address", "tasks", "healthy", "memory", "cpu", "executors", "tags"),
        [
            (
                row.host,
                "gone" if not row.present else "draining" if row.draining else "ok",
                row.address,
                row.tasks,
                row.healthy,
                f"{row.memory_used}/{row.memory}",
                f"{row.cpu_units_used}/{row.cpu_units}",
                ",".join(row.executors),
                ",".join(f"{name}={value}" for name, value in sorted(row.tags.items())),
            )
            for row in rows
        ],
        empty="no host has reported itself yet: start an agent with `reconciler agent`",
    )
