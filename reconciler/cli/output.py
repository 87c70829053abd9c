"""How answers are printed: tables for people, JSON for programs, colour only on a terminal."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STYLES = {
    "passing": "green",
    "running": "green",
    "ok": "green",
    "complete": "green",
    "warning": "yellow",
    "pending": "yellow",
    "preparing": "yellow",
    "starting": "yellow",
    "stopping": "yellow",
    "unknown": "yellow",
    "draining": "yellow",
    "suspended": "yellow",
    "rolled back": "yellow",
    "critical": "red",
    "failed": "red",
    "rejected": "red",
    "gone": "red",
    "not ok": "red",
}


def print_json(value: Any) -> None:
    """``value`` (structs, lists, dicts) as indented JSON on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def console(*, stderr: bool = False) -> "Console":
    """A console that neither wraps nor colours when nobody looks."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 400, highlight=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> "Table":
    """A plain table; known words (phases, healths) get their colour. Numbers are right-aligned."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], int) for row in rows)
        made.add_column(column.upper(), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        cells = ["" if cell is None else str(cell) for cell in row]
        made.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
    return made


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print a table, or the sentence ``empty`` when there are no rows."""
    if rows:
        console().print(table(columns, rows))
    else:
        click.echo(empty)


def when(at: float) -> str:
    """``at`` (seconds since 1970) as a date and time in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


def ports(unnamed: int, named: Mapping[str, int], published: Iterable[tuple[int, int]] = ()) -> str:
    """``20001, metrics 20002, 9000-9003``; empty when there are none."""
    runs = (str(first) if first == last else f"{first}-{last}" for first, last in published)
    named_ones = (f"{name} {port}" for name, port in named.items())
    return ", ".join([*([str(unnamed)] if unnamed else []), *named_ones, *runs])


def ago(at: float) -> str:
    """``5s``, ``3m``, ``2h``, ``4d`` since ``at`` (seconds since 1970); empty for 0."""
    if not at:
        return ""
    seconds = max(0, int(time.time() - at))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
