"""``reconciler agent``."""

import click

from reconciler.cli.options import AgentOptions, DaemonOptions, agent_options, daemon_options, store_option


@click.command()
@agent_options
@click.option(
    "--dry-run", is_flag=True, help="Print what would be started, stopped and removed now, and touch nothing."
)
@store_option
@daemon_options(8231)
def agent(
    agent_options: AgentOptions,
    dry_run: bool,
    store_url: str | None,
    daemon_options: DaemonOptions,
) -> None:
    """Run on each host: starts and stops what was issued to it.

    Tasks keep running while the agent is stopped, restarted or upgraded, and while the store is away; the next agent
    adopts them. Without Docker on this host it offers only the bash executor.
    """
    from reconciler import wiring
    from reconciler.runtime.process import serve

    daemon_options.set_up_log()
    access = daemon_options.access()
    with wiring.open_store(store_url) as store:
        daemon = agent_options.agent(store)
        if dry_run:
            plan = daemon.dry_run()
            lines = [action.describe() for action in plan.actions]
            lines += [f"remove what {task_id} has left" for task_id in daemon.sweeper.tasks_due()]
            click.echo("\n".join(lines) or "nothing to do")
            return
        serve([daemon], bind=daemon_options.bind, access=access, site=daemon.site)
