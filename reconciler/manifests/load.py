"""Files in, checked objects and problems out: the one way in which manifests are read.

Called by ``validate``, ``sync`` (git objects and folders alike), ``apply -f`` and ``dev``. Nothing here reads a file or
the clock: whoever calls has the bytes.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import msgspec

from reconciler.errors import InvalidManifests
from reconciler.manifests.cache import ParseCache
from reconciler.manifests.checks import Checks
from reconciler.manifests.entries import Entry
from reconciler.manifests.ignores import Ignore, Ignored, sort_out, unused_problems
from reconciler.manifests.problem import Problem
from reconciler.manifests.references import reference_problems
from reconciler.manifests.rules import Severity
from reconciler.manifests.settings import ignored_names, is_settings_path
from reconciler.model.manifests import ConfigObject

__all__ = ["Declared", "Loaded", "Origin", "ParseCache", "load"]

_WORD = re.compile(rb"[A-Za-z0-9._-]+")


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where something is written; ``line`` and ``column`` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Declared(msgspec.Struct, frozen=True, gc=False):
    """An object that a manifest declares, and where. Its ``managed_by`` is None: that is for sync to say."""

    object: ConfigObject
    origin: Origin


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """All that the files declare and all that is wrong with them.

    With an error among the ``problems`` the ``objects`` are only those that could be read: never apply them.
    ``names`` are those of the files, ``ignored`` the problems that a comment says not to count, with its reason.
    """

    objects: tuple[Declared, ...]
    problems: tuple[Problem, ...]
    files: int
    names: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = ()

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
    checks = cache.checks
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
    ignores: list[tuple[str, Ignore]] = []
    unread_words: set[bytes] = set()
    for name, content in wanted:
        parsed = cache.parse(name, content)
        entries += [msgspec.structs.replace(entry, file=name) for entry in parsed.entries]
        problems += _named(parsed.problems, name)
        ignores += [(name, ignore) for ignore in parsed.ignores]
        unread_words.update(_WORD.findall(parsed.text))
    problems += reference_problems(entries, known, lambda name: name.encode() in unread_words)
    return _loaded(entries, problems, ignores, checks, [name for name, _ in wanted])


def _loaded(
    entries: Sequence[Entry],
    problems: Iterable[Problem],
    ignores: Iterable[tuple[str, Ignore]],
    checks: Checks,
    names: Sequence[str],
) -> Loaded:
    """The result, in the order in which a person goes through files."""
    result = sort_out(sorted(dict.fromkeys(problems), key=lambda problem: problem.sort_key), ignores)
    counted = list(result.counted)
    if all(problem.severity is not Severity.ERROR for problem in counted):
        # what is broken is not checked any further, so only now is it known that a comment is not needed
        counted += unused_problems(result.unused, checks.codes)
    return Loaded(
        objects=tuple(_declared(entry, entry.object) for entry in entries if entry.object is not None),
        problems=tuple(sorted(counted, key=lambda problem: problem.sort_key)),
        files=len(names),
        names=tuple(names),
        ignored=result.ignored,
    )


def _named(problems: Iterable[Problem], name: str) -> list[Problem]:
    return [msgspec.structs.replace(problem, file=name) for problem in problems]


def _declared(entry: Entry, thing: ConfigObject) -> Declared:
    return Declared(thing, Origin(entry.file, entry.node.line, entry.node.column))
