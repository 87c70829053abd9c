"""Values of a wrong type, and those that YAML takes for something else than meant. Pure; called by ``schema_words``."""

from typing import Final

from reconciler.manifests import rules
from reconciler.manifests.entries import SINGULAR
from reconciler.manifests.nodes import Node, describe
from reconciler.manifests.places import Where, found, short
from reconciler.manifests.problem import Problem
from reconciler.manifests.scalars import TOO_LONG, Unquoted

_TYPES: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of fields",
    "null": "null",
}

_WORDS: Final = ("cmd", "flags")
"""Lists whose items are the words of a command line."""


def wrong_type(limit: str | list[str], at: Where) -> Problem:
    """The problem with a value that is of none of the types in ``limit``."""
    node = at.node
    wanted = [limit] if isinstance(limit, str) else limit
    if "string" in wanted and node.text and node.value is not None:
        shown = short(node.text)[1:-1]
        message = f"{at.what} must be text, but without quotes {shown} is read as {describe(node.value)}"
        hint = f'put it in quotes: "{shown}"'
        if node.key_file:  # it is the value of a parameter, whose declaration would refuse a text
            hint = f"declare the parameter as type: string, and {hint}"
        return at.problem(rules.NEEDS_QUOTES, message, hint)
    if "integer" in wanted and isinstance(node.value, Unquoted):
        return _doubtful_number(node.value, at)
    words = " or ".join(_TYPES[name] for name in wanted)
    return at.problem(rules.WRONG_TYPE, f"{at.what} must be {words}, found {found(node)}", _hint(wanted, at))


def _doubtful_number(value: Unquoted, at: Where) -> Problem:
    shown = short(value.text)[1:-1]
    if value.reading == TOO_LONG:
        return at.problem(rules.OUT_OF_RANGE, f"{at.what} is {shown}, which is too large")
    if "number" not in value.reading:
        return at.problem(rules.WRONG_TYPE, f"{at.what} must be a whole number, found {value.reading}")
    message = f"{at.what} is {shown}, which some readers take for {value.reading} and others do not"
    return at.problem(rules.AMBIGUOUS_NUMBER, message, _plain_number(value.text))


def _plain_number(text: str) -> str | None:
    """What may have been meant: the octal or the decimal reading."""
    sign = "-" if text.startswith("-") else ""
    digits = text.lstrip("+-").replace("_", "")
    if not digits.isdigit():
        return None
    decimal = str(int(digits))
    octal = str(int(digits, 8)) if digits.startswith("0") and not set(digits) & {"8", "9"} else decimal
    return f"write {sign}{decimal}" if decimal == octal else f"write {sign}{octal} or {sign}{decimal}"


def _hint(wanted: list[str], at: Where) -> str | None:
    """What to write instead; None: nothing better than the rule's own remedy."""
    value = at.node.value
    if value is None:
        return f"write {_TYPES[wanted[0]]}, or remove the line"
    if "array" in wanted:
        return _list_hint(at)
    if "object" in wanted and at.field in SINGULAR and isinstance(value, str):
        return f"write name: {value}"
    if "integer" in wanted and isinstance(value, str):
        return _number_hint(value, at)
    if "boolean" in wanted and not isinstance(value, dict | list):
        return "write true or false, without quotes"
    if "string" in wanted and isinstance(value, dict):
        return "put a text that holds ': ' in quotes" if at.field != "env" else 'write "NAME=value"'
    return None


def _list_hint(at: Where) -> str | None:
    node: Node = at.node
    if isinstance(node.value, dict):
        return 'write a list of "NAME=value"' if at.field == "env" else "begin each item of the list with '- '"
    text = node.text or str(node.value)
    if "\n" in text:
        return "begin each item of the list with '- '"
    return f"write a list: [{', '.join(text.split()) if at.field in _WORDS else text}]"


def _number_hint(value: str, at: Where) -> str | None:
    if value.isdigit():
        return f"write it without quotes: {value}"
    if at.field.endswith("memory"):
        return "write the number of MiB, such as 512"
    return None
