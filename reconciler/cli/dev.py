"""``reconciler dev``."""

from pathlib import Path

import click

from reconciler.cli.options import agent_options, daemon_options, store_option


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--keep", is_flag=True, help="Leave the tasks running at the end; the next `dev` adopts them.")
@agent_options
@store_option
@daemon_options(8231)
def dev(
    directory: Path,
    keep: bool,
    host: str | None,
    address: str | None,
    runtime_dir: Path | None,
    executors: tuple[str, ...],
    store_url: str | None,
    bind: tuple[str, int] | None,
    log_format: str,
    log_level: str,
) -> None:
    """Run a folder of manifests here and now, and follow every change.

    The real sync, scheduler and agent in one process; the state is kept in .reconciler/dev.db of this folder unless
    --store names another place. Save a file, and the tasks follow. A definition may be changed without a new version
    here: its tasks are rolled all the same. Ctrl-C stops what was started.
    """
    from reconciler import wiring
    from reconciler.cli.screen import Screen
    from reconciler.runtime import log
    from reconciler.runtime.process import serve

    log.set_up(json=log_format == "json", level=log_level)
    home = Path(".reconciler")
    url = store_url or wiring.embedded_store(home / "dev.db")
    screen = Screen(f"reconciler dev {directory}   Ctrl-C ends it   state: {url}")
    with wiring.open_store(url) as store:
        settings = wiring.agent_settings(host=host, address=address, runtime_dir=runtime_dir or home / "run")
        agent = wiring.agent(store, settings, executors=executors, emit=screen.emit, owns_tasks=not keep)
        daemons = [
            agent,
            wiring.scheduler(store, emit=screen.emit),
            wiring.dev_sync(store, directory, embedded=store_url is None, emit=screen.emit),
        ]
        with screen.live(lambda: wiring.task_rows_of(store)):
            serve(daemons, bind=bind, routes=agent.routes())
