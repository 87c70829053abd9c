"""What happened to a source's revisions, kept in its record. Pure: used by ``source_state``."""

from typing import Final

import msgspec

from reconciler.model.task import PastRevision

MOST: Final = 20
"""So many are kept: they are part of a value that each transaction of the source writes."""
_CHARACTERS: Final = 160


def with_entry(history: tuple[PastRevision, ...], entry: PastRevision) -> tuple[PastRevision, ...]:
    """The history with one more entry at its end; repairs of one revision in a row are one entry, the last."""
    entry = msgspec.structs.replace(
        entry, author=_cut(entry.author), subject=_cut(entry.subject), detail=_cut(entry.detail)
    )
    last = history[-1] if history else None
    if last is not None and entry.result == last.result == "repaired" and entry.revision == last.revision:
        history = history[:-1]
    return (*history, entry)[-MOST:]


def is_known_refused(history: tuple[PastRevision, ...], revision: str) -> bool:
    """Whether the last that happened to a revision is that it was refused."""
    results = [each.result for each in history if each.revision == revision]
    return bool(results) and results[-1] == "refused"


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"
