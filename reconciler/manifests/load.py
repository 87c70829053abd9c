"""Files in, checked objects and problems out: the one way in which manifests are read.

Called by ``validate``, ``sync`` (git objects and folders alike), ``apply -f`` and ``dev``. Nothing here reads a file or
the clock: whoever calls has the bytes.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence

import msgspec

from reconciler.errors import InvalidManifests
from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.object_rules import object_problems
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.references import reference_problems
from reconciler.manifests.rules import Severity
from reconciler.manifests.schema import check
from reconciler.manifests.yaml_reader import read
from reconciler.model.manifests import ConfigObject

_WORD = re.compile(rb"[A-Za-z0-9._-]+")


class Origin(msgspec.Struct, frozen=True):
    """Where something is written; ``line`` and ``column`` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Declared(msgspec.Struct, frozen=True):
    """An object that a manifest declares, and where. Its ``managed_by`` is None: that is for sync to say."""

    object: ConfigObject
    origin: Origin


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """All that the files declare and all that is wrong with them.

    With an error among the ``problems`` the ``objects`` are only those that could be read: never apply them.
    """

    objects: tuple[Declared, ...]
    problems: tuple[Problem, ...]
    files: int

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that make the manifests invalid."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that don't."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.WARNING)

    @property
    def valid(self) -> bool:
        """Whether the objects may be applied."""
        return not self.errors

    def raise_if_invalid(self) -> None:
        """Raise InvalidManifests, which says all of the errors, if there is one."""
        errors = self.errors
        if errors:
            count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
            raise InvalidManifests("\n".join([f"the manifests are invalid ({count}):", *map(str, errors)]))


class _Parsed(msgspec.Struct, frozen=True):
    """What the content of a file came to, whatever the file is called.

    ``text`` is the content of a file that could not be read to its end, else empty.
    """

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    text: bytes


class ParseCache:
    """Remembers what files came to by their content, so that an unchanged file is not parsed and checked again.

    Give the same one to each ``load`` of a source. Only what the last two loads used is kept. Not for several threads
    at once.
    """

    def __init__(self) -> None:
        self._current: dict[tuple[bytes, bool], _Parsed] = {}
        self._previous: dict[tuple[bytes, bool], _Parsed] = {}
        self.parsed_files = 0
        """How many files had to be parsed so far."""

    def begin(self) -> None:
        """A load begins: what neither it nor the one before it uses is forgotten."""
        self._previous, self._current = self._current, {}

    def parse(self, content: bytes, *, is_json: bool) -> _Parsed:
        """What ``content`` comes to."""
        key = (hashlib.sha256(content).digest(), is_json)
        parsed = self._current.get(key) or self._previous.get(key)
        if parsed is None:
            parsed = _parse(content, is_json=is_json)
            self.parsed_files += 1
        self._current[key] = parsed
        return parsed


def load(
    files: Iterable[tuple[str, bytes]], *, cache: ParseCache | None = None, known: Sequence[ConfigObject] = ()
) -> Loaded:
    """Read, check and cross-check ``files``: (name as shown to people, content).

    References are checked over everything given; ``known`` objects, which are declared elsewhere (what a store has
    already, for ``apply -f``), may be referred to and are not checked. Every problem is found in the one pass.

    Raises:
        UsageError: the installation lacks libyaml or the schemas.
    """
    cache = cache or ParseCache()
    cache.begin()
    entries: list[Entry] = []
    problems: list[Problem] = []
    unread: list[bytes] = []
    count = 0
    for name, content in sorted(files):
        parsed = cache.parse(content, is_json=name.lower().endswith(".json"))
        entries += [msgspec.structs.replace(entry, file=name) for entry in parsed.entries]
        problems += [msgspec.structs.replace(problem, file=name) for problem in parsed.problems]
        if parsed.text:
            unread.append(parsed.text)
        count += 1
    unread_words = frozenset(word for text in unread for word in _WORD.findall(text))
    problems += reference_problems(entries, known, lambda name: name.encode() in unread_words)
    return Loaded(
        objects=tuple(_declared(entry, entry.object) for entry in entries if entry.object is not None),
        problems=tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.sort_key)),
        files=count,
    )


def _parse(content: bytes, *, is_json: bool) -> _Parsed:
    """Read and check one file by itself."""
    result = read(content, is_json=is_json)
    entries: list[Entry] = []
    problems = list(result.problems)
    for document in result.documents:
        checked = check(document)
        entries += checked.entries
        problems += checked.problems
    for entry in entries:
        problems += object_problems(entry)
    if not entries and not problems:
        problems.append(problem(rules.NOTHING_DECLARED, "", 1, 1, "this file declares nothing"))
    return _Parsed(tuple(entries), tuple(problems), b"" if result.complete else content)


def _declared(entry: Entry, thing: ConfigObject) -> Declared:
    return Declared(thing, Origin(entry.file, entry.node.line, entry.node.column))
