"""The manifests of one environment: all of them, with its overlay laid over and its parameters filled in.

Called by ``load``. Files that an environment does not touch are what they always are, parsed once for all environments;
only the others are put together anew, object by object, and checked as if they had been written so. Every value keeps
the file and line that it came from, so that a problem stands where somebody can mend it.
"""

from collections.abc import Iterable, Sequence

import msgspec

from reconciler.manifests.cache import ParseCache
from reconciler.manifests.entries import KINDS, Entry
from reconciler.manifests.environments import Chosen
from reconciler.manifests.ignores import Ignore
from reconciler.manifests.nodes import Node, with_fields, with_items
from reconciler.manifests.overlays import Overlay
from reconciler.manifests.parameters import Filling, Parameters
from reconciler.manifests.parsed import Parsed, check_objects
from reconciler.manifests.problem import Problem
from reconciler.manifests.settings import PARAMETER_MARK

Files = Sequence[tuple[str, bytes]]


class Layered(msgspec.Struct, frozen=True):
    """What an environment comes to; ``documents`` are those that it touches, as if they had been written so.

    ``plain`` are the files that it does not touch, by name. Problems carry their file.
    """

    plain: dict[str, Parsed]
    documents: tuple[Node, ...]
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    ignores: tuple[tuple[str, Ignore], ...]
    texts: tuple[bytes, ...]


def layered(
    base: Files, overlay: Files, chosen: Chosen, settings_name: str, cache: ParseCache, *, is_whole: bool = False
) -> Layered:
    """Put an environment together from the files of all environments and those of its overlay.

    ``is_whole``: treat all files as touched, so that ``documents`` are all that there are.
    """
    raws = {name: cache.raw(name, content) for name, content in overlay}
    over = Overlay(document for raw in raws.values() for document in raw.documents)
    plain: dict[str, Parsed] = {}
    touched: list[Node] = []
    for name, content in base:
        parsed = None if is_whole or PARAMETER_MARK in content else cache.parse(name, content)
        if parsed is not None and not any(over.touches(entry.kind, entry.name) for entry in parsed.entries):
            plain[name] = parsed
            for entry in parsed.entries:
                if entry.name is not None:
                    over.know(entry.kind, entry.name, entry.version, _in_file(entry.node, name))
            continue
        raws[name] = cache.raw(name, content)
        touched += map(over.laid_over, raws[name].documents)
    filling = Filling(_parameters(chosen, settings_name))
    problems = [problem for raw in raws.values() for problem in raw.problems]
    documents = [_filled_in(document, filling) for document in (*touched, *over.declared())]
    problems += filling.problems
    entries, wrong = _checked(documents, cache)
    unread = b"\n".join([*(raw.text for raw in raws.values()), *(parsed.text for parsed in plain.values())])
    problems += [*over.problems, *over.misses(lambda name: name.encode() in unread), *wrong]
    return Layered(
        plain=plain,
        documents=tuple(documents),
        entries=tuple(entries),
        problems=tuple(problems),
        ignores=tuple((name, ignore) for name, raw in raws.items() for ignore in raw.ignores),
        texts=tuple(raw.text for raw in raws.values()),
    )


def _parameters(chosen: Chosen, settings_name: str) -> Parameters:
    values = {name: _in_file(node, settings_name) for name, node in chosen.values.items()}
    return Parameters(values, frozenset(chosen.missing))


def _in_file(node: Node, name: str) -> Node:
    return Node(node.line, node.column, node.value, node.text, file=name)


def _filled_in(document: Node, filling: Filling) -> Node:
    fields = dict(document.fields)
    for kind in KINDS:
        if kind in fields and fields[kind].items:
            fields[kind] = with_items(fields[kind], [filling.filled_in(item) for item in fields[kind].items])
    return with_fields(document, fields) if fields else document


def _checked(documents: Iterable[Node], cache: ParseCache) -> tuple[list[Entry], list[Problem]]:
    entries: list[Entry] = []
    problems: list[Problem] = []
    for document in documents:
        found, wrong = check_objects(document, cache.checks)
        entries += [msgspec.structs.replace(entry, file=entry.node.file) for entry in found]
        problems += wrong
    return entries, problems
