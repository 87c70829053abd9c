"""``reconciler status``."""

import sys

import click

from reconciler.cli import output
from reconciler.cli.options import format_option, read_fleet, store_option


@click.command()
@store_option
@format_option("text", "json")
def status(store_url: str | None, output_format: str) -> None:
    """Show whether what was asked for is what runs, by service and by source.

    Exits with 0 when all is well, 1 when something is not, 2 when nobody can say.
    """
    from reconciler.queries import status as query

    answer = query.status(read_fleet(store_url))
    if output_format == "json":
        output.print_json(answer)
        sys.exit(0 if answer.ok else 1)
    output.print_table(
        ("cluster", "service", "definition", "desired", "healthy", "issued", "state", "reason"),
        [
            (
                row.cluster,
                row.service,
                f"{row.task_name}/{row.task_version}",
                row.desired,
                row.current,
                row.issued,
                "ok" if row.ok else "not ok",
                "; ".join(row.reasons),
            )
            for row in answer.services
        ],
        empty="no cluster has services yet: apply some manifests",
    )
    if answer.sources:
        click.echo()
        output.print_table(
            ("source", "kind", "revision", "objects", "applied", "state", "location"),
            [
                (
                    row.source,
                    row.kind,
                    row.revision[:12],
                    row.objects,
                    output.ago(row.applied_at),
                    "ok" if row.ok else "not ok",
                    row.location,
                )
                for row in answer.sources
            ],
            empty="",
        )
        for source in answer.sources:
            for problem in source.problems:
                click.echo(f"{source.source}: {problem}")
    click.echo(f"\n{answer.hosts_present} of {answer.hosts} hosts present")
    for warning in answer.warnings:
        click.echo(f"warning: {warning}")
    sys.exit(0 if answer.ok else 1)
