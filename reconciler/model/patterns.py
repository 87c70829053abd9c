"""Regular expressions of constraints, in a dialect that is matched in linear time whatever people write.

A pattern that makes Python's ``re`` backtrack for hours would stop a scheduler, so the states that a text can be in are
followed all at once instead. ``manifests.object_rules`` refuses what is not of this dialect, ``scheduler.constraints``
matches with it. The whole text has to match.

    abc   .   [a-z_]   [^0-9]   \\d \\w \\s \\D \\W \\S   \\.   (a|b)   *   +   ?   {2}   {2,}   {2,5}
"""

import functools
import re
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

MOST_STATES: Final = 1000
"""How large a pattern may be once ``{2,5}`` is written out."""
MOST_REPEATS: Final = 100
MOST_DEPTH: Final = 30

_CLASSES: Final[dict[str, Callable[[str], bool]]] = {
    "d": lambda char: "0" <= char <= "9",
    "w": lambda char: char == "_" or (char.isascii() and char.isalnum()),
    "s": lambda char: char in " \t\n\r\f\v",
}
_REPEATS: Final[dict[str, tuple[int, int | None]]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_SPECIAL: Final = frozenset("\\.[](){}*+?|^$")

_Chars: TypeAlias = Callable[[str], bool]
_Part: TypeAlias = Callable[["Pattern", int], int]
"""Adds the states of a part of the pattern, which goes on with a given state; returns where the part begins."""


class BadPattern(ValueError):
    """Not a pattern of the dialect; the text says why."""


class Pattern:
    """A pattern that was read: the states of its automaton, each with what leads on from it."""

    def __init__(self, text: str) -> None:
        """Raises:
        BadPattern: it is not of the dialect.
        """
        self._chars: list[_Chars | None] = []
        self._next: list[tuple[int, ...]] = []
        self._end = self.state(None, ())
        self._start = _Reader(text).read()(self, self._end)

    def matches(self, text: str) -> bool:
        """Whether the whole text is of the pattern."""
        states = self._closure([self._start])
        for char in text:
            if not states:
                return False
            states = self._closure(
                follower
                for state in states
                if (accepts := self._chars[state]) is not None and accepts(char)
                for follower in self._next[state]
            )
        return self._end in states

    def _closure(self, states: Iterable[int]) -> set[int]:
        """The states reached without reading anything more."""
        found: set[int] = set()
        left = list(states)
        while left:
            state = left.pop()
            if state not in found:
                found.add(state)
                if self._chars[state] is None:
                    left.extend(self._next[state])
        return found

    def state(self, chars: _Chars | None, following: tuple[int, ...]) -> int:
        """A new state, for ``_Reader``: what it reads (None: nothing), and where that leads."""
        if len(self._chars) >= MOST_STATES:
            raise BadPattern("it is too large once its repetitions are written out")
        self._chars.append(chars)
        self._next.append(following)
        return len(self._chars) - 1

    def lead(self, state: int, following: tuple[int, ...]) -> None:
        """Where a state leads after all, which closes a loop."""
        self._next[state] = following


@functools.lru_cache(maxsize=4096)
def pattern(text: str) -> Pattern | None:
    """The pattern, read once; None: it is none."""
    try:
        return Pattern(text)
    except BadPattern:
        return None


class _Reader:
    """Reads a pattern into a tree, left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def read(self) -> _Part:
        tree = self._either()
        if self._at < len(self._text):
            raise BadPattern(f"{self._text[self._at]!r} at {self._at + 1} closes nothing")
        return tree

    def _either(self) -> _Part:
        parts = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence())
        return _either(parts) if len(parts) > 1 else parts[0]

    def _sequence(self) -> _Part:
        parts: list[_Part] = []
        while (char := self._peek()) not in ("", "|", ")"):
            part = self._one(char)
            parts.append(self._repeated(part))
        return _sequence(parts)

    def _repeated(self, part: _Part) -> _Part:
        char = self._peek()
        if char in ("*", "+", "?"):
            self._at += 1
            bounds = _REPEATS[char]
        elif char == "{":
            bounds = self._braces()
        else:
            return part
        if self._peek() in ("*", "+", "?", "{"):
            raise BadPattern(f"{self._peek()!r} at {self._at + 1} repeats a repetition")
        return _repeat(part, *bounds)

    def _braces(self) -> tuple[int, int | None]:
        found = re.compile(r"\{([0-9]{1,3})(,([0-9]{1,3})?)?\}").match(self._text, self._at)
        if found is None:
            raise BadPattern(f"'{{' at {self._at + 1} begins no {{2}}, {{2,}} or {{2,5}}: write \\{{ for a brace")
        self._at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise BadPattern(f"{found[0]} repeats more than {MOST_REPEATS} times, or less at most than at least")
        return least, most

    def _one(self, char: str) -> _Part:
        start = self._at + 1
        self._at += 1
        match char:
            case "(":
                if self._peek() == "?":
                    raise BadPattern(f"'(?' at {start} is not supported, only plain (…)")
                self._depth += 1
                if self._depth > MOST_DEPTH:
                    raise BadPattern(f"it is nested deeper than {MOST_DEPTH}")
                tree = self._either()
                self._depth -= 1
                if self._peek() != ")":
                    raise BadPattern(f"'(' at {start} is not closed")
                self._at += 1
                return tree
            case ".":
                return _char(lambda char: char != "\n")
            case "[":
                return _char(self._set(start))
            case "\\":
                return _char(self._escape())
            case "^" | "$":
                raise BadPattern(f"{char!r} at {start} is not needed: the whole value has to match")
            case _ if char in _SPECIAL and char not in "]}":
                raise BadPattern(f"{char!r} at {start} has nothing to repeat: write \\{char} for the character itself")
            case _:
                return _char(_is(char))

    def _escape(self) -> _Chars:
        char = self._peek()
        self._at += 1
        if char.lower() in _CLASSES and char:
            accepts = _CLASSES[char.lower()]
            return accepts if char.islower() else lambda each: not accepts(each)
        if not char or (char.isascii() and char.isalnum()):
            raise BadPattern(f"'\\{char}' at {self._at - 1} is not supported")
        return _is(char)

    def _set(self, start: int) -> _Chars:
        negated = self._peek() == "^"
        self._at += negated
        parts: list[_Chars] = []
        while (char := self._peek()) != "]":
            if not char or char == "[":
                raise BadPattern(f"'[' at {start} is not closed" if not char else "'[' in a set has to be written \\[")
            self._at += 1
            if char == "\\":
                is_class = self._peek().lower() in _CLASSES
                accepts = self._escape()
                char = "" if is_class else self._text[self._at - 1]
                if is_class:
                    parts.append(accepts)
            if char and self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("", "]"):
                last = self._text[self._at + 1]
                if last in "\\[" or last < char:
                    raise BadPattern(f"the range {char}-{last} is none")
                self._at += 2
                parts.append(_between(char, last))
            elif char:
                parts.append(_is(char))
        self._at += 1
        if not parts:
            raise BadPattern(f"'[' at {start} holds nothing")
        return lambda each: any(part(each) for part in parts) != negated

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]


def _is(wanted: str) -> _Chars:
    return lambda char: char == wanted


def _between(first: str, last: str) -> _Chars:
    return lambda char: first <= char <= last


def _char(chars: _Chars) -> _Part:
    return lambda pattern, after: pattern.state(chars, (after,))


def _sequence(parts: list[_Part]) -> _Part:
    def add(pattern: Pattern, after: int) -> int:
        for part in reversed(parts):
            after = part(pattern, after)
        return after

    return add


def _either(parts: list[_Part]) -> _Part:
    return lambda pattern, after: pattern.state(None, tuple(part(pattern, after) for part in parts))


def _repeat(part: _Part, least: int, most: int | None) -> _Part:
    def add(pattern: Pattern, after: int) -> int:
        if most is None:
            loop = pattern.state(None, ())
            pattern.lead(loop, (part(pattern, loop), after))
            after = loop
        else:
            end = after
            for _ in range(most - least):
                after = pattern.state(None, (part(pattern, after), end))
        for _ in range(least):
            after = part(pattern, after)
        return after

    return add
