"""``# reconciler: ignore=RC012 reason``: comments that say which problem does not count, and why. Pure; for ``load``.

A comment stands on the line of the problem, or alone on the line above. It is refused where ignoring would do harm:
an error that keeps an object from being read would make the object disappear.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.problem import Ignored, Problem, problem
from reconciler.manifests.rules import RULES

MARK: Final = "reconciler:"
_COMMENT = re.compile(rf"(?:^|(?<=[ \t]))#[ \t]*{MARK}[ \t]*(ignore\b.*)$")
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""As YAML counts lines."""
_IGNORE = re.compile(r"ignore[ \t]*=[ \t]*(?P<codes>[\w-]+(?:,[ \t]*[\w-]+)*)(?:[ \t]+(?P<reason>\S.*))?$")
_OUR_CODE = re.compile(r"RC[0-9]+\Z", re.IGNORECASE)


class Comment(msgspec.Struct, frozen=True, array_like=True):
    """What may be such a comment: its place, what it says, and the line that it is about."""

    line: int
    column: int
    says: str
    about: int


class Ignore(msgspec.Struct, frozen=True, array_like=True):
    """One rule that is ignored on one line, by the comment at ``line``."""

    line: int
    column: int
    code: str
    about: int
    reason: str


def comments(text: str) -> list[Comment]:
    """What looks like a comment of ours; the reader knows whether it stands inside of a text."""
    if MARK not in text:
        return []
    lines = _LINE_END.split(text)
    found = ((number, _COMMENT.search(line)) for number, line in enumerate(lines, 1) if MARK in line)
    return [_comment(number, match, lines) for number, match in found if match]


def _comment(line: int, found: "re.Match[str]", lines: Sequence[str]) -> Comment:
    about = line
    if not found.string[: found.start()].strip():
        about = next((number for number in range(line + 1, len(lines) + 1) if _is_content(lines[number - 1])), line)
    return Comment(line, found.start() + 1, found[1].strip(), about)


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def parse(found: Iterable[Comment]) -> tuple[tuple[Ignore, ...], tuple[Problem, ...]]:
    """The rules that comments ignore, and what is wrong with comments."""
    ignores: list[Ignore] = []
    wrong: list[Problem] = []
    for comment in found:
        match = _IGNORE.fullmatch(comment.says)
        if match is None:
            wrong.append(_bad(comment, "this comment can't be understood"))
        elif not match["reason"]:
            wrong.append(_bad(comment, "this comment does not say why", "write the reason after the code"))
        else:
            for written in match["codes"].split(","):
                code = written.strip()
                code = code.upper() if _OUR_CODE.match(code) else code
                refusal = _refusal(code)
                if refusal is None:
                    ignores.append(Ignore(comment.line, comment.column, code, comment.about, match["reason"].strip()))
                else:
                    wrong.append(_bad(comment, *refusal))
    return tuple(ignores), tuple(wrong)


def _refusal(code: str) -> tuple[str, str] | None:
    """Why a rule can't be ignored, and what to do; None: it can. Names of policies are not known here."""
    rule = RULES.get(code)
    if rule is None and _OUR_CODE.match(code):
        from reconciler.manifests.field_names import closest

        guess = closest(code, RULES)
        return f"there is no rule {code}", f"did you mean {guess}?" if guess else "see `reconciler rules`"
    if rule is not None and not rule.ignorable:
        return f"{code} ({rule.slug}) can't be ignored", rule.remedy
    return None


def _bad(comment: Comment, message: str, hint: str | None = None) -> Problem:
    return problem(rules.BAD_IGNORE, "", comment.line, comment.column, message, hint)


class Sorted(msgspec.Struct, frozen=True):
    """Problems that count and those that don't; ``unused`` are the comments, by file, that ignored nothing."""

    counted: tuple[Problem, ...]
    ignored: tuple[Ignored, ...]
    unused: tuple[tuple[str, Ignore], ...]


def sort_out(problems: Iterable[Problem], ignores: Iterable[tuple[str, Ignore]]) -> Sorted:
    """Which problems the comments (file, ignore) leave."""
    by_place: dict[tuple[str, int, str], Ignore] = {}
    given = list(ignores)
    for file, ignore in given:
        by_place.setdefault((file, ignore.about, ignore.code), ignore)
    counted: list[Problem] = []
    ignored: list[Ignored] = []
    used: set[tuple[str, int, str]] = set()
    for found in problems:
        place = (found.file, found.line, found.code)
        if place in by_place:
            used.add(place)
            ignored.append(Ignored(found, by_place[place].reason))
        else:
            counted.append(found)
    unused = [(file, each) for file, each in given if (file, each.about, each.code) not in used]
    return Sorted(tuple(counted), tuple(ignored), tuple(unused))


def unused_problems(unused: Iterable[tuple[str, Ignore]], checked: frozenset[str]) -> Iterator[Problem]:
    """The warnings about comments that ignore nothing; only of rules that were ``checked``."""
    for file, ignore in unused:
        if ignore.code in checked:
            message = f"{ignore.code} is ignored here, but line {ignore.about} has no such problem"
            yield problem(rules.UNUSED_IGNORE, file, ignore.line, ignore.column, message)
