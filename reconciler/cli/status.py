"""``reconciler status``."""

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli import output
from reconciler.cli.options import format_option, read_fleet, store_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.queries.status import ServiceRow, SourceRow


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
                _healthy(row),
                row.issued,
                "ok" if row.ok else "not ok",
                "; ".join(row.reasons),
            )
            for row in answer.services
        ],
        empty="no cluster has services yet: apply some manifests",
    )
    if answer.overrides:
        from reconciler.cli.plan_text import overridden

        click.echo()
        for override in answer.overrides:
            click.echo(f"overridden: {overridden(override)}")
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
                    _state(row),
                    row.location,
                )
                for row in answer.sources
            ],
            empty="",
        )
        for source in answer.sources:
            for line in about_source(source):
                click.echo(f"{source.source}: {line}")
    click.echo(f"\n{answer.hosts_present} of {answer.hosts} hosts present")
    for warning in answer.warnings:
        click.echo(f"warning: {warning}")
    sys.exit(0 if answer.ok else 1)


def _healthy(row: "ServiceRow") -> str | int:
    """How many are as wanted, and what serves beside them, or in their place."""
    others = row.healthy - row.current
    if row.done:
        return f"{row.done} done"
    return f"{row.current}, {others} old" if others > 0 else row.current


def _state(row: "SourceRow") -> str:
    if row.suspended:
        return "suspended"
    if row.rollback:
        return "rolled back"
    if row.quarantine:
        return "quarantined"
    if row.ok:
        return "on trial" if row.trial else "ok"
    return "not ok"


def about_source(row: "SourceRow") -> "Iterator[str]":
    """What there is to say about a source that is not ok."""
    if row.suspended is not None:
        until = f" until {output.when(row.suspended.until)}" if row.suspended.until else ""
        yield f"suspended by {row.suspended.by}{until}: {row.suspended.reason or 'no reason given'}; nothing is written"
    if row.rollback is not None:
        why = f": {row.rollback.reason}" if row.rollback.reason else ""
        yield f"rolled back by {row.rollback.by} to {row.rollback.revision[:12]}{why}; the next commit resumes"
    if row.quarantine is not None:
        yield f"{row.quarantine.revision[:12]} is applied instead; the next commit resumes"
    if row.trial is not None and row.trial.failed:
        yield (
            f"revision {row.trial.revision[:12]} does not become healthy, and there is no way back: "
            + "; ".join(row.trial.failed)
        )
    elif row.trial is not None:
        left_s = row.trial.limit_s - row.trial.spent_s
        back = f"goes back to {row.trial.good[:12]}" if row.trial.good else "fails"
        yield f"revision {row.trial.revision[:12]} is on trial: {back} unless healthy within some {left_s:.0f} s"
    yield from row.problems
    for each in row.drift:
        yield f"changed by hand and left so; the revision wants to {each}"
