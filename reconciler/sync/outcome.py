"""What a pass came to, as a value: for events, for ``sync --once`` and for ``apply -f``. Pure."""

from collections.abc import Iterator, Sequence

import msgspec

from reconciler.model.events import Event, Level
from reconciler.model.revisions import short
from reconciler.model.source_state import Trial
from reconciler.sync.config_view import label
from reconciler.sync.plan import Change, Create, Delete, Plan, Update
from reconciler.sync.source_state import Report, Target


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do now: write ``plan``, so that ``target`` is what is there, and record ``report``.

    Without a plan nothing but the report is written; without a report either, nothing at all. ``is_repair``: the target
    is what is applied already, so whatever the plan changes was changed by somebody else. ``left`` is what was
    changed so and stays.
    """

    target: Target | None = None
    plan: Plan | None = None
    report: Report | None = None
    is_repair: bool = False
    left: tuple[Change, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided first in a pass; all of it is written. ``ended``: what operators said and that ended."""

    decision: Decision
    ended: tuple[str, ...] = ()

    @property
    def is_in_doubt(self) -> bool:
        """Nothing was done, because the history was rewritten; who sees the same again may believe it."""
        return self.decision.report is None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the newest revision is not applied."""
        return tuple(self.decision.report.problems) if self.decision.report else ()

    @property
    def drift(self) -> tuple[str, ...]:
        """What was changed by hand and is left so."""
        return tuple(self.decision.report.drift) if self.decision.report else ()

    @property
    def sick(self) -> tuple[str, ...]:
        """Why what is applied does not become healthy, when there is nothing to go back to."""
        trial = self.trial
        return trial.failed if trial else ()

    @property
    def trial(self) -> Trial | None:
        """The trial of what is applied."""
        return self.decision.report.trial if self.decision.report else None

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was written, in order."""
        return self.decision.plan.changes if self.decision.plan else ()

    def __str__(self) -> str:
        target, plan = self.decision.target, self.decision.plan
        if target is None or plan is None:
            return "nothing is applied"
        return f"revision {short(target.revision)}: {counted(plan)}, {plan.unchanged} unchanged"


def counted(plan: Plan) -> str:
    """``3 created, 1 updated, 0 deleted``."""
    return f"{len(plan.creates)} created, {len(plan.updates)} updated, {len(plan.deletes)} deleted"


def described(change: Change) -> str:
    """A change in one line."""
    match change:
        case Create(key):
            return f"create {label(key)}"
        case Update(key, _, _, fields):
            return f"update {label(key)}" + (f" ({', '.join(fields)})" if fields else "")
        case Delete(key):
            return f"delete {label(key)}"


def ended_text(said: Sequence[str]) -> str:
    """``ends the override scale web 5, by ann``."""
    more = f" and {len(said) - 5} more" if len(said) > 5 else ""
    return f"ends the override{'s' if len(said) > 1 else ''} {'; '.join(said[:5])}{more}"


def events_of(source: str, outcome: Outcome) -> Iterator[Event]:
    """What a pass that wrote something, or ran into new problems, has to tell."""
    decision, loop = outcome.decision, f"sync {source}"
    plan, target = decision.plan, decision.target
    if plan is not None and target is not None and plan.changes:
        if decision.is_repair:
            what = "; ".join(described(change) for change in plan.changes[:5])
            more = f" and {len(plan.changes) - 5} more" if len(plan.changes) > 5 else ""
            message = f"the store was not as revision {short(target.revision)} says; put right: {what}{more}"
            yield Event(loop=loop, subject=source, message=message, level=Level.WARNING)
        else:
            about = f" ({target.subject}, {target.author})" if target.subject else ""
            adopted = f"; adopted {plan.handover}" if plan.handover and plan.handover.taken else ""
            ended = f"; {ended_text(outcome.ended)}" if outcome.ended else ""
            message = f"applied revision {short(target.revision)}{about}: {counted(plan)}{adopted}{ended}"
            yield Event(loop=loop, subject=source, message=message)
    if outcome.drift:
        message = f"changed by hand and left so; the revision wants to {'; '.join(outcome.drift[:5])}"
        yield Event(loop=loop, subject=source, message=message, level=Level.WARNING)
    problems = outcome.problems
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        seen = decision.report.seen if decision.report else None
        message = f"revision {short(seen)} is not applied: {problems[0]}{more}" if seen else problems[0]
        yield Event(loop=loop, subject=source, message=message, level=Level.ERROR)


def trial_event(source: str, before: Trial | None, now: Trial | None, applied: str) -> Event | None:
    """What there is to tell about the trial of a revision, from one pass to the next."""
    level, message = Level.INFO, ""
    if now is not None and now.failed and not (before and before.failed):
        level = Level.ERROR
        message = f"revision {short(now.revision)} does not become healthy, and stays: {'; '.join(now.failed)}"
    elif now is not None and (before is None or before.revision != now.revision):
        message = f"revision {short(now.revision)} has {now.limit_s - now.spent_s:g} s to make its services healthy"
    elif before is not None and now is None and applied == before.revision:
        message = f"revision {short(applied)} has made its services healthy"
    return Event(loop=f"sync {source}", subject=source, message=message, level=level) if message else None


def with_problems(report: Report, *problems: str) -> Report:
    """The report with more to say."""
    return msgspec.structs.replace(report, problems=(*report.problems, *problems))
