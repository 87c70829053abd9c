"""What happened, as a value: loops return or hand on events, the shell around them logs, shows or counts them."""

import enum
from collections.abc import Callable
from typing import TypeAlias

import msgspec


class Level(enum.StrEnum):
    """How much a person should care."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to one thing: ``loop`` says where, ``subject`` to what, ``message`` what and why."""

    loop: str
    subject: str
    message: str
    level: Level = Level.INFO


Emit: TypeAlias = Callable[[Event], None]
"""What loops are given to hand events on with; called from any thread."""
