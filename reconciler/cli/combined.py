"""``reconciler combined``."""

from pathlib import Path

import click

from reconciler.cli.options import agent_options, daemon_options, store_option


@click.command()
@agent_options
@store_option
@daemon_options(8231)
def combined(
    host: str | None,
    address: str | None,
    runtime_dir: Path | None,
    executors: tuple[str, ...],
    store_url: str | None,
    bind: tuple[str, int] | None,
    log_format: str,
    log_level: str,
) -> None:
    """Scheduler and agent in one process, for small set-ups and for trying things out.

    \b
    consul agent -dev -ui -bind=127.0.0.1
    reconciler combined
    reconciler apply -f examples/hello-world.yml
    """
    from reconciler import wiring
    from reconciler.runtime import log
    from reconciler.runtime.process import serve

    log.set_up(json=log_format == "json", level=log_level)
    with wiring.open_store(store_url) as store:
        settings = wiring.agent_settings(host=host, address=address, runtime_dir=runtime_dir)
        daemon = wiring.agent(store, settings, executors=executors)
        serve([daemon, wiring.scheduler(store)], bind=bind, routes=daemon.routes())
