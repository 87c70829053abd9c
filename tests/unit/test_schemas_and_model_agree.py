"""The JSON Schemas and the typed model say the same: neither takes or refuses what the other does not.

Shown three ways: field by field, by random values made from one and given to the other, and by random values with one
thing changed, which both must take or both refuse.
"""

import copy
import functools
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from reconciler.manifests.schema import accept, check, check_by_schema
from reconciler.manifests.schema_files import SCHEMAS, schema_folder, schemas
from reconciler.manifests.settings import Settings
from reconciler.manifests.validator import validator as _validator
from reconciler.manifests.yaml_reader import read
from reconciler.model.codec import encode
from reconciler.model.host_policy import HostPolicy
from reconciler.model.manifests import (
    CHECK_KINDS,
    BashContainer,
    BashExecutor,
    Check,
    Cluster,
    DockerContainer,
    DockerExecutor,
    Host,
    NamedPort,
    Service,
    TaskDefinition,
)
from reconciler.model.notifications import Notifications
from reconciler.model.secrets import SOURCE_KINDS, EnvFrom, FromHost, Secret
from reconciler.model.task import HostState, Task

DECLARED = {
    "cluster": Cluster,
    "service": Service,
    "task_definition": TaskDefinition,
    "host": Host,
    "settings": Settings,
    "host_policy": HostPolicy,
    "notifications": Notifications,
}
RECORDS = {"task": Task, "host_state": HostState}
PARTS = {
    "named_port": NamedPort,
    "docker_executor": DockerExecutor,
    "bash_executor": BashExecutor,
    "check": Check,
    "env_from": EnvFrom,
    "secret": Secret,
}
CONSTRAINTS = ("pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "enum")
PROPERTIES = settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)


def part(name: str) -> dict[str, Any]:
    """A schema by its name, or a part of that of task definitions."""
    if f"{name}.json" in schemas():
        return dict(schemas()[f"{name}.json"])
    return dict(schemas()["task_definition.json"]["$defs"][name])


KNOWN_KEYWORDS = {
    *CONSTRAINTS,
    *(
        "type",
        "properties",
        "required",
        "additionalProperties",
        "propertyNames",
        "items",
        "prefixItems",
        "$ref",
        "$defs",
    ),
    *("oneOf", "not", "allOf", "if", "then", "const", "default"),
    *("$schema", "title", "description", "examples", "patternErrorMessage"),
}
"""Those that the tests here hold against the model: what validate accepts by the model alone rests on it."""


def keywords(schema: Any) -> set[str]:
    """The keywords that a schema uses, at any depth; names of fields are none."""
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for name, part_of_it in schema.items():
        if name in {"properties", "$defs"}:
            found |= set().union(*map(keywords, part_of_it.values()))
        elif name not in {"default", "examples", "enum", "const"}:
            parts = part_of_it if isinstance(part_of_it, list) else [part_of_it]
            found |= set().union(*map(keywords, parts))
    return found


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_uses_no_keyword_that_is_not_compared_with_the_model(name: str) -> None:
    assert keywords(schemas()[f"{name}.json"]) <= KNOWN_KEYWORDS


def schema_takes(name: str, value: Any) -> bool:
    return bool(_validator(name).is_valid(value))


def model_takes(model: Any, value: Any) -> bool:
    try:
        msgspec.json.decode(json.dumps(value), type=model)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return False
    return True


# Field by field.


