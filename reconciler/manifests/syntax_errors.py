"""libyaml's words for broken syntax, in words that say what to do. Called by ``yaml_reader``; knows errors by shape."""

from typing import Any, Final

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.rules import Rule


class Explained(msgspec.Struct, frozen=True):
    """A syntax error as we report it; the place may be another than where libyaml noticed it."""

    rule: Rule
    line: int
    column: int
    message: str
    hint: str


# (part of libyaml's problem, our message, what to do)
_WORDS: Final = (
    (
        "mapping values are not allowed",
        "a ': ' stands where no field can begin",
        "look at the indentation here and above, or put a text that holds ': ' in quotes",
    ),
    ("block sequence entries are not allowed", "a '- ' stands where no list can begin", "begin the list on a new line"),
    ("did not find expected key", "this fits no field before it", "look at the indentation here and above"),
    (
        "did not find expected '-'",
        "this does not line up with the list before it",
        "indent it like the items of the list, or begin it with '- '",
    ),
    (
        "could not find expected ':'",
        "a field without ':'",
        "write 'name: value', or look at the indentation of the text above",
    ),
    ("did not find expected ',' or ']'", "the list in brackets [ ] goes wrong here", "add the missing ',' or ']'"),
    ("did not find expected ',' or '}'", "the mapping in braces { } goes wrong here", "add the missing ',' or '}'"),
    ("did not find expected node content", "a value is missing here", "write a value, or quote a text such as ] or }"),
    (
        "unknown escape character",
        "no such escape in a text in double quotes",
        "write '\\\\' for a backslash, or use single quotes",
    ),
    (
        "expected <document start>",
        "more text after the document's end",
        "begin another document with '---', or look at the indentation",
    ),
    (
        "invalid Unicode character",
        "this escape is no character",
        "write the character itself",
    ),
)


def explain(error: Any, text: str) -> Explained:
    """What to say of a ``yaml.MarkedYAMLError``."""
    problem = str(error.problem or "this is not YAML")
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    context = error.context_mark
    lines = text.split("\n")
    tab = _tab_at(lines, line, column, problem)
    if tab is not None:
        return Explained(rules.TAB, line + 1, tab + 1, "a tab stands where YAML needs spaces", rules.TAB.remedy)
    if "unexpected end of stream" in problem and context is not None:
        quote = _character(lines, context.line, context.column)
        return _syntax(context.line, context.column, f"the text that begins here with {quote} has no end", "close it")
    if "cannot start any token" in problem:
        found = _character(lines, line, column)
        return _syntax(line, column, f"a value can't begin with {found}", "put the text in quotes")
    for part, message, hint in _WORDS:
        if part in problem:
            if context is not None and context.line != line:
                message += f" (it began in line {context.line + 1})"
            return _syntax(line, column, message, hint)
    return _syntax(line, column, f"this is not YAML: {problem}", rules.BAD_SYNTAX.remedy)


def _syntax(line: int, column: int, message: str, hint: str) -> Explained:
    return Explained(rules.BAD_SYNTAX, line + 1, column + 1, message, hint)


def _character(lines: list[str], line: int, column: int) -> str:
    return repr(lines[line][column]) if line < len(lines) and column < len(lines[line]) else "this"


def _tab_at(lines: list[str], line: int, column: int, problem: str) -> int | None:
    """The column of the tab that is to blame, if one is."""
    if line >= len(lines):
        return None
    row = lines[line]
    if row[column : column + 1] == "\t" or "tab character" in problem:
        return column
    indentation = row[: len(row) - len(row.lstrip())]
    return indentation.index("\t") if "\t" in indentation else None
