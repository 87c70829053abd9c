"""JSON Schema at work. The only file that imports ``jsonschema``, which takes longer than reading a manifest does.

So ``schema`` imports it only when a document is not right (to hear why), and ``policy`` when there are policies.
"""

import functools
import itertools
import json
from collections.abc import Iterator
from typing import Any, Final

import jsonschema
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from reconciler.errors import UsageError
from reconciler.manifests.schema_files import schemas
from reconciler.manifests.schema_words import Fault

MAX_FAULTS: Final = 500
"""More than these of one document are not looked for."""


def faults(schema: str, instance: Any) -> list[Fault]:
    """What one of our schemas has against a value."""
    return [
        Fault(
            path=tuple(error.absolute_path),
            keyword=str(error.validator),
            limit=error.validator_value,
            instance=error.instance,
            schema=error.schema if isinstance(error.schema, dict) else {},
        )
        for error in itertools.islice(validator(schema).iter_errors(instance), MAX_FAULTS)
    ]


@functools.cache
def validator(schema: str) -> Any:
    """The validator of one of our schemas."""
    # JSON Schema takes 2.0 for an integer; most programs that read our values do not.
    integers = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    kind = extend(jsonschema.Draft202012Validator, type_checker=integers)  # type: ignore[no-untyped-call]
    return kind(_parts()[f"{schema}.json"], registry=_registry())


def refused_schema(schema: dict[str, Any]) -> str | None:
    """Why this is no JSON Schema; None: it is one."""
    try:
        validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"{error.json_path}: {error.message}"
    return None


def breaches(schema: str, instance: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where and how a value breaks a schema (its JSON text), in the validator's words.

    Raises:
        UsageError: the schema refers to one that is not there.
    """
    try:
        for error in itertools.islice(_compiled(schema).iter_errors(instance), MAX_FAULTS):
            yield tuple(error.absolute_path), error.message
    except Unresolvable as error:
        raise UsageError(
            f"a policy refers to {error.ref}, which is not there", hint="put what it refers to into its own $defs"
        ) from error


@functools.lru_cache(maxsize=256)
def _compiled(text: str) -> Any:
    schema = json.loads(text)
    return validator_for(schema, default=jsonschema.Draft202012Validator)(schema, registry=_registry())


@functools.cache
def _parts() -> dict[str, Any]:
    # Without $schema: the validator would go on with its own class for a schema that names its dialect.
    return {
        name: {key: part for key, part in content.items() if key != "$schema"} for name, content in schemas().items()
    }


@functools.cache
def _registry() -> "Registry[Any]":
    resources = [(name, DRAFT202012.create_resource(part)) for name, part in _parts().items()]
    return Registry().with_resources(resources)


def _is_integer(_checker: object, instance: object) -> bool:
    return isinstance(instance, int) and not isinstance(instance, bool)
