"""Files in, checked objects and problems out: the one way in which manifests are read.

Called by ``validate``, ``sync`` (git objects and folders alike), ``apply -f`` and ``dev``. Nothing here reads a file or
the clock: whoever calls has the bytes.
"""

from collections.abc import Iterable, Sequence

import msgspec

from reconciler.errors import InvalidManifests
from reconciler.manifests.problem import Problem
from reconciler.manifests.rules import Severity
from reconciler.model.manifests import ConfigObject


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


class ParseCache:
    """Remembers what files came to by their content, so that an unchanged file is not parsed and checked again.

    Give the same one to each ``load`` of a source. Only what the last two loads used is kept. Not for several threads
    at once.
    """


def load(
    files: Iterable[tuple[str, bytes]], *, cache: ParseCache | None = None, known: Sequence[ConfigObject] = ()
) -> Loaded:
    """Read, check and cross-check ``files``: (name as shown to people, content).

    References are checked over everything given; ``known`` objects, which are declared elsewhere (what a store has
    already, for ``apply -f``), may be referred to and are not checked. Every problem is found in the one pass.
    """
    raise NotImplementedError
