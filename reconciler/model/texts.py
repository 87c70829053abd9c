"""Texts for people, made short. Pure."""

from collections.abc import Sequence
from typing import Final

MORE: Final = "…"
"""Stands for what was left out."""


def cut(text: str, most: int) -> str:
    """A text of at most ``most`` characters, whose end shows that it was longer."""
    return text if len(text) <= most else f"{text[: most - 1]}{MORE}"


def cut_names(names: Sequence[str], most: int) -> tuple[str, ...]:
    """The first names that have at most ``most`` characters together, and ``MORE`` if those were not all."""
    room = most
    for number, name in enumerate(names):
        room -= len(name)
        if room < 0:
            return (*names[:number], MORE)
    return tuple(names)
