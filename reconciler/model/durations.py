"""Durations in Go's syntax (``1m30s``), the one that Consul and its users write."""

import re
from functools import lru_cache
from typing import Final

DURATION_PATTERN: Final = r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$(?!\n)"
POSITIVE_DURATION_PATTERN: Final = r"^(?=.*[1-9])" + DURATION_PATTERN[1:]
"""A duration that is not zero."""

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|ms|s|m|h)")
_WHOLE = re.compile(DURATION_PATTERN)
_UNIT_S: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@lru_cache(1024)
def parse_duration(text: str) -> float:
    """Seconds in a Go duration such as ``10s`` or ``1h30m``.

    Raises:
        ValueError: the text is not one.
    """
    if not _WHOLE.match(text):
        raise ValueError(f"{text!r} is not a duration such as 10s, 500ms or 1m30s")
    return sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """The shortest Go duration for ``seconds``, to the millisecond: ``90`` is ``1m30s``, ``0.5`` is ``500ms``."""
    ms = round(seconds * 1000)
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    hours, rest = divmod(ms, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    text = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
    if rest:
        text += f"{rest / 1000:g}s"
    return text
