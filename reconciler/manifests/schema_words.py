"""What a schema validator found, in people's words and at the place that is to blame. Pure; called by ``schema``.

A validator speaks of schemas; a person wants to know which field of which object is wrong, what is there, and what to
write instead.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.field_names import closest, missing_fields, unknown_fields
from reconciler.manifests.nodes import Node
from reconciler.manifests.places import Path, Where, either, short, where
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.type_words import wrong_type
from reconciler.model.manifests import CHECK_KINDS


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A validator's finding: ``keyword`` of ``schema`` (whose value is ``limit``) refused ``instance`` at ``path``."""

    path: Path
    keyword: str
    limit: Any
    instance: Any
    schema: dict[str, Any]


def explain(faults: Sequence[Fault], document: Node, schemas: Mapping[str, Any]) -> list[Problem]:
    """The problems behind ``faults``; those that only follow from another are left out."""
    faulty = {fault.path for fault in faults}
    problems: list[Problem] = []
    meant: set[tuple[Path, str]] = set()
    for fault in faults:
        if fault.keyword == "additionalProperties":
            known = [name for name in fault.schema["properties"] if name not in {"managed_by", "$schema"}]
            at = where(fault.path, document)
            for made, guess in unknown_fields(fault.instance, known, at, schemas):
                problems.append(made)
                if guess:
                    meant.add((fault.path, guess))
    for fault in faults:
        at = where(fault.path, document)
        if fault.keyword == "required":
            problems += missing_fields(fault.limit, fault.path, at, meant, _examples(fault.schema))
        elif fault.keyword != "additionalProperties" and not _follows(fault, faulty, meant):
            problems.append(_EXPLAINERS.get(fault.keyword, _other)(fault, at))
    return list(dict.fromkeys(problems))


def _examples(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An example for each field that is short enough to show."""
    fields = {name: field.get("examples", [None])[0] for name, field in schema.get("properties", {}).items()}
    return {name: example for name, example in fields.items() if isinstance(example, str | int)}


def _follows(fault: Fault, faulty: set[Path], meant: set[tuple[Path, str]]) -> bool:
    """Whether a check has no kind only because its kind is misspelt or of a wrong type; and the like."""
    if fault.keyword == "not" and fault.path[-1] != "managed_by" and not isinstance(fault.instance, dict):
        return True  # that it is no object is said already
    if fault.keyword != "oneOf" or not isinstance(fault.instance, dict):
        return fault.keyword == "oneOf"
    return any((*fault.path, kind) in faulty or (fault.path, kind) in meant for kind in _kinds(fault))


# One function for each keyword that our schemas use.


def _bad_choice(fault: Fault, at: Where) -> Problem:
    choices = [str(choice) for choice in fault.limit]
    guess = closest(str(fault.instance), choices)
    hint = f"did you mean {guess}?" if guess else f"write {either(choices)}"
    return at.problem(
        rules.NOT_A_CHOICE, f"{at.what} is {short(str(fault.instance))}, but must be {either(choices)}", hint
    )


def _out_of_range(fault: Fault, at: Where) -> Problem:
    allowed = f"from {fault.schema.get('minimum')} to {fault.schema.get('maximum')}"
    message = f"{at.what} is {fault.instance}, but must be {allowed}"
    return at.problem(rules.OUT_OF_RANGE, message, f"write a number {allowed}")


def _bad_format(fault: Fault, at: Where) -> Problem:
    form = fault.schema.get("patternErrorMessage", "of another form")
    shown = short(str(fault.instance))
    if isinstance(at.node.value, dict):
        return at.problem_at_key(
            fault.instance, rules.BAD_FORMAT, f"{shown} in {at.what} is not a name of the form needed", f"write {form}"
        )
    return at.problem(rules.BAD_FORMAT, f"{at.what} is {shown}, which is not of the form needed", f"write {form}")


def _too_few(fault: Fault, at: Where) -> Problem:
    if isinstance(fault.instance, list) and fault.limit > 1:
        return _wrong_length(fault, at)
    if fault.instance == "" and isinstance(at.node.value, dict):
        return at.problem_at_key("", rules.TOO_FEW, f"a name in {at.what} is empty", "write a name")
    hint = None if isinstance(fault.instance, list) else "write a text, or remove it"
    return at.problem(rules.TOO_FEW, f"{at.what} is empty", hint)


def _wrong_length(fault: Fault, at: Where) -> Problem:
    if isinstance(fault.instance, str):
        message = f"{at.what} is {len(fault.instance)} characters long, but may have at most {fault.limit}"
        return at.problem(rules.OUT_OF_RANGE, message, "make it shorter")
    message = f"{at.what} must have {fault.limit} entries, found {len(fault.instance)}"
    return at.problem(rules.OUT_OF_RANGE, message, f"write {fault.limit} entries")


def _kinds(fault: Fault) -> list[str]:
    """The fields of which there has to be exactly one."""
    return [str(one["required"][0]) for one in fault.schema["oneOf"]]


def _one_kind(fault: Fault, at: Where) -> Problem:
    kinds = _kinds(fault)
    is_check = kinds == list(CHECK_KINDS)
    rule = rules.CHECK_KIND if is_check else rules.SECRET_SOURCE
    given = [kind for kind in kinds if fault.instance.get(kind) is not None]
    if not given:
        return at.problem_of_lack(kinds, rule, f"{at.what} has none of {', '.join(kinds[:-1])} and {kinds[-1]}")
    second = sorted(given, key=lambda kind: at.node.keys[kind])[1]
    if not is_check:
        return at.problem_at_key(second, rule, f"{at.what} has {' and '.join(given)}, but a value has one place")
    message = f"{at.what} has {' and '.join(given)}, but a check is of one kind"
    return at.problem_at_key(second, rule, message, "keep one of them, and make checks of their own of the rest")


def _forbidden(fault: Fault, at: Where) -> Problem:
    """Our schemas forbid two things: managed_by in a manifest, and two ports."""
    if fault.path[-1] == "managed_by":
        line, column = at.key or (at.node.line, at.node.column)
        message = f"{at.what} is written by sync, which notes there whose an object is, and never by a manifest"
        return problem(rules.MANAGED_BY_IN_MANIFEST, at.node.file, line, column, message)
    message = f"{at.what} fixes port {fault.instance.get('port')} and asks for a provided one as well"
    return at.problem_at_key("port", rules.TWO_PORTS, message, "remove port, or set provide_port: false")


def _other(fault: Fault, at: Where) -> Problem:
    message = f"{at.what} is not as the schema says ({fault.keyword})"
    return at.problem(rules.REFUSED_BY_MODEL, message)


_EXPLAINERS: Final[dict[str, Callable[[Fault, Where], Problem]]] = {
    "type": lambda fault, at: wrong_type(fault.limit, at),
    "enum": _bad_choice,
    "minimum": _out_of_range,
    "maximum": _out_of_range,
    "pattern": _bad_format,
    "minLength": _too_few,
    "minItems": _too_few,
    "maxLength": _wrong_length,
    "maxItems": _wrong_length,
    "oneOf": _one_kind,
    "not": _forbidden,
}
