"""Which object and field a path in a document is, in words and on the page. Called by ``schema_words`` and friends."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from reconciler.manifests.entries import SINGULAR, label
from reconciler.manifests.nodes import Node, describe
from reconciler.manifests.problem import Problem, problem, problem_at
from reconciler.manifests.rules import Rule

Path: TypeAlias = tuple[str | int, ...]
SHOWN_CHARACTERS = 60


class Where(msgspec.Struct, frozen=True):
    """A value: its node, the place of its key if it has one, what to call it, and the name of its field."""

    node: Node
    key: tuple[int, int] | None
    what: str
    field: str

    def problem(self, rule: Rule, message: str, hint: str | None = None) -> Problem:
        """A problem at the value itself."""
        return problem_at(rule, self.node, message, hint)

    def problem_at_key(self, name: str, rule: Rule, message: str, hint: str | None = None) -> Problem:
        """A problem at the key ``name`` inside of the value."""
        if name not in self.node.keys:
            return problem_at(rule, self.node, message, hint)
        child = self.node.fields[name]
        return problem(rule, child.key_file or child.file, *self.node.keys[name], message, hint)

    def problem_of_lack(self, names: Iterable[str], rule: Rule, message: str, hint: str | None = None) -> Problem:
        """A problem with fields that are not there: at the value, or where an overlay took one of them away."""
        gone = next((self.node.gone[name] for name in names if name in self.node.gone), None)
        return self.problem(rule, message, hint) if gone is None else problem(rule, *gone, message, hint)


def where(path: Path, document: Node) -> Where:
    """What stands at ``path``: the names of fields and the positions in lists from the document down."""
    node = document
    key: tuple[int, int] | None = None
    for part in path:
        if isinstance(part, int):
            node, key = node.items[part], None
        else:
            key = node.keys[part]
            node = node.fields[part]
    fields = [part for part in path if isinstance(part, str)]
    return Where(node, key, _words(path, document), fields[-1] if fields else "")


def _words(path: Path, document: Node) -> str:
    """``service 'web': env[0]``."""
    if not path:
        return "the document"
    kind = str(path[0])
    if len(path) < 2 or kind not in SINGULAR:
        return dotted(path)
    thing = document.fields[kind].items[int(path[1])]
    name = thing.fields["name"].value if "name" in thing.fields else None
    words = label(kind, name if isinstance(name, str) else None)
    return f"{words}: {dotted(path[2:])}" if path[2:] else words


def dotted(path: Sequence[str | int]) -> str:
    """``containers[0].executor.image``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def found(node: Node) -> str:
    """What stands there, with the text if there is one."""
    return f"text {short(node.value)}" if isinstance(node.value, str) else describe(node.value)


def short(text: str) -> str:
    """A text as it can be shown in a message."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def either(choices: Sequence[str]) -> str:
    """``docker or bash``."""
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
