"""``reconciler demo``: the main job on real input, in a minute, with no Consul and no Docker."""

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from reconciler.cli.demo_client import Address, Client, Tally
from reconciler.cli.demo_repository import DemoRepository
from reconciler.cli.options import port_range_option
from reconciler.cli.screen import Screen, print_tasks, say
from reconciler.errors import ReconcilerError
from reconciler.queries import fleet
from reconciler.queries.fleet import Fleet
from reconciler.queries.status import status
from reconciler.queries.tasks import TaskRow, tasks
from reconciler.runtime.runner import Daemon

SERVICE = "hello"
PATIENCE_S = 120.0


class DemoFailed(ReconcilerError):
    """The demo did not come to its end."""

    exit_code = 1


@click.command()
@click.option("--stay/--no-stay", default=None, help="Stay up until Ctrl-C; the default on a terminal.")
@port_range_option
def demo(stay: bool | None, port_range: tuple[int, int] | None) -> None:
    """See it work: a git repository of manifests is synced, scheduled and run as real HTTP servers.

    On a terminal it stays up and shows what to try. Without one it also commits a new version, watches the rolling
    update while a client calls the service, and fails if a single request does.
    """
    from reconciler import wiring
    from reconciler.runtime import log
    from reconciler.runtime.process import serve, wait_for

    if stay is None:
        stay = sys.stdout.isatty() and sys.stdin.isatty()
    log.set_up(level="error" if stay else "info")
    folder = Path(tempfile.mkdtemp(prefix="reconciler-demo-"))
    try:
        repository = DemoRepository(folder / "manifests")
        url = wiring.embedded_store(folder / "store.db")
        screen = Screen(
            f"reconciler demo: {repository.path} → store → scheduler → agent → processes   (Ctrl-C ends it)"
        )
        with wiring.open_store(url) as store:
            agent = wiring.agent(
                store,
                host="demo",
                address="127.0.0.1",
                runtime_dir=folder / "run",
                port_range=port_range,
                executors=("bash",),
                emit=screen.emit,
            )
            owned = wiring.EphemeralAgent(agent)
            source = wiring.source(git_url=str(repository.path), name="demo", cache_dir=folder / "mirror")
            daemons: list[Daemon] = [
                owned,
                wiring.scheduler(store, emit=screen.emit),
                wiring.sync(store, source, poll_s=0.5, emit=screen.emit),
            ]
            story = Story(lambda: fleet.read(store, time.time()))

            def tell(stop: threading.Event) -> None:
                if stay:
                    screen.footer = _what_to_try(url, repository.path)
                    with screen.live(story.rows):
                        wait_for(stop)
                else:
                    story.upgrade(stop, repository.commit_next_version)

            serve(daemons, bind=None, until=tell)
            if not owned.ended:
                raise DemoFailed("some tasks were still running at the end")
            say("every process that the demo started has ended")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Story:
    """What happens without a terminal: healthy, upgrade under load, healthy again."""

    def __init__(self, look: Callable[[], Fleet]) -> None:
        self._look = look

    def rows(self) -> Sequence[TaskRow]:
        """The tasks now."""
        return tasks(self._look())

    def upgrade(self, stop: threading.Event, commit_next_version: Callable[[], int]) -> None:
        """Tell it all; raises DemoFailed at the first thing that isn't as promised."""
        began = time.monotonic()
        self._wait_until_healthy(stop, version=1)
        say(f"all tasks are healthy after {time.monotonic() - began:.1f} s")
        print_tasks(self.rows())
        with Client(self._resolve, "/") as client:
            version = commit_next_version()
            say(f"committed version {version}; a client calls {SERVICE} all the while")
            began = time.monotonic()
            self._wait_until_healthy(stop, version)
            say(f"all tasks run version {version} after {time.monotonic() - began:.1f} s")
        print_tasks(self.rows())
        self._judge(client.tally, version)

    def _wait_until_healthy(self, stop: threading.Event, version: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            now = status(self._look())
            if now.services and now.ok and all(row.task_version == version for row in now.services):
                return
            if stop.wait(0.1):
                raise DemoFailed("stopped before the end")
        print_tasks(self.rows())
        reasons = [reason for row in status(self._look()).services for reason in row.reasons]
        raise DemoFailed(f"not healthy within {PATIENCE_S:.0f} s: {'; '.join(reasons) or 'nobody says why'}")

    def _resolve(self) -> Sequence[Address]:
        return [("127.0.0.1", row.port) for row in self.rows() if row.service == SERVICE and row.healthy]

    @staticmethod
    def _judge(tally: Tally, version: int) -> None:
        by_version = ", ".join(f"{count} by version {said}" for said, count in sorted(tally.answered.items()))
        say(f"{tally.requests} requests during the upgrade, {len(tally.failures)} failed ({by_version})")
        if tally.failures:
            raise DemoFailed(f"{len(tally.failures)} requests failed, the first: {tally.failures[0]}")
        if len(tally.answered) < 2:
            raise DemoFailed(f"the client met only one version on the way to {version}")


def _what_to_try(url: str, repository: Path) -> str:
    return f"""Try in another terminal:
  export RECONCILER_STORE={url}
  reconciler tasks                          what runs where; kill one of its processes and look again
  reconciler status                         is what was asked for what runs
  cd {repository}    edit services.yml, then: git commit -am "more"
"""
