"""Checks documents against the JSON Schemas and makes objects of them. The only file that imports ``jsonschema``.

Called by ``load`` for each document; what the validator says goes through ``schema_words`` into people's words.
"""

import functools
import itertools
import json
from pathlib import Path
from typing import Any, Final

import jsonschema
import msgspec
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from reconciler.errors import UsageError
from reconciler.manifests import rules
from reconciler.manifests.entries import KINDS, Entry, entry_of
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.schema_words import Fault, explain
from reconciler.manifests.settings import Settings

SCHEMAS: Final = ("manifest", "cluster", "service", "task_definition", "host", "settings", "task", "host_state")
MAX_FAULTS: Final = 500
"""More than these of one document are not looked for."""


class Checked(msgspec.Struct, frozen=True):
    """The objects that a document declares, right or not, and what is wrong with their fields."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def check(document: Node) -> Checked:
    """Check one document against the manifest schema. The problems carry no file name yet."""
    faults = _faults("manifest", document)
    problems = explain(faults, document, schemas())
    bad = {fault.path[:2] for fault in faults}
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
                    problems.append(problem(rules.REFUSED_BY_MODEL, "", node.line, node.column, refused))
            entries.append(entry_of(kind, node, value))
    return Checked(tuple(entries), tuple(problems))


def check_settings(document: Node) -> tuple[Settings, list[Problem]]:
    """What the document of a ``reconciler.yaml`` says; nothing, if something is wrong with it."""
    problems = explain(_faults("settings", document), document, schemas())
    return (Settings() if problems else msgspec.convert(document.value, Settings)), problems


@functools.cache
def schemas() -> dict[str, Any]:
    """All schemas, by file name.

    Raises:
        UsageError: the installation lacks them.
    """
    folder = schema_folder()
    return {f"{name}.json": json.loads((folder / f"{name}.json").read_text("utf-8")) for name in SCHEMAS}


def schema_folder() -> Path:
    """Where the schemas are: inside the installed package, or beside it when it runs from its repository."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_schemas", package.parent / "schemas"):
        if (folder / "manifest.json").is_file():
            return folder
    raise UsageError(
        f"the JSON Schemas are missing: neither in {package / '_schemas'} nor beside the package",
        hint="install reconciler again",
    )


def _faults(schema: str, document: Node) -> list[Fault]:
    return [
        Fault(
            path=tuple(error.absolute_path),
            keyword=str(error.validator),
            limit=error.validator_value,
            instance=error.instance,
            schema=error.schema if isinstance(error.schema, dict) else {},
        )
        for error in itertools.islice(_validator(schema).iter_errors(document.value), MAX_FAULTS)
    ]


@functools.cache
def _validator(schema: str) -> Any:
    # Without $schema: the validator would go on with its own class for a schema that names its dialect.
    parts = {
        name: {key: part for key, part in content.items() if key != "$schema"} for name, content in schemas().items()
    }
    resources = [(name, DRAFT202012.create_resource(part)) for name, part in parts.items()]
    registry: Registry[Any] = Registry().with_resources(resources)
    # JSON Schema takes 2.0 for an integer; most programs that read our values do not.
    integers = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    kind = extend(jsonschema.Draft202012Validator, type_checker=integers)  # type: ignore[no-untyped-call]
    return kind(parts[f"{schema}.json"], registry=registry)


def _is_integer(_checker: object, instance: object) -> bool:
    return isinstance(instance, int) and not isinstance(instance, bool)
