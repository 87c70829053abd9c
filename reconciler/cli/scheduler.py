"""``reconciler scheduler``."""

import click

from reconciler.cli.options import daemon_options, store_option


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
    bind: tuple[str, int] | None,
    log_format: str,
    log_level: str,
) -> None:
    """Decide which tasks run where, and issue them.

    Start as many as you like: each cluster is served by the one that holds its lock, and another takes over within
    seconds when that one dies. SIGTERM gives the locks up at once. Tasks keep running without any scheduler.
    """
    from reconciler import wiring
    from reconciler.runtime import log
    from reconciler.runtime.process import serve

    log.set_up(json=log_format == "json", level=log_level)
    with wiring.open_store(store_url) as store:
        if dry_run:
            for line in wiring.scheduler_dry_run(store, name):
                click.echo(line)
            return
        serve([wiring.scheduler(store, name=name)], bind=bind)
