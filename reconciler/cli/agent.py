"""``reconciler agent``."""

from pathlib import Path

import click

from reconciler.cli.options import agent_options, daemon_options, store_option


@click.command()
@agent_options
@click.option("--dry-run", is_flag=True, help="Print what would be started and stopped now, touch nothing, and exit.")
@store_option
@daemon_options(8231)
def agent(
    host: str | None,
    address: str | None,
    runtime_dir: Path | None,
    executors: tuple[str, ...],
    dry_run: bool,
    store_url: str | None,
    bind: tuple[str, int] | None,
    log_format: str,
    log_level: str,
) -> None:
    """Run on each host: starts and stops what was issued to it.

    Tasks keep running while the agent is stopped, restarted or upgraded, and while the store is away; the next agent
    adopts them. Without Docker on this host it offers only the bash executor.
    """
    from reconciler import wiring
    from reconciler.runtime import log
    from reconciler.runtime.process import serve

    log.set_up(json=log_format == "json", level=log_level)
    with wiring.open_store(store_url) as store:
        settings = wiring.agent_settings(host=host, address=address, runtime_dir=runtime_dir)
        daemon = wiring.agent(store, settings, executors=executors)
        if dry_run:
            for line in wiring.agent_dry_run(daemon):
                click.echo(line)
            return
        serve([daemon], bind=bind, routes=daemon.routes())
