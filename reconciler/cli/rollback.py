"""``reconciler rollback``."""

import time

import click

from reconciler.cli.options import by_option, store_option


@click.command()
@click.argument("source")
@click.argument("revision")
@click.option("--reason", metavar="TEXT", default="", help="Why; shown in `status` and `history`.")
@by_option
@store_option
def rollback(source: str, revision: str, reason: str, by: str, store_url: str | None) -> None:
    """Go back to an earlier REVISION of SOURCE (see `reconciler history`), without git.

    The newest revision is skipped, whatever it says; the next commit is applied as usual and ends the rollback. What is
    applied comes from the copy that `reconciler sync` keeps, so the git server may be away. `reconciler resume SOURCE`
    goes back to the newest revision at once.
    """
    from reconciler import wiring
    from reconciler.operations import source_intents

    with wiring.open_store(store_url) as store:
        now = time.time()
        made = source_intents.roll_back(store, source, revision, by=by, reason=reason, now=now)
    click.echo(f"{source} goes back to {made.revision[:12]}; skipped until the next commit: "
               + ", ".join(each[:12] for each in made.skips))  # fmt: skip
