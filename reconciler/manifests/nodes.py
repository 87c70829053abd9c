"""Values that know where they are written. Made by ``yaml_reader``; every check finds its line and column here."""

from typing import Any

import msgspec

from reconciler.manifests.scalars import Unquoted


class Node(msgspec.Struct, eq=False, array_like=True, gc=False):
    """A value and where it is written. ``line`` and ``column`` count from 1.

    ``value`` is plain (dict, list, str, …); ``fields`` and ``items`` are the nodes inside of a mapping or list;
    ``keys`` are where the mapping's keys stand. ``text`` is how a plain scalar is written.
    """

    line: int
    column: int
    value: Any
    text: str | None = None
    fields: dict[str, "Node"] = {}
    items: list["Node"] = []
    keys: dict[str, tuple[int, int]] = {}
    size: int = 1


def describe(value: object) -> str:
    """What kind of value this is, in people's words."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case Unquoted():
            return value.reading
    return type(value).__name__
