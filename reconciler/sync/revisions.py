"""What the revisions of a source declare, each read once. Called by ``passes``.

Parsing is remembered by content, so that the cost of a revision is that of what it changes.
"""

from collections.abc import Mapping

import msgspec

from reconciler.errors import SourceError, UntrustedRevision
from reconciler.manifests.load import Loaded, ParseCache, load
from reconciler.manifests.problem import Problem
from reconciler.manifests.source import Revision, Source
from reconciler.model.source_state import SourceState
from reconciler.sync.checks import CHECKS
from reconciler.sync.plan import Wanted, wanted_of
from reconciler.sync.source_state import Report, Target


class Readable(msgspec.Struct, frozen=True):
    """A revision without errors: what it declares, and the contents of its files."""

    target: Target
    wanted: dict[str, Wanted]
    contents: Mapping[str, bytes]


class Revisions:
    """The newest revision of a source as it was loaded, and the last one that was found good."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._cache = ParseCache(CHECKS)
        self._loaded: tuple[str, Loaded, dict[str, Wanted]] | None = None
        self.good: Readable | None = None
        """The last one that could be applied."""

    @property
    def parsed_files(self) -> int:
        """How many files were parsed so far."""
        return self._cache.parsed_files

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Those of the newest revision."""
        return tuple(self._loaded[1].warnings) if self._loaded else ()

    def newest(self, revision: Revision) -> tuple[Loaded, dict[str, Wanted]]:
        """What the newest revision declares; nothing is done again while its files are the same."""
        if self._loaded is None or self._loaded[0] != revision.content:
            self._loaded = (revision.content, *self._read(revision))
        return self._loaded[1:]

    def accept(self, revision: Revision, wanted: dict[str, Wanted]) -> Target:
        """Remember that this revision can be applied."""
        self.good = Readable(target_of(revision), wanted, revision.files)
        return self.good.target

    def at(self, revision_id: str) -> Readable | None:
        """What an earlier revision declares, remembered as good; None if it can't be had any more."""
        if self.good is None or self.good.target.revision != revision_id:
            found = self.look_up(revision_id)
            if found is None:
                return None
            self.good = found
        return self.good

    def look_up(self, revision_id: str) -> Readable | None:
        """What an earlier revision declares; None if it can't be had any more."""
        if self.good is not None and self.good.target.revision == revision_id:
            return self.good
        revision = self._source.at(revision_id)
        if revision is None:
            return None
        loaded, wanted = self._read(revision)
        return Readable(target_of(revision), wanted, revision.files) if loaded.valid else None

    def _read(self, revision: Revision) -> tuple[Loaded, dict[str, Wanted]]:
        loaded = load(revision.files.items(), cache=self._cache, environment=self._source.environment)
        before = self._loaded[2] if self._loaded else None
        return loaded, wanted_of(self._source.name, [(each.object, each.origin) for each in loaded.objects], before)


def target_of(revision: Revision) -> Target:
    """The revision as something to apply."""
    return Target(revision.id, revision.author, revision.subject)


def report_of(revision: Revision | None, failure: SourceError | None, own: SourceState | None) -> Report:
    """What there is to say before anything is decided."""
    problems = [] if failure is None else [failure.message]
    quarantine = own.quarantine if own else None
    if isinstance(failure, UntrustedRevision):
        return Report(
            failure.revision, problems, failure.author, failure.subject, refusal=failure.message, quarantine=quarantine
        )
    if revision is None:
        return Report(None, problems, quarantine=quarantine)
    return Report(revision.id, problems, revision.author, revision.subject, quarantine=quarantine)
