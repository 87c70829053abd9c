"""Checks documents against the JSON Schemas and makes objects of them. Called by ``load`` for each document.

What the model takes, the schemas take (tests/unit/test_schemas_and_model_agree.py), and making the objects is needed
anyway; so a document whose objects can all be made is right, in a fraction of the time. Only one that is not right is
given to the validator, and what that says goes through ``schema_words`` into people's words.
"""

from typing import Final

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.entries import KINDS, Entry, entry_of
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem, problem_at
from reconciler.manifests.schema_files import schemas
from reconciler.manifests.settings import Settings

_FIELDS: Final = {"$schema", *KINDS}


class Checked(msgspec.Struct, frozen=True):
    """The objects that a document declares, right or not, and what is wrong with their fields."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def check(document: Node) -> Checked:
    """Check one document against the manifest schema. The problems carry no file name yet."""
    accepted = accept(document)
    return check_by_schema(document) if accepted is None else Checked(accepted, ())


def accept(document: Node) -> tuple[Entry, ...] | None:
    """The objects of a document that is right; None: ask the schema."""
    if not isinstance(document.value, dict):
        return None
    for key, value in document.value.items():
        if not isinstance(value, list if key in KINDS else str) or key not in _FIELDS:
            return None
    entries: list[Entry] = []
    for kind, made_of in KINDS.items():
        listed = document.fields.get(kind)
        for node in listed.items if listed else ():
            if not isinstance(node.value, dict) or "managed_by" in node.value:
                return None
            try:
                entries.append(entry_of(kind, node, msgspec.convert(node.value, made_of)))
            except msgspec.ValidationError:
                return None
    return tuple(entries)


def check_by_schema(document: Node) -> Checked:
    """Check one document by the validator, which knows every problem."""
    from reconciler.manifests.schema_words import explain
    from reconciler.manifests.validator import faults

    found = faults("manifest", document.value)
    problems = explain(found, document, schemas())
    bad = {fault.path[:2] for fault in found}
    entries: list[Entry] = []
    for kind, made_of in KINDS.items():
        listed = document.fields.get(kind)
        for position, node in enumerate(listed.items if listed else ()):
            value = None
            if (kind, position) not in bad:
                try:
                    value = msgspec.convert(node.value, made_of)
                except msgspec.ValidationError as error:
                    refused = f"this can't be used: {error}"
                    problems.append(problem_at(rules.REFUSED_BY_MODEL, node, refused))
            entries.append(entry_of(kind, node, value))
    return Checked(tuple(entries), tuple(problems))


def check_settings(document: Node) -> tuple[Settings, list[Problem]]:
    """What the document of a ``reconciler.yaml`` says; nothing, if something is wrong with it."""
    try:
        return msgspec.convert(document.value, Settings), []
    except msgspec.ValidationError:
        pass
    from reconciler.manifests.schema_words import explain
    from reconciler.manifests.validator import faults

    problems = explain(faults("settings", document.value), document, schemas())
    return (Settings() if problems else msgspec.convert(document.value, Settings)), problems
