"""``reconciler combined``."""

import click

from reconciler.cli.options import AgentOptions, DaemonOptions, agent_options, daemon_options, store_option


@click.command()
@agent_options
@store_option
@daemon_options(8231)
def combined(
    agent_options: AgentOptions,
    store_url: str | None,
    daemon_options: DaemonOptions,
) -> None:
    """Scheduler and agent in one process, for small set-ups and for trying things out.

    \b
    consul agent -dev -ui -bind=127.0.0.1
    reconciler combined
    reconciler apply -f examples/hello-world.yml
    """
    from reconciler import wiring
    from reconciler.runtime.process import serve

    daemon_options.set_up_log()
    access = daemon_options.access()
    with wiring.open_store(store_url) as store:
        daemon = agent_options.agent(store)
        serve([daemon, wiring.scheduler(store)], bind=daemon_options.bind, access=access, site=daemon.site)
