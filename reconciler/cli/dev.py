"""``reconciler dev``."""

import time
from pathlib import Path

import click

from reconciler.cli.options import (
    AgentOptions,
    DaemonOptions,
    agent_options,
    daemon_options,
    environment_option,
    store_option,
)
from reconciler.errors import UsageError
from reconciler.manifests.find import SETTINGS_NAME


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--keep", is_flag=True, help="Leave the tasks running at the end; the next `dev` adopts them.")
@environment_option
@agent_options
@store_option
@daemon_options(8231)
def dev(
    directory: Path,
    keep: bool,
    environment: str | None,
    agent_options: AgentOptions,
    store_url: str | None,
    daemon_options: DaemonOptions,
) -> None:
    """Run a folder of manifests here and now, and follow every change.

    The real sync, scheduler and agent in one process; the state is kept in .reconciler/dev.db of this folder unless
    --store names another place. Save a file, and the tasks follow. A definition may be changed without a new version
    here: its tasks are rolled all the same. Ctrl-C stops what was started.
    """
    from reconciler import wiring
    from reconciler.cli.screen import Screen
    from reconciler.manifests.scope import refuse_other_than
    from reconciler.queries import fleet
    from reconciler.queries.tasks import tasks
    from reconciler.runtime.process import serve
    from reconciler.runtime.runner import Daemon

    refuse_other_than(environment, _settings(directory))
    daemon_options.set_up_log()
    access = daemon_options.access()
    home = Path(".reconciler")
    url = store_url or wiring.embedded_store(home / "dev.db")
    screen = Screen(f"reconciler dev {directory}   Ctrl-C ends it   state: {url}")
    # one name for all folders in the embedded store, so that another folder replaces what the last one ran
    source = wiring.source(directory=directory, name="dev" if store_url is None else None, environment=environment)
    with wiring.open_store(url) as store:
        agent = agent_options.agent(store, emit=screen.emit, runtime_dir=home / "run", secrets_dir=home / "secrets")
        daemons: list[Daemon] = [
            agent if keep else wiring.EphemeralAgent(agent),
            wiring.scheduler(store, emit=screen.emit),
            wiring.sync(store, source, mutable_versions=True, emit=screen.emit),
        ]
        with screen.live(lambda: tasks(fleet.read(store, time.time()))):
            serve(daemons, bind=daemon_options.bind, access=access, site=agent.site)


def _settings(directory: Path) -> list[tuple[str, bytes]]:
    """The settings in the folder, which may declare environments."""
    place = directory / SETTINGS_NAME
    try:
        return [(SETTINGS_NAME, place.read_bytes())]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{place} can't be read: {error.strerror or error}", hint="check its rights") from error
