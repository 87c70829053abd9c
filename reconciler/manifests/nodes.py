"""Values that know where they are written. Made by ``yaml_reader``; every check finds its line and column here."""

from typing import Any

import msgspec

from reconciler.manifests.scalars import Unquoted


class Node(msgspec.Struct, eq=False, array_like=True, gc=False):
    """A value and where it is written. ``line`` and ``column`` count from 1.

    ``value`` is plain (dict, list, str, …); ``fields`` and ``items`` are the nodes inside of a mapping or list;
    ``keys`` are where the mapping's keys stand. ``text`` is how a plain scalar is written. ``file`` is given only where
    values of several files come together (see ``layers``), ``key_file`` if its key stands in another one. ``others``:
    the files and lines of what else made it what it is: what was filled into a text, or took a field away. ``gone``:
    the fields that an overlay took away, and where (file, line, column).
    """

    line: int
    column: int
    value: Any
    text: str | None = None
    fields: dict[str, "Node"] = {}
    items: list["Node"] = []
    keys: dict[str, tuple[int, int]] = {}
    size: int = 1
    file: str = ""
    key_file: str = ""
    others: tuple[tuple[str, int], ...] = ()
    gone: dict[str, tuple[str, int, int]] = {}


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


def with_fields(node: Node, fields: dict[str, Node], keys: dict[str, tuple[int, int]] | None = None) -> Node:
    """The mapping at ``node`` with other values; ``keys``: the places of the keys, where they are others."""
    value = {name: child.value for name, child in fields.items()}
    kept = node.keys if keys is None else keys
    return Node(
        node.line, node.column, value, fields=fields, keys=kept, file=node.file, others=node.others, gone=node.gone
    )


def with_items(node: Node, items: list[Node]) -> Node:
    """The list at ``node`` with other items."""
    value = [item.value for item in items]
    return Node(node.line, node.column, value, items=items, file=node.file, others=node.others)
