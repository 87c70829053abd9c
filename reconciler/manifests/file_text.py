"""From a file's bytes to text that may be parsed: the limits on size, encoding and characters, and strict JSON.

Called by ``yaml_reader`` before it looks at any structure.
"""

import json
import re
from typing import NoReturn

from reconciler.manifests import rules
from reconciler.manifests.find import MAX_FILE_BYTES
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.rules import Rule

_BAD_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
"""What is not to be in YAML; of surrogates there are none in UTF-8."""
_TAG_DIRECTIVE = re.compile(r"^%TAG\b", re.MULTILINE)
_SURROGATE_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class Unreadable(Exception):
    """The file, or the rest of it, cannot be read; ``problem`` says why."""

    def __init__(self, found: Problem) -> None:
        super().__init__(str(found))
        self.problem = found


def text_of(content: bytes, *, is_json: bool) -> str:
    """The text in ``content``, as libyaml can read it.

    Raises:
        Unreadable: it is too large, empty, not UTF-8, holds control characters, or is not JSON but should be.
    """
    text = _decode(content)
    if is_json:
        _check_json(text)
        text = _SURROGATE_PAIR.sub(_one_character, text)
    # libyaml takes quadratic time over these, and tags are refused anyway.
    directive = _TAG_DIRECTIVE.search(text)
    if directive:
        _refuse(rules.TAG, *_place(text, directive.start()), "%TAG declares tags, and manifests hold plain values only")
    return text


def _decode(content: bytes) -> str:
    if len(content) > MAX_FILE_BYTES:
        limit = f"{MAX_FILE_BYTES // 1024 // 1024} MiB"
        _refuse(rules.FILE_TOO_LARGE, 1, 1, f"the file is larger than {limit}, the most that is read")
    if not content.strip():
        _refuse(rules.EMPTY_FILE, 1, 1, "the file is empty")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        _refuse(rules.NOT_UTF8, 1, 1, "the file is in UTF-16")
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        byte = content[error.start]
        _refuse(rules.NOT_UTF8, *_place(before, len(before)), f"the byte 0x{byte:02x} is not UTF-8")
    bad = _BAD_CHARACTER.search(text)
    if bad:
        name = "NUL" if bad[0] == "\0" else f"U+{ord(bad[0]):04X}"
        message = f"the control character {name} may not stand in a manifest"
        _refuse(rules.CONTROL_CHARACTER, *_place(text, bad.start()), message)
    return text


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        _refuse(rules.NOT_JSON, error.lineno, error.colno, f"this is not JSON: {error.msg}")
    except (RecursionError, ValueError):
        pass  # too deep, or a number with thousands of digits: the reader finds the place


def _refuse(rule: Rule, line: int, column: int, message: str) -> NoReturn:
    raise Unreadable(problem(rule, "", line, column, message))


def _place(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of an offset."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _one_character(pair: "re.Match[str]") -> str:
    """A pair of surrogate escapes as the one escape that YAML knows for it."""
    high, low = int(pair[2], 16), int(pair[3], 16)
    return f"{pair[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"