def normal(schema: Any, root: dict[str, Any]) -> Any:
    """What a schema demands, without words; containers as the set of their two kinds."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return "a container" if name == "container" else normal(root["$defs"][name], root)
    if "anyOf" in schema and all("$ref" in one for one in schema["anyOf"]):
        return "a container"
    if "anyOf" in schema:
        merged: dict[str, Any] = {"type": set()}
        for one in schema["anyOf"]:
            each = normal(one, root)
            merged["type"] |= each.pop("type")
            merged.update(each)
        return merged
    kinds = schema.get("type", "string")
    found: dict[str, Any] = {"type": {kinds} if isinstance(kinds, str) else set(kinds)}
    found |= {name: schema[name] for name in CONSTRAINTS if name in schema}
    if "enum" in found:
        found["enum"] = set(found["enum"])
    items = schema.get("items")
    if not items and "prefixItems" in schema:
        assert all(one == schema["prefixItems"][0] for one in schema["prefixItems"])
        items = schema["prefixItems"][0]
    if items:
        found["items"] = normal(items, root)
    if isinstance(schema.get("additionalProperties"), dict):
        found["values"] = normal(schema["additionalProperties"], root)
        if "propertyNames" in schema:
            found["names"] = {
                name: schema["propertyNames"][name] for name in CONSTRAINTS if name in schema["propertyNames"]
            }
    if "properties" in schema:
        found["fields"] = {name: normal(one, root) for name, one in schema["properties"].items()}
        found["required"] = set(schema.get("required", ()))
        found["defaults"] = {name: one["default"] for name, one in schema["properties"].items() if "default" in one}
        found["strict"] = schema.get("additionalProperties", True) is False
    return found


def of_model(model: Any) -> Any:
    (_, components) = msgspec.json.schema_components([model])
    root = {"$defs": json.loads(msgspec.json.encode(components))}
    return normal(root["$defs"][model.__name__], root)


@pytest.mark.parametrize(("name", "model"), [*DECLARED.items(), *PARTS.items()])
def test_each_field_is_the_same_in_schema_and_model(name: str, model: Any) -> None:
    assert normal(part(name), schemas()["task_definition.json" if name in PARTS else f"{name}.json"]) == of_model(model)


@pytest.mark.parametrize(("kind", "model"), [("docker", DockerContainer), ("bash", BashContainer)])
def test_each_kind_of_container_is_the_same_in_schema_and_model(kind: str, model: Any) -> None:
    container = part("container")
    container["properties"] = container["properties"] | {
        "type": {"type": "string", "enum": [kind]},
        "executor": {"$ref": f"#/$defs/{kind}_executor"},
    }
    theirs = of_model(model)
    assert normal(container, schemas()["task_definition.json"]) == theirs
    assert container["allOf"][["docker", "bash"].index(kind)]["then"]["properties"]["executor"] == {
        "$ref": f"#/$defs/{kind}_executor"
    }


@pytest.mark.parametrize(("name", "model"), RECORDS.items())
def test_each_field_of_a_record_is_in_schema_and_model(name: str, model: Any) -> None:
    ours, theirs = normal(part(name), {}), of_model(model)
    assert {field: one["type"] for field, one in ours["fields"].items()} == {
        field: one["type"] for field, one in theirs["fields"].items()
    }
    assert ours["required"] == theirs["required"]
    absent = {field.name for field in msgspec.structs.fields(model) if field.default is msgspec.UNSET}
    assert not any(ours["defaults"][name] for name in absent)
    assert {name: one for name, one in ours["defaults"].items() if name not in absent} == theirs["defaults"]
    assert not ours["strict"]
    assert not theirs["strict"]


# Each field is explained.


def fields(schema: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """All properties of a schema file, with where they stand and the schema that holds them."""
    found = [(f"{path}.{name}", one, schema) for name, one in schema.get("properties", {}).items()]
    for name, definition in schema.get("$defs", {}).items():
        found += fields(definition, f"{path}.{name}")
    return found


FIELDS = [field for name in SCHEMAS for field in fields(schemas()[f"{name}.json"], name)]


@pytest.mark.parametrize(("path", "field", "holder"), FIELDS, ids=[path for path, *_ in FIELDS])
def test_each_field_has_a_description_a_default_and_an_example(
    path: str, field: dict[str, Any], holder: dict[str, Any]
) -> None:
    name = path.rpartition(".")[2]
    assert field["description"].endswith(".")
    assert field["examples"]
    assert ("default" in field) == (name not in holder.get("required", ()))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_examples_and_defaults_in_a_schema_are_right(name: str) -> None:
    validator = _validator(name)
    validator.check_schema(schemas()[f"{name}.json"])
    assert schemas()[f"{name}.json"]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for example in schemas()[f"{name}.json"]["examples"]:
        validator.validate(example)
    for path, field, _ in fields(schemas()[f"{name}.json"], name):
        values = field["examples"] + ([field["default"]] if "default" in field else [])
        for value in values:
            bare = {key: one for key, one in field.items() if key not in {"default", "examples"}}
            assert validator.evolve(schema=bare).is_valid(value), f"{path}: {value!r}"


def test_the_schemas_are_found_beside_the_package_and_inside_the_wheel() -> None:
    assert {path.stem for path in schema_folder().glob("*.json")} == set(SCHEMAS)


# Random values.


def values(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema takes, built from our keywords."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return container_values(root) if name == "container" else values(root["$defs"][name], root)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of(*(values_of_kind(kind, schema, root) for kind in kinds))


def values_of_kind(kind: str, schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    if kind == "null":
        return st.none()
    if kind == "boolean":
        return st.booleans()
    if kind == "number":
        return st.floats(allow_nan=False, allow_infinity=False)
    if kind == "integer":
        return st.integers(schema.get("minimum", -(2**53)), schema.get("maximum", 2**53 - 1))
    if kind == "string" and "pattern" in schema:
        most = schema.get("maxLength", 1000)
        return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda text: len(text) <= most)
    if kind == "string":
        return st.text(st.characters(codec="utf-8"), min_size=schema.get("minLength", 0), max_size=20)
    if kind == "array":
        few, most = schema.get("minItems", 0), schema.get("maxItems", 3)
        return st.lists(values(schema["items"], root), min_size=few, max_size=most)
    assert kind == "object"
    if "properties" not in schema:
        named = schema.get("propertyNames", {})
        names = st.text(st.characters(codec="utf-8"), min_size=named.get("minLength", 0))
        if "pattern" in named:
            names = st.from_regex(named["pattern"], fullmatch=True)
        return st.dictionaries(names, values(schema["additionalProperties"], root), max_size=3)
    return object_values(schema, root)


def object_values(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    needed = {name: values(schema["properties"][name], root) for name in schema.get("required", ())}
    free = {name: values(one, root) for name, one in schema["properties"].items() if name not in needed}
    made = st.fixed_dictionaries(needed, optional=free)
    if "oneOf" in schema:
        return st.tuples(made, st.sampled_from(kinds_of(schema))).flatmap(
            lambda pair: one_kind(pair[0], pair[1], schema, root)
        )
    if "not" in schema:
        return made.map(lambda value: value | ({"port": 0} if value.get("provide_port") else {}))
    return made


def kinds_of(schema: dict[str, Any]) -> list[str]:
    """The fields of which exactly one is given."""
    return [one["required"][0] for one in schema["oneOf"]]


def one_kind(made: dict[str, Any], kind: str, schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    others = {name: None for name in kinds_of(schema) if name != kind and name in made}
    text = values({**schema["properties"][kind], "type": "string"}, root)
    return text.map(lambda chosen: made | others | {kind: chosen})


def container_values(root: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = root["$defs"]["container"]["properties"]
    return st.one_of(
        *(
            st.fixed_dictionaries(
                {
                    "name": values(properties["name"], root),
                    "type": st.just(kind),
                    "executor": values(root["$defs"][f"{kind}_executor"], root),
                },
                optional={"setup": values(properties["setup"], root)},
            )
            for kind in ("docker", "bash")
        )
    )


@functools.cache
def made_from_schema(name: str) -> st.SearchStrategy[Any]:
    return values(part(name), part(name))


def of_type(type_: inspect.Type) -> st.SearchStrategy[Any]:
    """What a type of the model takes, built from its annotations alone."""
    match type_:
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=low, le=high):
            return st.integers(low, high)
        case inspect.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case inspect.StrType(pattern=str(pattern), max_length=most):
            return st.from_regex(pattern, fullmatch=True).filter(lambda text: most is None or len(text) <= most)
        case inspect.StrType(min_length=few):
            return st.text(st.characters(codec="utf-8"), min_size=few or 0, max_size=20)
        case inspect.LiteralType(values=choices):
            return st.sampled_from(choices)
        case inspect.VarTupleType(item_type=item, min_length=few):
            return st.lists(of_type(item), min_size=few or 0, max_size=3).map(tuple)
        case inspect.TupleType(item_types=items):
            return st.tuples(*(of_type(item) for item in items))
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(of_type(key), of_type(value), max_size=3)
        case inspect.UnionType(types=types):
            return st.one_of(*(of_type(one) for one in types))
        case inspect.StructType(cls=cls, fields=of_struct):
            needed = {field.name: of_type(field.type) for field in of_struct if field.required}
            free = {field.name: of_type(field.type) for field in of_struct if not field.required}
            return (
                st.fixed_dictionaries(needed, optional=free).map(lambda chosen: try_to_make(cls, chosen)).filter(bool)
            )
    raise AssertionError(f"no values for {type_}")


@functools.cache
def made_from_model(model: Any) -> st.SearchStrategy[Any]:
    return of_type(inspect.type_info(model))


def try_to_make(cls: Any, chosen: dict[str, Any]) -> Any:
    try:
        one_of = CHECK_KINDS if cls is Check else SOURCE_KINDS if issubclass(cls, FromHost) else ()
        kinds = [kind for kind in one_of if chosen.get(kind) is not None]
        chosen = chosen | dict.fromkeys(kinds[1:])
        if one_of is SOURCE_KINDS and not kinds:
            chosen = chosen | {"kv": "web/db"}  # there are several in each definition: too many would be thrown away
        return cls(**chosen)
    except ValueError:
        return None


@pytest.mark.parametrize(("name", "model"), [*DECLARED.items(), *RECORDS.items()])
@given(data=st.data())
@PROPERTIES
def test_the_model_takes_what_the_schema_takes(name: str, model: Any, data: st.DataObject) -> None:
    value = data.draw(made_from_schema(name))
    assert schema_takes(name, value), "the strategy is wrong"
    assert model_takes(model, value)


@pytest.mark.parametrize(("name", "model"), DECLARED.items())
@given(data=st.data())
@PROPERTIES
def test_the_schema_takes_what_the_model_writes(name: str, model: Any, data: st.DataObject) -> None:
    thing = data.draw(made_from_model(model))
    assert schema_takes(name, json.loads(encode(thing)))


WRONG = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        2**60,
        0.5,
        2.5,
        "",
        " ",
        "x",
        "web",
        "_",
        "a\n",
        "10s",
        "0s",
        "yes",
        [],
        [""],
        {},
        {"": ""},
    ]
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a value."""
    found = [at]
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        found += places(one, (*at, key))
    return found


