"""What the content of one file came to, whatever the file is called. Made by ``load``, remembered by ``cache``.

It holds no more of the file than what is asked later on: the whole tree of a file is many times its size.
"""

import enum
import re
from typing import Final

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.checks import Checks
from reconciler.manifests.entries import KINDS, Entry
from reconciler.manifests.environments import Environments, environments_of, second_document, unreadable
from reconciler.manifests.find import is_settings_path
from reconciler.manifests.host_policy_rules import host_policy_problems
from reconciler.manifests.ignores import Ignore
from reconciler.manifests.ignores import parse as parse_comments
from reconciler.manifests.nodes import Node
from reconciler.manifests.object_rules import object_problems
from reconciler.manifests.policy import policy_problems
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.schema import check, check_settings
from reconciler.manifests.yaml_reader import read

_ASKED_LATER: Final = {
    "clusters": ("services",),
    "services": ("task_name", "task_version", "desired", "placement", "discovery_name"),
    "task_definitions": (),
    "hosts": (),
}
"""The fields whose places are needed when objects are compared with others."""
_INSIDE: Final = ("apart_from",)
"""Likewise the fields within them."""

_ENVIRONMENTS: Final = re.compile(rb"^[\"']?environments[\"']?\s*:", re.MULTILINE)
"""Settings that can't be read to the end and declare environments."""


class FileKind(enum.IntEnum):
    """How a file is to be read."""

    YAML = 0
    JSON = 1
    SETTINGS = 2


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """The objects in a file and its problems (neither knows the file's name), and its comments to us.

    ``text`` is the content of a file that could not be read to its end, else empty; ``ignore`` and ``environments`` are
    what settings say.
    """

    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()
    ignores: tuple[Ignore, ...] = ()
    text: bytes = b""
    ignore: tuple[str, ...] = ()
    environments: Environments | None = None


class Raw(msgspec.Struct, frozen=True):
    """A file as it is written, for an environment to change. Nodes and problems carry its name."""

    documents: tuple[Node, ...]
    problems: tuple[Problem, ...]
    ignores: tuple[Ignore, ...]
    text: bytes


def kind_of(name: str) -> FileKind:
    """How the file of this name is to be read."""
    if is_settings_path(name):
        return FileKind.SETTINGS
    return FileKind.JSON if name.lower().endswith(".json") else FileKind.YAML


def parse(content: bytes, kind: FileKind, checks: Checks) -> Parsed:
    """Read and check one file by itself."""
    return _parse_settings(content) if kind is FileKind.SETTINGS else _parse_manifest(content, kind, checks)


def _parse_manifest(content: bytes, kind: FileKind, checks: Checks) -> Parsed:
    result = read(content, is_json=kind is FileKind.JSON)
    entries: list[Entry] = []
    problems = list(result.problems)
    for document in result.documents:
        found, problems_found = check_objects(document, checks)
        entries += found
        problems += problems_found
    if not entries and not problems:
        problems.append(problem(rules.NOTHING_DECLARED, "", 1, 1, "this file declares nothing"))
    ignores, wrong = parse_comments(result.comments)
    return Parsed(
        entries=tuple(entries),
        problems=(*problems, *wrong),
        ignores=ignores,
        text=b"" if result.complete else content,
    )


def check_objects(document: Node, checks: Checks) -> tuple[list[Entry], list[Problem]]:
    """What a document declares, and what is wrong with each object by itself."""
    checked = check(document)
    problems = list(checked.problems)
    for entry in checked.entries:
        problems += object_problems(entry, checks.docker_flags)
        problems += policy_problems(checks.policies, entry)
        problems += host_policy_problems(checks.host_policies, entry)
    return [_without_more_than_needed(entry) for entry in checked.entries], problems


def _without_more_than_needed(entry: Entry) -> Entry:
    node = entry.node
    kept = {name: _place(node.fields[name]) for name in _ASKED_LATER[entry.kind] if name in node.fields}
    reduced = Node(node.line, node.column, None, fields=kept, file=node.file)
    return msgspec.structs.replace(entry, node=reduced, values_in=_other_files(node) if node.file else ())


