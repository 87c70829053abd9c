"""What the commands share that change something by hand on top of git: their options, and what they say.

``@overriding`` gives a command ``options``; ``options.report`` prints what was done, what git has, until when it holds,
and the patch that keeps it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from reconciler.cli import moments, output
from reconciler.cli.options import by_option, family, format_option, store_option
from reconciler.cli.waiting import Goal, wait_for, wait_options

if TYPE_CHECKING:
    from reconciler.operations.overrides import Overridden, Said
    from reconciler.queries.fleet import Fleet
    from reconciler.queries.settling import Settling
    from reconciler.store.interface import Store

F = TypeVar("F", bound=Callable[..., Any])


class Overriding(msgspec.Struct, frozen=True, kw_only=True):
    """What the options come to."""

    store_url: str | None
    output_format: str
    reason: str = ""
    by: str = ""
    until: float = 0.0
    wait: bool = False
    timeout_s: float = 0.0

    @contextmanager
    def store(self) -> "Iterator[Store]":
        """The store that is meant."""
        from reconciler import wiring

        with wiring.open_store(self.store_url) as store:
            yield store

    @property
    def said(self) -> "Said":
        """Who says it, why, now, and until when."""
        from reconciler.operations.overrides import Said

        return Said(by=self.by, reason=self.reason, now=time.time(), until=self.until)

    def report(
        self,
        store: "Store",
        done: "Overridden",
        goal: Goal | None = None,
        look: "Callable[[Fleet], Settling] | None" = None,
    ) -> None:
        """Say what was done; then wait until it has come about, if that is wanted."""
        _report(store, done, self.output_format)
        if self.wait and goal is not None and look is not None:
            wait_for(store, look, self.timeout_s, goal)


def overriding(*, kept: bool = True, ends: bool = True, waits: Goal | None = None) -> Callable[[F], F]:
    """``--store`` and ``--format``, as ``options``.

    ``--reason`` and ``--by`` if what is said is ``kept``, ``--until`` if that ``ends`` by itself, ``--wait`` if there
    is something to wait for.
    """
    options: list[Callable[[F], F]] = [store_option, format_option("text", "json")]
    if kept and ends:
        options.insert(
            0,
            click.option(
                "--until",
                metavar="TIME",
                callback=lambda _, __, text: moment("--until", text) if text else 0.0,
                help="When it ends by itself: a duration such as 2h, or a time such as 2031-05-01T08:00 (UTC).",
            ),
        )
    if kept:
        reason = click.option("--reason", metavar="TEXT", default="", help="Why; kept with it, for people to read.")
        options = [reason, by_option, *options]
    if waits:
        options.append(wait_options(waits))
    return lambda function: family(function, "options", Overriding, options)


def _report(store: "Store", done: "Overridden", output_format: str) -> None:
    """Say what was done, what git has, until when it holds, and what to commit to keep it."""
    if output_format == "json":
        output.print_json(done)
        return
    click.echo(f"{done.object}: {done.what}")
    if done.deadline:
        click.echo(f"from {output.when(done.deadline)} on what is left there is replaced at once, whatever min says")
    for line in _about_git(store, done):
        click.echo(line)
    for warning in done.warnings:
        click.echo(f"warning: {warning}", err=True)


def _about_git(store: "Store", done: "Overridden") -> "Iterator[str]":
    if not done.differs:
        ends = [end for end in (output.when(done.until) if done.until else "", done.lasts) if end]
        if ends:
            yield f"this holds until {', or until '.join(ends)}"
        return
    file, line = _declared_in(store, done)
    if done.managed_by is None:
        until = f"until {output.when(done.until)} or " if done.until else "until "
        yield f"no manifest declares it; this holds {until}it is taken back. To keep it, declare {done.object} with"
        yield f"  {done.field}: {_yaml(done.after)}"
        return
    where = f" ({file}:{line})" if file else ""
    who = "its manifest" if done.managed_by == "apply" else "git"
    until = f"until {output.when(done.until)}, until" if done.until else "until"
    yield f"{who} has {done.field}: {_yaml(done.before)}{where}"
    yield f"this holds {until} it is taken back, or {who} changes it"
    path = file.removeprefix("/") or f"(the manifest of {done.object})"
    yield "to keep it, commit:"
    yield f"  --- a/{path}"
    yield f"  +++ b/{path}"
    yield f"  @@ {done.object}{f', from line {line}' if line else ''} @@"
    yield f"  -    {done.field}: {_yaml(done.before)}"
    yield f"  +    {done.field}: {_yaml(done.after)}"


def _declared_in(store: "Store", done: "Overridden") -> tuple[str, int]:
    from reconciler.model import keys
    from reconciler.queries import provenance

    short = done.key.removeprefix(keys.CONFIG)
    record = provenance.read(store).records.get((done.managed_by or "", short))
    return (record.file, record.objects[short]) if record else ("", 0)


def _yaml(value: int | bool) -> str:
    return str(value).lower()


def moment(option: str, text: str) -> float:
    """Seconds since 1970 of a moment to come.

    Raises:
        UsageError: it is none.
    """
    from reconciler.errors import UsageError

    now = time.time()
    at = moments.moment(option, text, now, ahead=True)
    if at <= now:
        raise UsageError(f"{option} {text} is over already")
    return at
