"""What a receiver's answer means: it has it, it wants it again later, or it will never take it. Pure."""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias

import msgspec

from reconciler.model.texts import cut
from reconciler.notify.message import one_line

LONGEST_WAIT_S: Final = 3600.0
_LIMITED_S: Final = 60.0
"""How long GitHub wants to be left alone that says only that it is too much."""
_SHOWN_CHARACTERS: Final = 200
_AGAIN: Final = (401, 403, 404, 408, 409, 423, 425, 429)
"""Beside all from 500 on. Rights and names are mended by people, and GitHub answers 404 to who lacks rights."""


class Taken(msgspec.Struct, frozen=True):
    """The receiver has it."""

    status: int


class Later(msgspec.Struct, frozen=True):
    """To be tried again, after ``wait_s`` at the earliest; ``why`` holds no secret."""

    why: str
    wait_s: float = 0.0


class Never(msgspec.Struct, frozen=True):
    """The receiver will not take this, however often it is sent."""

    why: str


Verdict: TypeAlias = Taken | Later | Never


def verdict(status: int, headers: Mapping[str, str], text: str, now: float) -> Verdict:
    """What an answer means; ``headers`` by their lower-case names, ``now`` is wall time."""
    if 200 <= status < 300:
        return Taken(status)
    if status == 400 and "Cannot transition status" in text:
        return Taken(status)  # GitLab has this state already, or a later one
    if 300 <= status < 400:
        return Never(f"answers {status}, which leads elsewhere, and that is not followed: give the new address")
    said = cut(one_line(text), _SHOWN_CHARACTERS)
    why = f"answers {status}{f': {said}' if said else ''}"
    if status >= 500 or status in _AGAIN:
        return Later(why, min(LONGEST_WAIT_S, _wait_s(status, headers, text, now)))
    return Never(why)


def _wait_s(status: int, headers: Mapping[str, str], text: str, now: float) -> float:
    """How long the receiver wants to be left alone. Its times are compared with its own clock, if it shows that."""
    now = _date(headers.get("date", "")) or now
    asked = headers.get("retry-after", "").strip()
    if asked:
        seconds = _number(asked)
        until = _date(asked)
        return seconds if seconds is not None else until - now if until is not None else 0.0
    for kind in ("x-ratelimit", "ratelimit"):
        if headers.get(f"{kind}-remaining", "").strip() == "0":
            until = _number(headers.get(f"{kind}-reset", ""))
            if until is not None:
                return max(0.0, until - now)
    return _LIMITED_S if status == 429 or (status == 403 and "rate limit" in text.lower()) else 0.0


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
