"""What ``dev`` and ``demo`` show while they run: a live table on a terminal, lines of events elsewhere."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from reconciler.cli import output
from reconciler.cli.tasks import COLUMNS, cells
from reconciler.errors import ReconcilerError
from reconciler.model.events import Event, Level
from reconciler.queries.tasks import TaskRow
from reconciler.runtime import log

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

EVENTS_SHOWN = 12
_LEVEL_STYLES = {Level.WARNING: "yellow", Level.ERROR: "red"}


class Screen:
    """Collects events from any thread. Give ``emit`` to the daemons."""

    def __init__(self, title: str) -> None:
        self._title = title
        self.footer = ""
        self._events: deque[tuple[float, Event]] = deque(maxlen=EVENTS_SHOWN)
        self._live = False
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Show ``event``, or log it when there is no live screen."""
        if event.level is Level.DEBUG:
            return
        with self._lock:
            self._events.append((time.time(), event))
        if not self._live:
            log.emit(event)

    @contextmanager
    def live(self, rows: Callable[[], Sequence[TaskRow]]) -> Iterator[None]:
        """Redraw the table from ``rows`` twice a second while the block runs; does nothing without a terminal."""
        console = output.console()
        if not console.is_terminal:
            yield
            return
        from rich.live import Live

        stop = threading.Event()
        with Live(console=console, auto_refresh=False, transient=True) as live:
            self._live = True

            def redraw() -> None:
                while not stop.wait(0.5):
                    try:
                        live.update(self._frame(rows()), refresh=True)
                    except ReconcilerError:
                        continue  # the loops themselves meet and report what is wrong

            thread = threading.Thread(target=redraw, name="screen", daemon=True)
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join(5)
                self._live = False

    def _frame(self, rows: Sequence[TaskRow]) -> "Group":
        from rich.console import Group
        from rich.text import Text

        lines: list[RenderableType] = [Text(self._title, style="bold"), Text(), task_table(rows), Text()]
        with self._lock:
            events = list(self._events)
        for at, event in events:
            when = time.strftime("%H:%M:%S", time.localtime(at))
            text = f"{when}  {event.loop:<10} {event.subject}: {event.message}"
            lines.append(Text(text, style=_LEVEL_STYLES.get(event.level, "dim")))
        if self.footer:
            lines += [Text(), Text(self.footer)]
        return Group(*lines)


def task_table(rows: Sequence[TaskRow]) -> "Table":
    """The table of ``reconciler tasks``."""
    return output.table(COLUMNS, [cells(row) for row in rows])


def print_tasks(rows: Sequence[TaskRow]) -> None:
    """Print the table of ``reconciler tasks`` once."""
    output.print_table(COLUMNS, [cells(row) for row in rows], empty="no tasks")


def say(text: str) -> None:
    """A headline between events."""
    click.secho(text, bold=True)
