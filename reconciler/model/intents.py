"""What operators said about a source: ``state/overrides/sources/<source>``. Written by commands, read by sync.

Nothing of it is ever written by sync itself: an intent ends at its time, or when a command takes it back.
"""

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


class SourceIntent(msgspec.Struct, frozen=True, kw_only=True):
    """All that operators said about one source."""

    source: str
    suspended: Suspension | None = None
    rollback: Rollback | None = None
    approved: str = ""
    """The hash of the one plan that may delete more than sync's limit."""
    released: float = 0.0
    """The ``since`` of the one quarantine that is lifted, so that its revision is tried again."""

    def suspension(self, now: float) -> Suspension | None:
        """The suspension, if it is still in force."""
        return self.suspended if self.suspended is not None and self.suspended.holds(now) else None

    def rollback_of(self, newest: str) -> Rollback | None:
        """The rollback, if it is in force while ``newest`` is the newest revision."""
        return self.rollback if self.rollback is not None and newest in self.rollback.skips else None
