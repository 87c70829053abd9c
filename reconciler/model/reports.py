"""What was said of a source's revisions, and who has heard it: ``state/reports/<source>``. Written by sync alone."""

from typing import Final

import msgspec

from reconciler.model.notifications import Happening

MOST_WORDS: Final = 20
"""So many are kept: a receiver that is further behind never hears the older ones."""


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One thing said of one revision. ``seq`` grows by one with each of a source; ``at`` is wall time, for display."""

    seq: int
    revision: str
    event: Happening
    reason: str = ""
    author: str = ""
    subject: str = ""
    at: float = 0.0


class Reports(msgspec.Struct, frozen=True, kw_only=True):
    """``state/reports/<source>``. ``applied`` is the last revision of which it was said that it is applied.

    ``words`` are the last ones, the newest last; ``heard`` is by receiver the ``seq`` up to which it was told, or
    given up.
    """

    source: str
    applied: str = ""
    words: tuple[Word, ...] = ()
    heard: dict[str, int] = {}

    @property
    def seq(self) -> int:
        """That of the last word; 0: there was none."""
        return self.words[-1].seq if self.words else 0

    def last_of(self, revision: str) -> Word | None:
        """The last word on a revision."""
        return next((word for word in reversed(self.words) if word.revision == revision), None)


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """``state/reports/<source>/services``: what each service was declared as, by ``<cluster>/<service>``.

    ``applied`` is that of the revision applied, ``base`` that of the last one before it of which nothing is open: what
    differs is what has to become healthy.
    """

    base: dict[str, str] = {}
    applied: dict[str, str] = {}
