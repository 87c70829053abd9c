"""What operators said about a source: ``state/overrides/sources/<source>``. Written by commands, read by sync.

Nothing of it is ever written by sync itself: an intent ends at its time, or when a command takes it back.
"""

from typing import Final

import msgspec


class Suspension(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is written for the source; ``until`` (seconds since 1970) 0: until somebody resumes it."""

    by: str
    reason: str
    since: float
    until: float = 0.0

    def holds(self, now: float) -> bool:
        """Whether it is still in force; ``now`` is wall time."""
        return not self.until or now < self.until


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """``revision`` is applied in the place of each of ``skips``; the first other one ends it.

    An operator's stands in the intent; the gate's (of revisions that made services sick) in sync's own record.
    """

    revision: str
    skips: tuple[str, ...]
    by: str
    reason: str
    since: float


UNMANAGED: Final = ""
"""In the place of a source: objects in the store that no source manages."""


class Adoption(msgspec.Struct, frozen=True, kw_only=True):
    """What other sources manage is this one's as soon as it declares it: ``objects`` (keys), or all if there are none.

    ``origins`` are those sources, or ``UNMANAGED``. ``with_changes``: also what is declared with other content than is
    stored. ``abandon_unfinished``: also from a source that was ended in the middle of a revision. ``since`` (seconds
    since 1970) names it: one that was carried out once is over.
    """

    origins: tuple[str, ...]
    objects: tuple[str, ...] = ()
    with_changes: bool = False
    abandon_unfinished: bool = False
    by: str
    since: float

    def covers(self, key: str, owner: str) -> bool:
        """Whether it is about this object of that source."""
        return owner in self.origins and (not self.objects or key in self.objects)


class SourceIntent(msgspec.Struct, frozen=True, kw_only=True):
    """All that operators said about one source."""

    source: str
    suspended: Suspension | None = None
    rollback: Rollback | None = None
    approved: str = ""
    """The hash of the one plan that may delete more than sync's limit."""
    released: float = 0.0
    """The ``since`` of the one quarantine that is lifted, so that its revision is tried again."""
    adoption: Adoption | None = None

    def suspension(self, now: float) -> Suspension | None:
        """The suspension, if it is still in force."""
        return self.suspended if self.suspended is not None and self.suspended.holds(now) else None

    def rollback_of(self, newest: str) -> Rollback | None:
        """The rollback, if it is in force while ``newest`` is the newest revision."""
        return self.rollback if self.rollback is not None and newest in self.rollback.skips else None

    def adoption_after(self, adopted: float) -> Adoption | None:
        """The adoption, if it is not the one called ``adopted``, which was carried out."""
        return self.adoption if self.adoption is not None and self.adoption.since != adopted else None