def changed(value: Any, draw: Any) -> Any:
    """The value with one thing replaced, removed, added or misspelt."""
    value = copy.deepcopy(value)
    *above, last = draw(st.sampled_from([place for place in places(value) if place]))
    holder = functools.reduce(lambda one, key: one[key], above, value)
    how = draw(st.sampled_from(["replace", "remove", "misspell", "add"]))
    if how == "replace":
        holder[last] = draw(WRONG)
    elif how == "remove":
        del holder[last]
    elif isinstance(holder, list):
        holder.append(draw(WRONG))
    elif how == "misspell":
        holder[f"{last}_"] = holder.pop(last)
    else:
        field = draw(
            st.sampled_from(["http", "tcp", "script", "ttl", "port", "provide_port", "managed_by", "type", "image"])
        )
        holder[field] = draw(WRONG)
    return value


@pytest.mark.parametrize(("name", "model"), DECLARED.items())
@given(data=st.data())
@PROPERTIES
def test_schema_and_model_agree_about_a_changed_value(name: str, model: Any, data: st.DataObject) -> None:
    value = data.draw(made_from_schema(name).filter(lambda one: len(places(one)) > 1))
    for _ in range(data.draw(st.integers(1, 2))):
        if len(places(value)) > 1:
            value = changed(value, data.draw)
    assert schema_takes(name, value) == model_takes(model, value), value


