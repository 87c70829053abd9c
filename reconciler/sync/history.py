"""What happened to a source's revisions, kept in its record. Pure: used by ``source_state``."""

from typing import Final

import msgspec

from reconciler.model.source_state import PastRevision
from reconciler.model.texts import cut

MOST: Final = 20
"""So many are kept: they are part of a value that each transaction of the source writes."""
_CHARACTERS: Final = 160


def with_entry(history: tuple[PastRevision, ...], entry: PastRevision) -> tuple[PastRevision, ...]:
    """The history with one more entry at its end; repairs of one revision in a row are one entry, the last."""
    entry = msgspec.structs.replace(
        entry,
        author=cut(entry.author, _CHARACTERS),
        subject=cut(entry.subject, _CHARACTERS),
        detail=cut(entry.detail, _CHARACTERS),
    )
    last = history[-1] if history else None
    if last is not None and entry.result == last.result == "repaired" and entry.revision == last.revision:
        history = history[:-1]
    return (*history, entry)[-MOST:]


def last_of(history: tuple[PastRevision, ...], revision: str) -> PastRevision | None:
    """The last that happened to a revision."""
    return next((each for each in reversed(history) if each.revision == revision), None)


def with_verdict(
    history: tuple[PastRevision, ...], revision: str, result: str, detail: str, at: float
) -> tuple[PastRevision, ...]:
    """The history with one entry more about a revision that has some, unless its last one says that already."""
    last = last_of(history, revision)
    if last is not None and last.result == result:
        return history
    author, subject = (last.author, last.subject) if last else ("", "")
    entry = PastRevision(revision=revision, result=result, at=at, author=author, subject=subject, detail=detail)
    return with_entry(history, entry)


def with_detail(history: tuple[PastRevision, ...], revision: str, detail: str) -> tuple[PastRevision, ...]:
    """The history with something more to say about how a revision was applied, after what it says already."""

    def and_so(said: str) -> str:
        return f"{cut(said, _CHARACTERS - len(detail) - 2)}; {detail}" if said else detail

    return tuple(
        msgspec.structs.replace(each, detail=and_so(each.detail))
        if (each.revision, each.result) == (revision, "applied") and detail not in each.detail
        else each
        for each in history
    )
