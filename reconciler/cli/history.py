"""``reconciler history``."""

import click

from reconciler.cli import output
from reconciler.cli.options import format_option, store_option


@click.command()
@click.argument("source")
@store_option
@format_option("text", "json")
def history(source: str, store_url: str | None, output_format: str) -> None:
    """Show what became of SOURCE's last revisions, the newest first.

    RESULT is applied, refused, repaired (somebody had changed objects by hand), rolled back, adopted (objects of
    another source), or with `sync --gate` quarantined (its services did not become healthy) or unhealthy (nor was there
    anything to go back to). The last 20 are kept.
    """
    from reconciler import wiring
    from reconciler.operations import source_intents

    with wiring.open_store(store_url) as store:
        entries = source_intents.read_state(store, source).history[::-1]
    if output_format == "json":
        output.print_json(entries)
        return
    output.print_table(
        ("revision", "result", "when", "created", "updated", "deleted", "author", "subject", "detail"),
        [
            (
                entry.revision[:12] if ":" not in entry.revision else entry.revision[:19],
                entry.result,
                f"{output.ago(entry.at)} ago",
                entry.created,
                entry.updated,
                entry.deleted,
                entry.author,
                entry.subject,
                entry.detail,
            )
            for entry in entries
        ],
        empty="nothing has been applied yet",
    )
