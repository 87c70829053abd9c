"""What is to be said of a source's revisions: from its record, from how its services are, and from what was said. Pure.

Called by ``reporter`` again and again: what was said already is not said again, so any process may go on with it.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

from reconciler.model.intents import SourceIntent
from reconciler.model.notifications import Happening
from reconciler.model.reports import MOST_WORDS, Declared, Reports, Word
from reconciler.model.revisions import short
from reconciler.model.source_state import SourceState
from reconciler.model.texts import cut
from reconciler.sync import history
from reconciler.sync.gate import Look, Pair, in_force

MOST_CHARACTERS: Final = 64 * 1024
"""Of services whose names come to more nothing is remembered, and a revision waits for all of them."""
_NAMED: Final = 5
_REASON_CHARACTERS: Final = 400

Prints: TypeAlias = Mapping[Pair, str]
"""By service what it is declared as, shortened: equal if nothing changed."""


def on_the_newest(reports: Reports, own: SourceState, intent: SourceIntent | None, now: float) -> Reports:
    """With what there is to say of the newest revision if it is not applied: it is refused, or taken back."""
    if not own.seen or not own.mark.settled or own.mark.revision == own.seen:
        return reports
    quarantine = in_force(own, intent, own.seen)
    if quarantine is not None and own.mark.revision == quarantine.revision:
        reason = f"{short(quarantine.revision)} is applied again; {quarantine.reason}"
        return _with(reports, own, own.seen, Happening.TAKEN_BACK, reason, now)
    rollback = intent.rollback_of(own.seen) if intent is not None else None
    if rollback is not None and own.mark.revision == rollback.revision:
        reason = f"{rollback.by} went back to {short(rollback.revision)}"
        reason = f"{reason}: {rollback.reason}" if rollback.reason else reason
        return _with(reports, own, own.seen, Happening.TAKEN_BACK, reason, now)
    last = history.last_of(own.history, own.seen)
    if last is not None and last.result == "refused":
        return _with(reports, own, own.seen, Happening.REFUSED, last.detail, now)
    return reports


def on_another_applied(
    reports: Reports, declared: Declared, own: SourceState, prints: Prints, now: float
) -> tuple[Reports, Declared]:
    """With what there is to say now that another revision is applied, whose services are declared as ``prints``.

    What the one before had not shown yet, this one has to show.
    """
    revision, before = own.mark.revision, reports.last_of(reports.applied)
    is_open = before is not None and before.event is Happening.STARTED
    base = declared.base if is_open else declared.applied
    if is_open and before is not None:
        reports = _with(reports, own, before.revision, Happening.SUPERSEDED, f"by {short(revision)}", now)
    last = history.last_of(own.history, revision)
    if last is not None and last.result == "rolled back":
        base = _by_text(prints)  # it was good once: nothing more is said of it
    else:
        changed = concerned(msgspec.structs.replace(declared, base=base), prints)
        event = Happening.STARTED if changed else Happening.HEALTHY
        reason = names(changed) if changed else "it changes no service here"
        reports = _with(reports, own, revision, event, reason, now)
    applied = _by_text(prints)
    if sum(map(len, applied)) > MOST_CHARACTERS:
        applied = {}
    return msgspec.structs.replace(reports, applied=revision), Declared(base=base if applied else {}, applied=applied)


def on_how_it_is(
    reports: Reports, own: SourceState, changed: Collection[Pair], look: Look, now: float, *, is_steady: bool
) -> Reports:
    """With what there is to say of how the services are that the applied revision changes.

    ``is_steady``: all have been healthy for a while.
    """
    trial = own.trial if own.trial is not None and own.trial.revision == reports.applied else None
    if trial is not None and not trial.failed:
        return reports  # the gate has yet to decide
    failed = trial.failed if trial is not None else look.failed
    if failed:
        return _with(reports, own, reports.applied, Happening.FAILED, "; ".join(failed), now)
    if is_steady:
        return _with(reports, own, reports.applied, Happening.HEALTHY, names(changed), now)
    return reports


def is_open(reports: Reports) -> bool:
    """Whether there is more to be said of the revision that is applied."""
    last = reports.last_of(reports.applied)
    return last is not None and last.event in (Happening.STARTED, Happening.FAILED)


def concerned(declared: Declared, prints: Prints) -> frozenset[Pair]:
    """The services that have to become healthy."""
    return frozenset(pair for pair, now in prints.items() if declared.base.get("/".join(pair)) != now)


def names(pairs: Iterable[Pair]) -> str:
    """Services as people write them, the first few."""
    found = sorted(map("/".join, pairs))
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{', '.join(found[:_NAMED])}{more}"


def _by_text(prints: Prints) -> dict[str, str]:
    return {"/".join(pair): each for pair, each in prints.items()}


def _with(reports: Reports, own: SourceState, revision: str, event: Happening, reason: str, now: float) -> Reports:
    """With one more word, unless the last one on this revision says the same."""
    before = reports.last_of(revision)
    if before is not None and before.event is event:
        return reports
    past = history.last_of(own.history, revision)
    author, subject = (past.author, past.subject) if past else (before.author, before.subject) if before else ("", "")
    word = Word(
        seq=reports.seq + 1,
        revision=revision,
        event=event,
        reason=cut(reason, _REASON_CHARACTERS),
        author=author,
        subject=subject,
        at=now,
    )
    words = (*reports.words, word)[-MOST_WORDS:]
    open_one = reports.last_of(reports.applied)
    if open_one is not None and open_one.seq < words[0].seq:
        words = (open_one, *words[1:])  # more will be said of it
    return msgspec.structs.replace(reports, words=words)
