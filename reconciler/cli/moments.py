"""Times as people write them on a command line: ``2h``, or ``2031-05-01T08:00`` in UTC."""

from datetime import UTC, datetime
from typing import Any

import click

from reconciler.errors import UsageError
from reconciler.model.durations import format_duration, parse_duration


def moment(option: str, text: str, now: float, *, ahead: bool) -> float:
    """Seconds since 1970. A duration counts from ``now``: forward if ``ahead``, else back.

    Raises:
        UsageError: it is neither a duration nor a time.
    """
    try:
        duration_s = parse_duration(text)
    except ValueError:
        pass
    else:
        return now + duration_s if ahead else now - duration_s
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is neither a duration such as 2h nor a time such as 2031-05-01T08:00"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


class Duration(click.ParamType):  # type: ignore[type-arg]  # only newer versions have one
    """Seconds, written as ``90``, ``90s`` or ``1m30s``; at least ``least_s``."""

    name = "duration"

    def __init__(self, least_s: float = 0.1) -> None:
        self.least_s = least_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See ``click.ParamType.convert``."""
        try:
            seconds = float(value)
        except ValueError:
            try:
                seconds = parse_duration(value)
            except ValueError:
                self.fail(f"{value!r} is neither a number of seconds nor a duration such as 30s or 1m30s", param, ctx)
        if not self.least_s <= seconds < float("inf"):
            self.fail(f"{value} is not at least {format_duration(self.least_s)}", param, ctx)
        return seconds