def _other_files(node: Node) -> tuple[tuple[str, int], ...]:
    """The files in which values of an object stand, but for its own, and the first line of each."""
    found: dict[str, int] = {}
    pending = [node]
    while pending:
        each = pending.pop()
        for file, line in ((each.file, each.line), *each.others):
            if file != node.file:
                found[file] = min(line, found.get(file, line))
        pending += (*each.fields.values(), *each.items)
    return tuple(sorted(found.items()))


def _place(node: Node) -> Node:
    items = [
        Node(each.line, each.column, each.value if isinstance(each.value, str) else None, file=each.file)
        for each in node.items
    ]
    fields = {name: _place(node.fields[name]) for name in _INSIDE if name in node.fields}
    return Node(node.line, node.column, None, fields=fields, items=items, file=node.file)


def parse_raw(name: str, content: bytes) -> Raw:
    """Read a manifest, and check nothing yet."""
    result = read(content, is_json=kind_of(name) is FileKind.JSON)
    for document in result.documents:
        _name(document, name)
    ignores, wrong = parse_comments(result.comments)
    return Raw(
        documents=result.documents,
        problems=tuple(msgspec.structs.replace(each, file=name) for each in (*result.problems, *wrong)),
        ignores=ignores,
        text=b"" if result.complete else content,
    )


def _name(node: Node, file: str) -> None:
    if node.file:  # an alias: it was here before
        return
    node.file = file
    for child in (*node.fields.values(), *node.items):
        _name(child, file)


def _parse_settings(content: bytes) -> Parsed:
    result = read(content)
    problems = [found for found in result.problems if found.code != rules.NOTHING_DECLARED.code]
    ignore: list[str] = []
    environments: Environments | None = None
    for number, document in enumerate(result.documents):
        settings, wrong = check_settings(document)
        ignore += settings.ignore
        found = unreadable(document)
        if not result.complete:  # what is missing may stand behind the place where reading ended
            wrong = []
        elif number and found is not None:
            wrong.append(second_document(found))
            environments = None  # which files are for whom is not known then: the stand-in says so
        elif not wrong:
            found, wrong = environments_of(document, settings)
        problems += wrong
        environments = environments or found
    if environments is None and not result.complete and _ENVIRONMENTS.search(content):
        environments = Environments(Node(1, 1, None), (), {})
    ignores, wrong_comments = parse_comments(result.comments)
    return Parsed(
        problems=(*problems, *wrong_comments), ignores=ignores, ignore=tuple(ignore), environments=environments
    )


# As bytes, for other processes and for the next run.


class _StoredEntry(msgspec.Struct, frozen=True, array_like=True):
    """An entry; the object stands apart because only its kind tells what it is."""

    kind: str
    name: str | None
    version: int | None
    node: Node
    object: msgspec.Raw


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    entries: tuple[_StoredEntry, ...]
    problems: tuple[Problem, ...]
    ignores: tuple[Ignore, ...]
    text: bytes
    ignore: tuple[str, ...]
    environments: Environments | None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Stored)
_OBJECTS: Final = {kind: msgspec.msgpack.Decoder(made_of | None) for kind, made_of in KINDS.items()}


def to_bytes(parsed: Parsed) -> bytes:
    """The compact form."""
    entries = tuple(
        _StoredEntry(each.kind, each.name, each.version, each.node, msgspec.Raw(_ENCODER.encode(each.object)))
        for each in parsed.entries
    )
    return _ENCODER.encode(
        _Stored(entries, parsed.problems, parsed.ignores, parsed.text, parsed.ignore, parsed.environments)
    )


def from_bytes(content: bytes) -> Parsed:
    """What the compact form holds. Raises msgspec's errors for anything else."""
    stored = _DECODER.decode(content)
    entries = tuple(
        Entry(
            kind=each.kind,
            name=each.name,
            version=each.version,
            node=each.node,
            object=_OBJECTS[each.kind].decode(each.object),
        )
        for each in stored.entries
    )
    return Parsed(entries, stored.problems, stored.ignores, stored.text, stored.ignore, stored.environments)
