"""What a plain (unquoted) YAML scalar means, and where YAML readers disagree about it. Called by ``yaml_reader``.

YAML 1.1 reads ``yes`` as true, ``012`` as ten and ``12:30`` as 750; YAML 1.2 reads text, twelve and text. Only what
both read alike is taken as a number; the rest becomes ``Unquoted``, which fits no field, so that whoever wrote it says
what they mean. (``yes`` stays a boolean, which is no surprise where one is wanted.)
"""

import functools
import re
from typing import Final, TypeAlias

import msgspec


class Unquoted(msgspec.Struct, frozen=True):
    """A plain scalar that readers disagree about: its text, and what some of them take it for."""

    text: str
    reading: str


Scalar: TypeAlias = str | int | float | bool | Unquoted | None

MAX_DIGITS: Final = 18
"""Longer numbers fit no field, and not the integers of most other programs either."""

TOO_LONG: Final = "a number with more digits than programs agree on"

_SPECIAL_STARTS: Final = frozenset("0123456789+-.~nNtTfFyYoO")
_NULLS: Final = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLEANS: Final = {
    spelling: value
    for words, value in ((("true", "yes", "on"), True), (("false", "no", "off"), False))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INF_OR_NAN = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_DOUBTFUL: Final = (
    (re.compile(r"[-+]?0[0-9_]+\Z"), "an octal number"),
    (re.compile(r"[-+]?0o[0-7]+\Z"), "an octal number"),
    (re.compile(r"[-+]?0b[01_]+\Z"), "a binary number"),
    (re.compile(r"[-+]?0x[0-9a-fA-F_]+\Z"), "a hexadecimal number"),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?\Z"), "a number in base 60"),
    (re.compile(r"[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?\Z"), "a number"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t]+[0-9]{1,2}:.*)?\Z"), "a date"),
)


def resolve(text: str) -> Scalar:
    """The value of the plain scalar ``text``."""
    if text and text[0] not in _SPECIAL_STARTS:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    return _number(text)


@functools.lru_cache(maxsize=4096)
def _number(text: str) -> Scalar:
    if _INTEGER.match(text):
        if len(text) > MAX_DIGITS:
            return Unquoted(text, TOO_LONG)
        return int(text, 0)
    if _INF_OR_NAN.match(text):
        return float(text.replace(".", "").lower())
    for pattern, reading in _DOUBTFUL[:-2]:
        if pattern.match(text):
            return Unquoted(text, reading)
    if _FLOAT.match(text):
        return float(text) if len(text) <= MAX_DIGITS else Unquoted(text, "a number")
    for pattern, reading in _DOUBTFUL[-2:]:
        if pattern.match(text):
            return Unquoted(text, reading)
    return text
