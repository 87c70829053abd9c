"""What is stored of a source: the mark of what it applied, and how the last passes went.

Sync writes these records under ``state/sync/<source>``; schedulers read the mark, views all of it. They are read
leniently (fields that a newer program added are passed over).
"""

import msgspec

from reconciler.model.intents import Rollback


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """Immutable; unknown fields are passed over."""


class SourceCounts(_Record, frozen=True, kw_only=True):
    """How many objects of each kind a source has in ``config/*``."""

    clusters: int = 0
    services: int = 0
    task_definitions: int = 0
    hosts: int = 0

    @property
    def total(self) -> int:
        """All of them together."""
        return self.clusters + self.services + self.task_definitions + self.hosts


class SyncMark(_Record, frozen=True, kw_only=True):
    """Whether a source's objects in ``config/*`` are one whole revision.

    ``applying`` (``revision`` is where it came from, ``to`` where it goes) means a mix is stored: readers decide
    nothing from it. ``settled`` means ``revision`` is what is there. ``chunk`` grows with every transaction that writes
    the source's objects, for ever, so that no two of them write the same mark. ``counts`` are those after the
    transaction that wrote the mark, also while applying: whoever reads fewer objects has not read all. ``told``: who
    moves the source writes ``config/.moved`` with it, so that it is enough to compare that.
    """

    settled: bool
    revision: str
    to: str | None = None
    chunk: int = 0
    counts: SourceCounts = SourceCounts()
    told: bool = False


class PastRevision(_Record, frozen=True, kw_only=True):
    """One thing that happened to a source: a revision was applied, rolled back to, repaired, refused, or found sick.

    ``result`` is ``applied``, ``adopted`` (it took objects over from another source), ``rolled back``, ``repaired``,
    ``refused``, ``quarantined`` (its services did not become healthy, and another took its place) or ``unhealthy`` (the
    same, and it stays for want of another); ``detail`` says why or what. ``at`` is wall time, for display.
    """

    revision: str
    result: str
    at: float
    author: str = ""
    subject: str = ""
    detail: str = ""
    created: int = 0
    updated: int = 0
    deleted: int = 0


class Trial(_Record, frozen=True, kw_only=True):
    """A revision that has yet to show that the services which it changed become healthy.

    ``good`` is the last revision before it that did, empty if there is none. ``spent_s`` of ``limit_s`` have passed, by
    the clocks of those who watched; ``failed`` says why there is no hope, when there is nothing to go back to.
    """

    revision: str
    good: str = ""
    limit_s: float
    spent_s: float = 0.0
    failed: tuple[str, ...] = ()


class Contested(_Record, frozen=True, kw_only=True):
    """An object that a revision declares and that is another source's (``owner`` empty: nobody's).

    ``fields`` are those in which it is declared otherwise than it is stored.
    """

    key: str
    owner: str
    fields: tuple[str, ...] = ()


class SourceState(_Record, frozen=True, kw_only=True):
    """``state/sync/<source>``: the mark, and how the last passes went.

    ``seen`` is the newest revision looked at; when it was refused, ``problems`` says why and ``mark.revision`` stays.
    ``problem_count`` may exceed the number of ``problems`` kept. ``applied_at`` is wall time, for display; ``author``
    and ``subject`` are those of ``mark.revision``. ``retired`` are definitions that the source no longer declares but
    that are still stored, as ``<name>/<version>``, and since when nobody is known to want them (seconds since 1970).
    ``drift`` is what was changed by hand and left so. ``history`` is bounded, the newest last. ``trial`` is that of
    the revision applied, ``quarantine`` which revisions failed theirs, what takes their place, and why. ``contested``
    are the first of the ``contested_count`` objects of ``seen`` that it may not write. ``asked`` and ``adopted`` name
    the last adoption that was looked at and the last that was carried out.
    """

    source: str
    kind: str
    location: str
    mark: SyncMark
    seen: str = ""
    author: str = ""
    subject: str = ""
    retired: dict[str, int] = {}
    problems: tuple[str, ...] = ()
    problem_count: int = 0
    applied_at: float = 0.0
    drift: tuple[str, ...] = ()
    history: tuple[PastRevision, ...] = ()
    trial: Trial | None = None
    quarantine: Rollback | None = None
    contested: tuple[Contested, ...] = ()
    contested_count: int = 0
    asked: float = 0.0
    adopted: float = 0.0
