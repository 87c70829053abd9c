"""The manifests of one environment as one document, with the places of values that stand in another file.

For ``reconciler render``. What is printed can be read as a manifest again, and declares the same objects.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from reconciler.manifests.cache import ParseCache
from reconciler.manifests.entries import KINDS
from reconciler.manifests.layers import layered
from reconciler.manifests.load import Loaded, load
from reconciler.manifests.nodes import Node
from reconciler.manifests.overlays import identity
from reconciler.manifests.scalars import Unquoted, resolve
from reconciler.manifests.scope import scope

_PLAIN: Final = re.compile(r"[A-Za-z0-9/._][A-Za-z0-9/._+=@-]*(:[A-Za-z0-9/._+=@-]+)*\Z")
"""Texts that need no quotes wherever they stand, if they are not read as something else."""
_BLOCK: Final = re.compile(r"[^\s](?:[^\x00-\x08\x0b-\x1f\x7f-\xa0\u2028\u2029\ufeff\ud800-\udfff]*[^\s])?\n?\Z")
"""Texts of several lines that can stand as they are."""


class Rendered(msgspec.Struct, frozen=True):
    """The objects by kind, as they would be written, and all that is declared and wrong."""

    objects: dict[str, list[Node]]
    loaded: Loaded

    def yaml(self, *, with_places: bool = True) -> str:
        """The objects as YAML; ``with_places``: with comments that say where they and their values come from."""
        lines: list[str] = []
        for kind, nodes in self.objects.items():
            lines += [f"{kind}:"]
            for node in nodes:
                if with_places:
                    lines.append(f"  # {node.file}:{node.line}")
                lines += _item(node, 2, node.file if with_places else None)
        return "".join(f"{line}\n" for line in lines)

    def json(self) -> str:
        """The objects as JSON."""
        values = {kind: [node.value for node in nodes] for kind, nodes in self.objects.items()}
        return json.dumps(values, indent=2, ensure_ascii=False, default=_as_written)


def render(files: Sequence[tuple[str, bytes]], environment: str | None = None) -> Rendered:
    """What the files come to in an environment; None: what they are, if they declare no environments."""
    cache = ParseCache()
    loaded = load(files, cache=cache, environment=environment)
    return Rendered(_by_kind(documents(files, environment, cache)), loaded)


def documents(files: Sequence[tuple[str, bytes]], environment: str | None, cache: ParseCache) -> Sequence[Node]:
    """All documents as they are in an environment, each value with its file; none if that environment is not there."""
    found = scope(sorted(files), cache)
    if found.refusal(environment) is not None:
        return ()
    if environment is None or found.environments is None:
        return [document for file in found.manifests for document in cache.raw(*file).documents]
    chosen = found.environments.by_name[environment]
    overlay = found.overlay(chosen)
    return layered(found.base(), overlay, chosen, found.settings_name, cache, is_whole=True).documents


def patches_of(
    files: Sequence[tuple[str, bytes]], environment: str | None, cache: ParseCache, kind: str
) -> Iterator[Node]:
    """The objects in an environment's overlay, as they are written there."""
    found = scope(sorted(files), cache)
    if environment is None or found.environments is None or found.refusal(environment) is not None:
        return
    for file in found.overlay(found.environments.by_name[environment]):
        for document in cache.raw(*file).documents:
            if kind in document.fields:
                yield from document.fields[kind].items


def _by_kind(given: Sequence[Node]) -> dict[str, list[Node]]:
    found: dict[str, list[Node]] = {}
    for kind in KINDS:
        listed = [document.fields[kind] for document in given if kind in document.fields]
        nodes = [node for each in listed for node in each.items if isinstance(node.value, dict)]
        if nodes:
            found[kind] = sorted(nodes, key=lambda node, kind=kind: _order(kind, node))  # type: ignore[misc]
    return found


def _order(kind: str, node: Node) -> tuple[str, int, str]:
    name, version = identity(kind, node)
    return name or "", version if isinstance(version, int) else -1, str(version)


def _item(node: Node, indent: int, file: str | None) -> Iterator[str]:
    """An item of a list, whose dash stands at ``indent``. ``file``: the one that is said already; None: say none."""
    space = " " * indent
    if node.fields:
        lines = list(_fields(node, indent + 2, file))
        yield f"{space}- {lines[0].lstrip()}"
        yield from lines[1:]
    elif node.items:
        lines = [line for item in node.items for line in _item(item, indent + 2, file)]
        yield f"{space}- {lines[0].lstrip()}"
        yield from lines[1:]
    else:
        yield from _scalar(f"{space}- ", node, indent, file)


def _fields(node: Node, indent: int, file: str | None) -> Iterator[str]:
    space = " " * indent
    for name, child in node.fields.items():
        key = f"{space}{_quoted(name)}:"
        inside = file if file is None else child.file
        if child.fields:
            yield f"{key}{_place(child, file)}"
            yield from _fields(child, indent + 2, inside)
        elif child.items:
            yield f"{key}{_place(child, file)}"
            for item in child.items:
                yield from _item(item, indent + 2, inside)
        else:
            yield from _scalar(f"{key} ", child, indent, file)


def _scalar(begin: str, node: Node, indent: int, file: str | None) -> Iterator[str]:
    text = node.value
    if isinstance(text, str) and "\n" in text.rstrip("\n") and _BLOCK.match(text):
        yield f"{begin}|{'' if text.endswith(chr(10)) else '-'}{_place(node, file)}"
        for line in text.removesuffix("\n").split("\n"):
            yield f"{' ' * (indent + 2)}{line}" if line else ""
        return
    yield f"{begin}{_written(node)}{_place(node, file)}"


def _place(node: Node, file: str | None) -> str:
    """Where a value stands, if that is another file than the one around it."""
    return f"  # {node.file}:{node.line}" if file is not None and node.file != file else ""


def _written(node: Node) -> str:
    if isinstance(node.value, str):
        return _quoted(node.value)
    if isinstance(node.value, dict | list):
        return "{}" if isinstance(node.value, dict) else "[]"
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    return node.text or ("null" if node.value is None else str(node.value))


def _quoted(text: str) -> str:
    if _PLAIN.match(text) and resolve(text) == text:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub(r"[\x7f-\xa0\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", quoted)


def _as_written(value: Any) -> str:
    return value.text if isinstance(value, Unquoted) else str(value)
