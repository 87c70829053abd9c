"""``--wait``: end when what was asked for has come about, or fail and say why."""

import re
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from reconciler.cli.moments import Duration
from reconciler.errors import RevisionRefused

if TYPE_CHECKING:
    from reconciler.queries.fleet import Fleet
    from reconciler.queries.settling import Settling
    from reconciler.store.interface import Store

F = TypeVar("F", bound=Callable[..., Any])
LOOK_AGAIN_S: Final = 1.0
_COUNTDOWN: Final = re.compile(r"\bin \d+ s\b")
"""What alone is no news."""


class Goal(msgspec.Struct, frozen=True):
    """What ``--wait`` waits for: as the end of "End when …", and how it is said that it is not so yet."""

    when: str
    not_yet: str


HEALTHY: Final = Goal("all that changed is healthy", "not all of it is healthy")
STOPPED: Final = Goal("the last of its tasks has stopped", "not all of its tasks have stopped")
EMPTY: Final = Goal("nothing runs on the host any more", "the host is not empty")
BACK: Final = Goal("it has gone back", "it has not gone back")


def wait_options(goal: Goal, timeout_help: str = "How long --wait waits at most.") -> Callable[[F], F]:
    """``--wait`` and ``--timeout``, as ``wait`` and ``timeout_s``."""
    timeout = click.option(
        "--timeout",
        "timeout_s",
        metavar="DURATION",
        type=Duration(),
        default="10m",
        show_default=True,
        help=timeout_help,
    )
    wait = click.option("--wait", is_flag=True, help=f"End when {goal.when}; with 1 and the reasons if not.")
    return lambda function: wait(timeout(function))


def wait_healthy(store: "Store", changed: Iterable[str], source: str, timeout_s: float) -> None:
    """Wait, and tell on standard error how far it is.

    Raises:
        RevisionRefused: it was given up, or the time is over; says why.
        StoreError: the store does not answer.
    """
    from reconciler.queries.settling import settling

    keys = tuple(changed)
    wait_for(store, lambda fleet: settling(fleet, keys, source), timeout_s)


def wait_for(store: "Store", look: "Callable[[Fleet], Settling]", timeout_s: float, goal: Goal = HEALTHY) -> None:
    """Look again and again until what was asked for has come about, and tell on standard error how far it is.

    Raises:
        RevisionRefused: it was given up, or the time is over; says why.
        StoreError: the store does not answer.
    """
    from reconciler.queries import fleet

    told: Collection[str] = ()
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look(fleet.read(store, time.time()))
        news = {_COUNTDOWN.sub("in a while", line): line for line in seen.lines}
        for known_as, line in news.items():
            if known_as not in told:
                click.echo(line, err=True)
        told = news.keys()
        if seen.done:
            return
        if seen.failed:
            raise RevisionRefused(
                "\n".join([f"it was written, but it was given up, and {goal.not_yet}:", *seen.failed])
            )
        if time.monotonic() >= deadline:
            raise RevisionRefused(
                "\n".join([f"it was written, but after {timeout_s:g} s {goal.not_yet}:", *seen.lines]),
                hint="`reconciler status` says how it goes on.",
            )
        time.sleep(LOOK_AGAIN_S)