# The fast path of validate: what it accepts the schema accepts, and the other way round.

BROKEN = Path(__file__).parents[1] / "broken_manifests"
ODD = st.sampled_from(
    ["1.0", "2.5", "1e3", "012", "1:30", "yes", "~", "9" * 30, "2024-01-01", ".nan", '"a\\x1cb"', '"a\\u2028"']
)
"""How values may be written in YAML that JSON does not have."""


def both_agree(content: bytes, *, is_json: bool = False) -> None:
    for document in read(content, is_json=is_json).documents:
        accepted = accept(document)
        slow = check_by_schema(document)
        assert (accepted is not None) == (slow.problems == ()), content
        if accepted is not None:
            assert accepted == slow.entries
            assert check(document).entries == slow.entries


@pytest.mark.parametrize("path", sorted(BROKEN.glob("rc*")), ids=lambda path: path.stem)
def test_the_fast_path_agrees_with_the_schema_about_a_broken_manifest(path: Path) -> None:
    both_agree(path.read_bytes(), is_json=path.suffix == ".json")


@pytest.mark.parametrize("name", ["cluster", "service", "task_definition", "host"])
@given(data=st.data())
@PROPERTIES
def test_the_fast_path_agrees_with_the_schema_about_random_manifests(name: str, data: st.DataObject) -> None:
    value = data.draw(made_from_schema(name))
    for _ in range(data.draw(st.integers(0, 2))):
        if len(places(value)) > 1:
            value = changed(value, data.draw)
    manifest: Any = {f"{name}s": [value]}
    if data.draw(st.booleans()):
        manifest = changed(manifest, data.draw)
    text = json.dumps(manifest)
    places_of_numbers = [found.span() for found in re.finditer(r"(?<=[ \[])[0-9]+(?=[,}\]])", text)]
    if places_of_numbers and data.draw(st.booleans()):
        start, end = data.draw(st.sampled_from(places_of_numbers))
        text = text[:start] + data.draw(ODD) + text[end:]
    both_agree(text.encode())
