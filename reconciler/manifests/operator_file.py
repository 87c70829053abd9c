"""Reads a file that an operator wrote for one machine, with line and column of whatever is wrong in it.

``host_policy_file`` and ``notifications_file`` say which.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from reconciler.errors import UsageError
from reconciler.manifests.nodes import Node
from reconciler.manifests.places import short
from reconciler.manifests.problem import Problem
from reconciler.manifests.schema_files import schemas
from reconciler.manifests.yaml_reader import read
from reconciler.model.faults import Fault

T = TypeVar("T", bound=msgspec.Struct)
_TELLING: Final = 6
"""Shorter texts are words of hints, too."""


class Kind(msgspec.Struct, frozen=True):
    """What a file is: ``what`` for people, ``schema`` by its name, ``page`` of the docs.

    ``unshown`` names fields in which somebody may have written a secret by mistake.
    """

    what: str
    schema: str
    page: str
    unshown: frozenset[str] = frozenset()


def read_operator_file(
    name: str, content: bytes, model: type[T], kind: Kind, faults: Callable[[T], Iterable[Fault]]
) -> T:
    """The value in a file; ``faults`` says what there is against one whose fields are well-formed.

    Raises:
        UsageError: it is none; says every problem with its place.
    """
    result = read(content, is_json=name.endswith(".json"))
    if result.problems:
        found = result.problems
        raise _refused(kind, [_told(name, _without_names(each) if kind.unshown else each) for each in found])
    if len(result.documents) != 1:
        raise _refused(kind, [f"{name}:1:1: this has to be one document, and here are {len(result.documents)}"])
    document = result.documents[0]
    value, problems = _checked(document, model, kind)
    if value is None:
        raise _refused(kind, [_told(name, each) for each in problems])
    wrong = [_said(name, _at(fault.path, document), fault.text) for fault in faults(value)]
    if wrong:
        raise _refused(kind, wrong)
    return value


def _checked(document: Node, model: type[T], kind: Kind) -> tuple[T | None, list[Problem]]:
    try:
        return msgspec.convert(document.value, model), []
    except msgspec.ValidationError:
        pass
    from reconciler.manifests.schema_words import explain
    from reconciler.manifests.validator import faults

    found = explain(faults(kind.schema, document.value), document, schemas())
    for text in _unshown(document, kind.unshown, is_unshown=False):
        found = [_without(each, text) for each in found]
    return (None if found else msgspec.convert(document.value, model)), found


def _unshown(node: Node, names: frozenset[str], *, is_unshown: bool) -> Iterator[str]:
    """The texts in the document that no error may show."""
    if is_unshown and isinstance(node.value, str):
        yield node.value
    elif is_unshown and node.text and node.value is not None:
        yield node.text  # a number that should have been a text
    for name, child in node.fields.items():
        yield from _unshown(child, names, is_unshown=is_unshown or name in names)
    for child in node.items:
        yield from _unshown(child, names, is_unshown=False)


def _without(problem: Problem, text: str) -> Problem:
    message = problem.message.replace(short(text), "'***'")
    message = message.replace(text, "***") if len(text) >= _TELLING else message
    hint = problem.hint.replace(text, "***") if problem.hint and len(text) >= _TELLING else problem.hint
    return msgspec.structs.replace(problem, message=message, hint=hint)


def _without_names(problem: Problem) -> Problem:
    """What begins with ``!``, ``*`` or ``&`` names a tag, an alias or an anchor; of which field, nobody knows yet."""
    message = re.sub(r"(?<=the tag ).*(?= is not read)|(?<=[*&])\S+", "***", problem.message)
    return msgspec.structs.replace(problem, message=message)


def _at(path: tuple[str | int, ...], node: Node) -> Node:
    for part in path:
        node = node.items[part] if isinstance(part, int) else node.fields.get(part, node)
    return node


def _told(name: str, problem: Problem) -> str:
    """The rules of manifests have codes, which mean nothing here."""
    hint = f"; {problem.hint}" if problem.hint else ""
    return f"{name}:{problem.line}:{problem.column}: {problem.message}{hint}"


def _said(name: str, node: Node, text: str) -> str:
    return f"{name}:{node.line}:{node.column}: {text}"


def _refused(kind: Kind, problems: list[str]) -> UsageError:
    return UsageError("\n".join([f"the {kind.what} can't be used:", *problems]), hint=f"see docs/{kind.page}")
