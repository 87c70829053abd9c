"""What ``validate`` says of manifests: the one value that every report is made of and that is remembered on disk."""

from typing import TYPE_CHECKING

import msgspec

from reconciler.manifests.problem import Ignored, Problem
from reconciler.manifests.rules import Severity

if TYPE_CHECKING:
    from reconciler.manifests.load import Loaded


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``names`` are the files that were checked; ``elsewhere`` counts problems that a change did not touch.

    ``strict``: warnings count as errors do. ``environments`` are all that were checked, if any is declared; ``objects``
    counts those of each.
    """

    names: tuple[str, ...]
    objects: int
    problems: tuple[Problem, ...]
    ignored: tuple[Ignored, ...] = ()
    elsewhere: int = 0
    strict: bool = False
    environments: tuple[str, ...] = ()

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return sum(problem.severity is Severity.ERROR for problem in self.problems)

    @property
    def warnings(self) -> int:
        """How many warnings there are."""
        return len(self.problems) - self.errors

    @property
    def valid(self) -> bool:
        """The answer."""
        return not (self.problems if self.strict else self.errors)


def verdict_on(loaded: "Loaded") -> Verdict:
    """The verdict on what was loaded."""
    return Verdict(names=loaded.names, objects=len(loaded.objects), problems=loaded.problems, ignored=loaded.ignored)
