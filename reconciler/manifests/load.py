"""Files in, checked objects and problems out: the one way in which manifests are read.

Called by ``validate``, ``sync`` (git objects and folders alike), ``apply -f`` and ``dev``. Nothing here reads a file or
the clock: whoever calls has the bytes.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from reconciler.errors import InvalidManifests
from reconciler.manifests.cache import ParseCache
from reconciler.manifests.checks import Checks
from reconciler.manifests.entries import Entry
from reconciler.manifests.ignores import Ignore, sort_out, unused_problems
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.problem import Ignored, Problem
from reconciler.manifests.references import reference_problems
from reconciler.manifests.rules import Severity
from reconciler.manifests.scope import scope
from reconciler.model.manifests import ConfigObject

if TYPE_CHECKING:
    from reconciler.manifests.layers import Layered

__all__ = ["Declared", "Loaded", "Origin", "ParseCache", "load"]

_WORD = re.compile(rb"[A-Za-z0-9._-]+")


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where something is written; ``line`` and ``column`` count from 1.

    ``values_in``: the other files in which values of it stand, and the first line there (an overlay, parameters).
    """

    file: str
    line: int
    column: int
    values_in: tuple[tuple[str, int], ...] = ()

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
    ``unused``: comments that ignore nothing here. In one of several environments that is no problem yet, since they may
    do so in another.
    """

    objects: tuple[Declared, ...]
    problems: tuple[Problem, ...]
    files: int
    names: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    unused: tuple[Problem, ...] = ()

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
    files: Iterable[tuple[str, bytes]],
    *,
    cache: ParseCache | None = None,
    known: Sequence[ConfigObject] = (),
    environment: str | None = None,
) -> Loaded:
    """Read, check and cross-check ``files``: (name as shown to people, content).

    References are checked over everything given; ``known`` objects, which are declared elsewhere (what a store has
    already, for ``apply -f``), may be referred to and are not checked. Every problem is found in the one pass. A
    ``reconciler.yaml`` among the files says which of those beside and below it are left out, and may declare
    environments: then ``environment`` says which one is meant, and without it nothing is read and a problem says so.

    Raises:
        UsageError: the installation lacks libyaml or the schemas.
    """
    cache = cache or ParseCache()
    cache.begin()
    found = scope(sorted(files), cache)
    refusal = found.refusal(environment)
    if found.environments is not None and not found.names:
        return _loaded(_Read(problems=list(found.problems)), cache.checks, ())
    if refusal is not None:
        return _loaded(_Read(problems=[*found.problems, refusal]), cache.checks, ())
    read = _Read(problems=list(found.problems))
    read.ignores += found.ignores
    wanted = found.manifests
    if environment is not None and found.environments is not None:
        from reconciler.manifests.layers import layered  # most repositories have no environments

        chosen = found.environments.by_name[environment]
        base, overlay = found.base(), found.overlay(chosen)
        if chosen.overlay and not overlay:
            read.problems.append(found.empty_overlay(environment, chosen))
        wanted = (*base, *overlay)
        read.take_layers(layered(base, overlay, chosen, found.settings_name, cache))
    else:
        for name, content in wanted:
            read.take(name, cache.parse(name, content))
    read.problems += reference_problems(read.entries, known, lambda name: name.encode() in read.unread_words)
    names = tuple(name for name, _ in wanted)
    return _loaded(read, cache.checks, names)


class _Read:
    """What was read so far."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.entries: list[Entry] = []
        self.ignores: list[tuple[str, Ignore]] = []
        self.unread_words: set[bytes] = set()
        self.in_environment = False

    def take(self, name: str, parsed: Parsed) -> None:
        """A file that stands for itself."""
        self.entries += [msgspec.structs.replace(entry, file=name) for entry in parsed.entries]
        self.problems += [msgspec.structs.replace(problem, file=name) for problem in parsed.problems]
        self.ignores += [(name, ignore) for ignore in parsed.ignores]
        self.unread_words.update(_WORD.findall(parsed.text))

    def take_layers(self, layers: "Layered") -> None:
        """All files of an environment."""
        for name, parsed in layers.plain.items():
            self.take(name, parsed)
        self.entries += layers.entries
        self.problems += layers.problems
        self.in_environment = True
        self.ignores += layers.ignores
        for text in layers.texts:
            self.unread_words.update(_WORD.findall(text))


def _loaded(read: _Read, checks: Checks, names: tuple[str, ...]) -> Loaded:
    """The result, in the order in which a person goes through files."""
    problems = dict.fromkeys(problem for problem in read.problems if problem.line)  # 0: see ``parameters``
    result = sort_out(sorted(problems, key=lambda problem: problem.sort_key), read.ignores)
    counted = list(result.counted)
    unused: tuple[Problem, ...] = ()
    if all(problem.severity is not Severity.ERROR for problem in counted):
        # what is broken is not checked any further, so only now is it known that a comment is not needed
        unused = tuple(unused_problems(result.unused, checks.codes))
    if not read.in_environment:
        counted += unused
    return Loaded(
        objects=tuple(_declared(entry, entry.object) for entry in read.entries if entry.object is not None),
        problems=tuple(sorted(counted, key=lambda problem: problem.sort_key)),
        files=len(names),
        names=names,
        ignored=result.ignored,
        unused=unused,
    )


def _declared(entry: Entry, thing: ConfigObject) -> Declared:
    return Declared(thing, Origin(entry.file, entry.node.line, entry.node.column, entry.values_in))
