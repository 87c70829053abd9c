"""Files in, checked objects and problems out: the one way in which manifests are read.

Called by ``validate``, ``sync`` (git objects and folders alike), ``apply -f`` and ``dev``. Nothing here reads a file or
the clock: whoever calls has the bytes.
"""

import enum
import hashlib
import re
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import msgspec

from reconciler.errors import InvalidManifests
from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.object_rules import object_problems
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.references import reference_problems
from reconciler.manifests.rules import Severity
from reconciler.manifests.schema import check, check_settings
from reconciler.manifests.settings import ignored_names, is_settings_path
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

    ``text`` is the content of a file that could not be read to its end, else empty; ``ignore`` what settings say.
    """

    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()
    text: bytes = b""
    ignore: tuple[str, ...] = ()


class _Kind(enum.Enum):
    """How a file is to be read."""

    YAML = enum.auto()
    JSON = enum.auto()
    SETTINGS = enum.auto()


class ParseCache:
    """Remembers what files came to by their content, so that an unchanged file is not parsed and checked again.

    Give the same one to each ``load`` of a source. Only what the last two loads used is kept. Not for several threads
    at once.
    """

    def __init__(self) -> None:
        self._used: deque[dict[tuple[bytes, _Kind], _Parsed]] = deque(maxlen=3)
        """By the load that goes on, last, and the two before it."""
        self.parsed_files = 0
        """How many files had to be parsed so far."""

    def begin(self) -> None:
        """A load begins."""
        self._used.append({})

    def parse(self, name: str, content: bytes) -> _Parsed:
        """What ``content`` comes to, in a file of this name."""
        kind = _kind_of(name)
        key = (hashlib.sha256(content).digest(), kind)
        parsed = next((used[key] for used in self._used if key in used), None)
        if parsed is None:
            parsed = _parse_settings(content) if kind is _Kind.SETTINGS else _parse(content, kind)
            self.parsed_files += 1
        self._used[-1][key] = parsed
        return parsed


def load(
    files: Iterable[tuple[str, bytes]], *, cache: ParseCache | None = None, known: Sequence[ConfigObject] = ()
) -> Loaded:
    """Read, check and cross-check ``files``: (name as shown to people, content).

    References are checked over everything given; ``known`` objects, which are declared elsewhere (what a store has
    already, for ``apply -f``), may be referred to and are not checked. Every problem is found in the one pass. A
    ``reconciler.yaml`` among the files says which of those beside and below it are left out.

    Raises:
        UsageError: the installation lacks libyaml or the schemas.
    """
    cache = cache or ParseCache()
    cache.begin()
    given = sorted(files)
    problems: list[Problem] = []
    ignored: set[str] = set()
    for name, content in given:
        if is_settings_path(name):
            settings = cache.parse(name, content)
            problems += _named(settings.problems, name)
            folder = str(PurePosixPath(name).parent)
            ignored.update([name, *ignored_names((other for other, _ in given), folder, settings.ignore)])
    wanted = [(name, content) for name, content in given if name not in ignored]
    entries: list[Entry] = []
    unread_words: set[bytes] = set()
    for name, content in wanted:
        parsed = cache.parse(name, content)
        entries += [msgspec.structs.replace(entry, file=name) for entry in parsed.entries]
        problems += _named(parsed.problems, name)
        unread_words.update(_WORD.findall(parsed.text))
    problems += reference_problems(entries, known, lambda name: name.encode() in unread_words)
    return Loaded(
        objects=tuple(_declared(entry, entry.object) for entry in entries if entry.object is not None),
        problems=tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.sort_key)),
        files=len(wanted),
    )


def _kind_of(name: str) -> _Kind:
    if is_settings_path(name):
        return _Kind.SETTINGS
    return _Kind.JSON if name.lower().endswith(".json") else _Kind.YAML


def _parse(content: bytes, kind: _Kind) -> _Parsed:
    """Read and check one manifest by itself."""
    result = read(content, is_json=kind is _Kind.JSON)
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


def _parse_settings(content: bytes) -> _Parsed:
    """Read and check a ``reconciler.yaml``."""
    result = read(content)
    problems = [found for found in result.problems if found.code != rules.NOTHING_DECLARED.code]
    ignore: list[str] = []
    for document in result.documents:
        settings, wrong = check_settings(document)
        ignore += settings.ignore
        problems += wrong
    return _Parsed(problems=tuple(problems), ignore=tuple(ignore))


def _named(problems: Iterable[Problem], name: str) -> list[Problem]:
    return [msgspec.structs.replace(problem, file=name) for problem in problems]


def _declared(entry: Entry, thing: ConfigObject) -> Declared:
    return Declared(thing, Origin(entry.file, entry.node.line, entry.node.column))
