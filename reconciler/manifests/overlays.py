"""An environment's overlay, laid over the manifests of all environments. Pure; called by ``layers``.

An object in an overlay names one of the base and says what is different: mappings merge field by field, and so do
the things in lists that have names (containers, checks, ports, secrets, entries of ``env``); everything else is
replaced. ``null`` takes a field away. ``add: true`` says that an object or such a thing is new, ``remove: true`` that
it is not there. What an overlay changes must be there, so that a name that is misspelt, or gone from the base, is seen.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.entries import KINDS, label
from reconciler.manifests.field_names import closest
from reconciler.manifests.nodes import Node, describe, with_fields, with_items
from reconciler.manifests.problem import Problem, problem, problem_at

NAMED_LISTS: Final = {
    "containers": "container",
    "checks": "check",
    "ports": "port",
    "secrets": "secret",
    "env_from": "variable",
}
"""Lists whose items are found by their ``name``; the ``ports`` of an executor are texts, and have none."""
_IDENTITY: Final = frozenset({"name", "version"})
_ADD, _REMOVE = "add", "remove"


class Patch(msgspec.Struct, frozen=True, kw_only=True):
    """What an overlay says of one object. ``version`` None: of all versions. Names and versions are as written."""

    kind: str
    name: str
    version: object
    node: Node
    removes: bool = False

    @property
    def label(self) -> str:
        """The object in words."""
        return label(self.kind, self.name, self.version if isinstance(self.version, int) else None)


class Overlay:
    """The changes of one environment."""

    def __init__(self, documents: Iterable[Node]) -> None:
        self._documents: list[Node] = []
        self.problems: list[Problem] = []
        self._patches: dict[tuple[str, str], list[Patch]] = {}
        self._hit: set[int] = set()
        self._base: dict[str, dict[str, list[Patch]]] = {kind: {} for kind in KINDS}
        for document in documents:
            self._read(document)

    def touches(self, kind: str, name: str | None) -> bool:
        """Whether anything is said of objects of this name."""
        return (kind, name) in self._patches

    def know(self, kind: str, name: str, version: object, node: Node) -> None:
        """The base declares this object."""
        known = Patch(kind=kind, name=name, version=version, node=node)
        self._base[kind].setdefault(name, []).append(known)

    def laid_over(self, document: Node) -> Node:
        """A document of the base as it is in this environment."""
        fields = dict(document.fields)
        for kind in KINDS:
            listed = document.fields.get(kind)
            if listed is not None and listed.items:
                items = [self._object(kind, item) for item in listed.items]
                fields[kind] = with_items(listed, [item for item in items if item is not None])
        return with_fields(document, fields) if fields else document

    def declared(self) -> Iterator[Node]:
        """The documents of what the overlay adds; to be asked when all of the base is known."""
        for document in self._documents:
            fields = dict(document.fields)
            for kind in KINDS:
                if kind in fields and fields[kind].items:
                    items = [item for item in fields[kind].items if not self._is_there_already(kind, item)]
                    fields[kind] = with_items(fields[kind], items)
            yield with_fields(document, fields) if fields else document

    def _is_there_already(self, kind: str, node: Node) -> bool:
        name, version = identity(kind, node)
        known = next((each for each in self._base[kind].get(name or "", ()) if each.version == version), None)
        if known is not None:
            message = f"{known.label} is added here, and is in the base already ({_place(known.node)})"
            hint = "take add: true out, to change it, or give it another name"
            self.problems.append(problem_at(rules.DECLARED_TWICE, node, message, hint))
        return known is not None

    def misses(self, maybe_declared: Callable[[str], bool]) -> Iterator[Problem]:
        """What was said of objects that are not there; to be asked when all of the base is known.

        ``maybe_declared``: whether a name stands in a file that could not be read.
        """
        for patches in self._patches.values():
            for patch in patches:
                if id(patch) not in self._hit and not maybe_declared(patch.name):
                    yield self._miss(patch)

    def _read(self, document: Node) -> None:
        fields = dict(document.fields)
        for kind in KINDS:
            listed = document.fields.get(kind)
            if listed is not None and listed.items:
                items = [self._take(kind, item) for item in listed.items]
                fields[kind] = with_items(listed, [item for item in items if item is not None])
        self._documents.append(with_fields(document, fields) if fields else document)

    def _take(self, kind: str, node: Node) -> Node | None:
        """Note what an object of the overlay says; what it declares anew is given back."""
        if not isinstance(node.value, dict):
            return node  # the schema says what is wrong with it
        name, version = identity(kind, node)
        if name is None:
            self.problems.append(_nameless(kind, node))
            return None
        adds, removes = self._marks(node)
        if adds:
            return _without(node, _ADD)
        if wrong := _bad_version(kind, node):
            self.problems.append(wrong)
            return None
        patch = Patch(kind=kind, name=name, version=version, node=node, removes=removes)
        same = [each for each in self._patches.get((kind, name), ()) if each.version == version]
        if same:
            self.problems.append(_said_twice(node, same[0].node, patch.label))
            return None
        if removes:
            self._nothing_beside(node, {"name", "version", _REMOVE}, patch.label)
        self._patches.setdefault((kind, name), []).append(patch)
        return None

    def _marks(self, node: Node) -> tuple[bool, bool]:
        """Whether an object or item is added or removed."""
        for mark in (_ADD, _REMOVE):
            said = node.fields.get(mark)
            if said is not None and said.value is not True:
                self.problems.append(problem_at(rules.BAD_OVERLAY, said, f"{mark} can only be true", "take it out"))
        return _ADD in node.fields, _REMOVE in node.fields and _ADD not in node.fields

    def _nothing_beside(self, node: Node, allowed: set[str], what: str) -> None:
        for field, child in node.fields.items():
            if field not in allowed:
                message = f"{what} is removed here, so its {field} can't be said"
                self.problems.append(_at_key(rules.BAD_OVERLAY, node, field, child, message, "take one of the two out"))

    def _object(self, kind: str, node: Node) -> Node | None:
        """An object of the base as it is in this environment; None: it is not there."""
        if not isinstance(node.value, dict):
            return node
        name, version = identity(kind, node)
        if name is None:
            return node
        self.know(kind, name, version, node)
        patches = [each for each in self._patches.get((kind, name), ()) if each.version in {None, version}]
        made: Node | None = node
        for patch in sorted(patches, key=lambda each: each.version is not None):  # what is said of one version wins
            self._hit.add(id(patch))
            if patch.removes:
                made = None
            elif made is not None:
                made = self._merged(made, patch.node, patch.label)
        return made

    def _merged(self, base: Node, patch: Node, what: str) -> Node:
        """The mapping ``base`` with what ``patch`` says of it."""
        fields, keys = dict(base.fields), dict(base.keys)
        others, gone = list(base.others), dict(base.gone)
        for name, child in patch.fields.items():
            old = fields.get(name)
            if name in _IDENTITY and old is not None and old.value == child.value:
                continue  # it is how the object was found
            if child.value is None:
                if old is None:
                    message = f"{what} has no {name} that could be taken away"
                    hint = "take the line out"
                    self.problems.append(_at_key(rules.OVERLAY_MISSES, patch, name, child, message, hint))
                else:
                    del fields[name], keys[name]
                    others.append((child.file, child.line))
                    gone[name] = (child.file, *patch.keys[name])
            elif old is not None and isinstance(old.value, dict) and isinstance(child.value, dict):
                fields[name] = self._merged(old, child, f"{what}: {name}")
            elif name in NAMED_LISTS and _holds_mappings(child) and (old is None or _may_hold_mappings(old)):
                if old is None:
                    old, keys[name] = with_items(child, []), patch.keys[name]
                fields[name] = self._merged_by_name(old, child, NAMED_LISTS[name], what)
            elif old is not None and name == "env" and old.items and child.items:
                fields[name] = self._merged_env(old, child, what)
            else:
                fields[name], keys[name] = child, patch.keys[name]
        made = with_fields(base, fields, keys)
        made.others, made.gone = tuple(others), gone
        return made

    def _merged_by_name(self, base: Node, patch: Node, word: str, what: str) -> Node:
        items, others = list(base.items), list(base.others)
        said: dict[str, Node] = {}
        for child in patch.items:
            name = _text_of(child, "name") if isinstance(child.value, dict) else None
            if name is None and _ADD in child.fields:
                self._marks(child)
                items.append(_without(child, _ADD))
                continue
            if name is None:
                message = f"a {word} of {what} can't be found without its name"
                hint = f"give the {word} a name in the base and here"
                self.problems.append(problem_at(rules.BAD_OVERLAY, child, message, hint))
                continue
            if name in said:
                self.problems.append(_said_twice(child, said[name], f"{what}: {word} {name!r}"))
                continue
            said[name] = child
            adds, removes = self._marks(child)
            position = next((at for at, item in enumerate(items) if _text_of(item, "name") == name), None)
            if adds and position is not None:
                message = f"{what} has a {word} {name!r} already ({_place(items[position])})"
                self.problems.append(problem_at(rules.BAD_OVERLAY, child, message, "take add: true out, to change it"))
            elif adds:
                items.append(_without(child, _ADD))
            elif position is None:
                self.problems.append(_no_item(child, word, name, what, items))
            elif removes:
                self._nothing_beside(child, {"name", _REMOVE}, f"{what}: {word} {name!r}")
                del items[position]
                others.append((child.file, child.line))
            else:
                items[position] = self._merged(items[position], child, f"{what}: {word} {name!r}")
        made = with_items(base, items)
        made.others = tuple(others)
        return made

    def _merged_env(self, base: Node, patch: Node, what: str) -> Node:
        """``NAME=value`` takes the place of that name."""
        said: dict[object, Node] = {}
        for child in patch.items:
            name = _env_name(child)
            if name in said:
                self.problems.append(_said_twice(child, said[name], f"{what}: variable {name}"))
            said.setdefault(name, child)
        names = set(said)
        kept: list[Node] = []
        for child in base.items:
            name = _env_name(child)
            if name not in names:
                kept.append(child)
            elif name in said:
                kept.append(said.pop(name))
        return with_items(base, [*kept, *said.values()])

    def _miss(self, patch: Patch) -> Problem:
        there = self._base[patch.kind]
        if patch.name in there:
            versions = ", ".join(str(each.version) for each in there[patch.name])
            message = f"the base has no {patch.label}"
            return problem_at(rules.OVERLAY_MISSES, patch.node, message, f"it has version {versions}")
        guess = closest(patch.name, there)
        verb = "removed" if patch.removes else "changed"
        message = f"{patch.label} is {verb} here, and is not in the base"
        hint = f"did you mean {guess}?" if guess else None
        return problem_at(rules.OVERLAY_MISSES, patch.node, message, hint)


def identity(kind: str, node: Node) -> tuple[str | None, object]:
    """Name and version of an object as they are written; the name None if there is none."""
    version = node.fields["version"].value if kind == "task_definitions" and "version" in node.fields else None
    return _text_of(node, "name"), version if isinstance(version, int | str) else None


def _holds_mappings(node: Node) -> bool:
    return bool(node.items) and isinstance(node.items[0].value, dict)


def _may_hold_mappings(node: Node) -> bool:
    return node.value in (None, []) or _holds_mappings(node)


def _env_name(node: Node) -> object:
    return node.value.partition("=")[0] if isinstance(node.value, str) else node


def _text_of(node: Node, field: str) -> str | None:
    child = node.fields.get(field)
    return child.value if child is not None and isinstance(child.value, str) else None


def _without(node: Node, field: str) -> Node:
    return with_fields(node, {name: child for name, child in node.fields.items() if name != field})


def _said_twice(node: Node, other: Node, what: str) -> Problem:
    message = f"{what} is changed here and in {_place(other)}"
    return problem_at(rules.BAD_OVERLAY, node, message, "say all of it in one place")


def _bad_version(kind: str, node: Node) -> Problem | None:
    version = node.fields.get("version") if kind == "task_definitions" else None
    if version is None or isinstance(version.value, str) or type(version.value) is int:
        return None
    message = f"the version of a patch must be a whole number, found {describe(version.value)}"
    return problem_at(rules.BAD_OVERLAY, version, message, "write the version as in the base; without one: all of them")


def _nameless(kind: str, node: Node) -> Problem:
    message = f"a {label(kind, None)} in an overlay can't be found without its name"
    return problem_at(rules.BAD_OVERLAY, node, message, "write the name of what is changed")


def _no_item(node: Node, word: str, name: str, what: str, items: Sequence[Node]) -> Problem:
    guess = closest(name, [each for item in items if (each := _text_of(item, "name"))])
    message = f"{what} has no {word} {name!r} in the base"
    hint = f"did you mean {guess}?" if guess else None
    return problem_at(rules.OVERLAY_MISSES, node, message, hint)


def _at_key(rule: rules.Rule, node: Node, field: str, child: Node, message: str, hint: str) -> Problem:
    return problem(rule, child.file, *node.keys[field], message, hint)


def _place(node: Node) -> str:
    return f"{node.file}:{node.line}"
