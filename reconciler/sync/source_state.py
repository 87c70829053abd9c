"""What is recorded of a source in ``state/sync/<source>``, from one state to the next. Pure: used by ``apply``.

Nothing here depends on when or how often it is called: the same situation gives the same record, which is then not
written again.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from reconciler.model.intents import Rollback
from reconciler.model.source_state import Contested, PastRevision, SourceCounts, SourceState, SyncMark, Trial
from reconciler.model.texts import cut
from reconciler.sync import history
from reconciler.sync.plan import Plan

MOST_PROBLEMS: Final = 20
MOST_CHARACTERS: Final = 500
MOST_CONTESTED: Final = 500


class Identity(msgspec.Struct, frozen=True):
    """Which source it is, and where it reads from."""

    source: str
    kind: str
    location: str


class Target(msgspec.Struct, frozen=True):
    """The revision that is applied; ``result`` and ``detail`` are what its history says then.

    ``instead_of`` is the one that is quarantined, and in whose place it is applied.
    """

    revision: str
    author: str = ""
    subject: str = ""
    result: str = "applied"
    detail: str = ""
    instead_of: str = ""


class Report(msgspec.Struct, frozen=True):
    """What was seen of the source last, and why it is not applied, if it is not. ``seen`` None: nothing new.

    ``author`` and ``subject`` are those of ``seen``; ``drift`` is what was changed by hand and is left so.
    ``refusal`` is the first problem of ``seen`` itself, not of reaching it. ``trial`` and ``quarantine`` are what the
    gate has to say. ``contested`` is what ``seen`` declares and others manage, ``asked`` the adoption looked at.
    ``adopted``: what a new source must not adopt, since that was ordered of an earlier one of its name.
    """

    seen: str | None
    problems: Sequence[str] = ()
    author: str = ""
    subject: str = ""
    drift: Sequence[str] = ()
    refusal: str = ""
    trial: Trial | None = None
    quarantine: Rollback | None = None
    contested: Sequence[Contested] = ()
    asked: float = 0.0
    adopted: float = 0.0


def settled(
    old: SourceState | None,
    identity: Identity,
    target: Target,
    plan: Plan,
    report: Report,
    now: float,
    inherited: tuple[PastRevision, ...] = (),
) -> SourceState:
    """The record once all of the plan is written; its chunk is still that of the old one.

    ``inherited`` is the history of sources whose place this one takes.
    """
    mark = old.mark if old else SyncMark(settled=True, revision="")
    is_same = mark.settled and mark.revision == target.revision
    is_new = old is None or bool(plan.changes) or not is_same
    is_repair = old is not None and is_same and old.location == identity.location and target.result != "adopted"
    return _reported(
        SourceState(
            source=identity.source,
            kind=identity.kind,
            location=identity.location,
            mark=SyncMark(settled=True, revision=target.revision, chunk=mark.chunk, counts=plan.after, told=True),
            seen=old.seen if old else "",
            author=cut(target.author, MOST_CHARACTERS),
            subject=cut(target.subject, MOST_CHARACTERS),
            retired=dict(plan.retired),
            applied_at=now if is_new or old is None else old.applied_at,
            history=_past(old, target, plan, report, now, inherited, is_new=is_new, is_repair=is_repair),
            asked=old.asked if old else 0.0,
            adopted=plan.handover.adoption.since if plan.handover else old.adopted if old else report.adopted,
        ),
        report,
        now,
    )


def applying(old: SourceState | None, goal: SourceState, chunk: int, counts: SourceCounts) -> SourceState:
    """The record after a transaction that is not the last one."""
    mark = SyncMark(
        settled=False,
        revision=old.mark.revision if old else "",
        to=goal.mark.revision,
        chunk=chunk,
        counts=counts,
        told=True,
    )
    if old is None:
        return msgspec.structs.replace(goal, mark=mark, author="", subject="", retired={}, applied_at=0.0, history=())
    return msgspec.structs.replace(
        goal,
        mark=mark,
        author=old.author,
        subject=old.subject,
        retired=old.retired,
        applied_at=old.applied_at,
        history=old.history,
        adopted=old.adopted,
    )


def refused(old: SourceState | None, identity: Identity, report: Report, now: float) -> SourceState:
    """The record when nothing can be applied: what was applied stays, with the place that it came from, and why."""
    if old is None:
        mark = SyncMark(settled=True, revision="", told=True)
        old = SourceState(source="", kind="", location="", mark=mark, adopted=report.adopted)
    if not old.mark.revision and not old.mark.to:
        old = msgspec.structs.replace(old, source=identity.source, kind=identity.kind, location=identity.location)
    return _reported(old, report, now)


def _past(
    old: SourceState | None,
    target: Target,
    plan: Plan,
    report: Report,
    now: float,
    inherited: tuple[PastRevision, ...],
    *,
    is_new: bool,
    is_repair: bool,
) -> tuple[PastRevision, ...]:
    past = old.history if old else ()
    if inherited:
        past = tuple(sorted((*inherited, *past), key=lambda each: each.at))[-history.MOST :]
    if old is not None and old.trial is not None and old.trial.revision == target.revision and report.trial is None:
        past = history.with_detail(past, target.revision, "became healthy")
    if target.instead_of:
        past = history.with_verdict(past, target.instead_of, "quarantined", target.detail, now)
    return history.with_entry(past, _applied(target, plan, now, is_repair=is_repair)) if is_new else past


def _applied(target: Target, plan: Plan, now: float, *, is_repair: bool) -> PastRevision:
    return PastRevision(
        revision=target.revision,
        result="repaired" if is_repair and plan.changes else target.result,
        at=now,
        author=target.author,
        subject=target.subject,
        detail=target.detail,
        created=len(plan.creates),
        updated=len(plan.updates),
        deleted=len(plan.deletes),
    )


def _reported(state: SourceState, report: Report, now: float) -> SourceState:
    past = state.history
    if report.trial is not None and report.trial.failed and state.mark.settled:
        past = history.with_verdict(past, report.trial.revision, "unhealthy", "; ".join(report.trial.failed), now)
    last = history.last_of(past, report.seen) if report.seen else None
    if report.seen and report.refusal and (last is None or last.result != "refused"):
        entry = PastRevision(
            revision=report.seen,
            result="refused",
            at=now,
            author=report.author,
            subject=report.subject,
            detail=report.refusal,
        )
        past = history.with_entry(past, entry)
    return msgspec.structs.replace(
        state,
        seen=state.seen if report.seen is None else report.seen,
        problems=tuple(cut(problem, MOST_CHARACTERS) for problem in report.problems[:MOST_PROBLEMS]),
        problem_count=len(report.problems),
        drift=tuple(cut(each, MOST_CHARACTERS) for each in report.drift[:MOST_PROBLEMS]),
        history=past,
        trial=report.trial,
        quarantine=report.quarantine,
        contested=tuple(report.contested[:MOST_CONTESTED]),
        contested_count=len(report.contested),
        asked=report.asked or state.asked,
    )
