"""One pass over a source: what its newest revision means for the store. Shared by the daemon and ``sync --once``."""

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from reconciler.errors import SourceError, UsageError
from reconciler.manifests.source import Revision, Source
from reconciler.model import keys
from reconciler.model.events import Event, Level
from reconciler.model.intents import Adoption, Rollback, SourceIntent
from reconciler.model.names import is_name
from reconciler.model.revisions import short
from reconciler.model.source_state import SourceState, Trial
from reconciler.runtime.clock import Clock
from reconciler.runtime.whoami import whoami
from reconciler.store.interface import Held, Store
from reconciler.sync import apply, gate, observe
from reconciler.sync.adoption import unready
from reconciler.sync.brake import DeletionLimit, braked
from reconciler.sync.config_view import View
from reconciler.sync.gate import Gate, Pair
from reconciler.sync.late import is_due, late_plan
from reconciler.sync.outcome import Decision, Outcome, described, events_of, trial_event, with_problems
from reconciler.sync.plan import Goal, Plan, Wanted, plan
from reconciler.sync.provenance_record import Applied, ProvenanceRecord
from reconciler.sync.reconcile import reconcile
from reconciler.sync.revisions import Revisions, report_of
from reconciler.sync.source_state import Identity, Report, Target
from reconciler.sync.trials import Trials

Emit: TypeAlias = Callable[[Event], None]

APPLY: Final = "apply"
"""The source that ``apply -f`` writes as; no other may be called that."""
_MOST_WARNINGS: Final = 20


class SourceSync:
    """Takes a source's revisions to the store, and remembers what it read and parsed, to do no work twice."""

    def __init__(
        self,
        store: Store,
        source: Source,
        *,
        clock: Clock,
        emit: Emit,
        mutable_versions: bool = False,
        heals: bool = True,
        limit: DeletionLimit | None = None,
        health_gate: Gate | None = None,
    ) -> None:
        """``heals``: what was changed by hand is put right; otherwise it is only reported.

        ``limit``: how much one revision may delete. ``health_gate``: what a revision must make healthy, or it is taken
        back. Raises UsageError when the source's name can't be one.
        """
        if not is_name(source.name) or source.name == APPLY:
            raise UsageError(
                f"{source.name!r} cannot be the name of a source",
                hint="Letters, digits, dots, dashes and underscores, at most 64; 'apply' is that of `apply -f`.",
            )
        self._store = store
        self._source = source
        self._identity = Identity(source.name, source.kind, source.location)
        self._clock = clock
        self._emit = emit
        self._mutable_versions = mutable_versions
        self._heals = heals
        self._limit = limit
        self._approved = ""
        self._adoption: Adoption | None = None
        self._store_id: str | None = None
        self._revisions = Revisions(source)
        self.trials = Trials(health_gate, clock)
        """How the services of what is applied are watched."""
        self._trial: Trial | None = None
        self._provenance = ProvenanceRecord(
            store,
            source.name,
            by=whoami(),
            last_changes=source.last_changes if source.kind == "git" else None,
            say=self._say,
        )
        self._told: tuple[str | None, tuple[str, ...]] | None = None

    @property
    def parsed_files(self) -> int:
        """How many files were parsed so far."""
        return self._revisions.parsed_files

    def run(
        self,
        fence: Held,
        revision: Revision | None,
        failure: SourceError | None = None,
        *,
        is_confirmed: bool,
        intent: SourceIntent | None = None,
    ) -> Outcome:
        """Bring the store to ``revision``; when that may not be, to what was applied last.

        ``failure``: the source can't be read now. ``is_confirmed``: the revision is believed even if it does not follow
        from what is applied; otherwise nothing happens then, and ``Outcome.is_in_doubt``. ``intent``: what was ordered.
        """
        self._approved = intent.approved if intent else ""
        last = Decision()
        is_ours = False

        def decide(view: View) -> Decision:
            nonlocal last, is_ours
            self._store_id = view.store_id
            is_ours = view.is_from(self._identity.location)
            if not is_ours:
                self.trials.forget()  # what is on trial was read elsewhere, where other services may be meant
            last = self._decide(view, revision, failure, intent, is_confirmed=is_confirmed)
            return last

        outcome = reconcile(self._store, fence, self._identity, decide, store_id=self._store_id, clock=self._clock)
        self._tell(revision, outcome)
        if last.report is not None:
            self._tell_trial(last)
            if is_ours or last.target is not None:
                self.trials.follow(last.report.trial, self._gated)
        if outcome.decision.plan is not None and is_due(outcome.decision.plan.retired, self._clock.wall()):
            self._delete_late(fence)
        self._record_provenance(fence, outcome.decision)
        return outcome

    def stand_still(self, fence: Held, why: str) -> None:
        """Write nothing but the reason for that: what is applied stays."""

        def decide(view: View) -> Decision:
            self._store_id = view.store_id
            return self._stuck(view, Report(None, [why]))

        reconcile(self._store, fence, self._identity, decide, store_id=self._store_id, clock=self._clock)

    def _decide(
        self,
        view: View,
        revision: Revision | None,
        failure: SourceError | None,
        intent: SourceIntent | None,
        *,
        is_confirmed: bool,
    ) -> Decision:
        """What to go back to, if operators or the gate say so about the newest revision; else that one."""
        own = view.own
        newest = revision.id if revision else own.seen if own else ""
        base = report_of(revision, failure, own)
        self._adoption = intent.adoption_after(own.adopted) if intent and own else None
        if own is None and intent and intent.adoption:  # it was ordered of an earlier source of this name
            base = msgspec.structs.replace(base, adopted=intent.adoption.since)
        if self._adoption is not None and unready(view, self._adoption) is None:
            base = msgspec.structs.replace(base, asked=self._adoption.since)
        if intent is not None and (rollback := intent.rollback_of(newest)) is not None:
            return self._roll_back(view, rollback, base, by=f"by {rollback.by}")
        failing = self.trials.failing(own)
        back: Rollback | None = None
        if own is not None and failing is not None and failing.trial.good:
            back = gate.quarantined(own, failing, self._clock.wall())
        quarantine = back if back is not None and newest in back.skips else gate.in_force(own, intent, newest)
        if quarantine is not None:
            return self._quarantine(view, quarantine, base, newest)
        return self._go_on(view, revision, base, back, is_confirmed=is_confirmed)

    def _go_on(
        self, view: View, revision: Revision | None, base: Report, back: Rollback | None, *, is_confirmed: bool
    ) -> Decision:
        """The newest revision; if that may not be, what is applied, or ``back`` in the place of that."""
        problems: list[str] = []
        if revision is not None:
            relation = self._relation(view.own, revision)
            if relation is False and not is_confirmed:
                return Decision()
            loaded, wanted = self._revisions.newest(revision)
            problems += map(str, loaded.errors)
            if loaded.valid:
                made = self._plan(view, revision.id, wanted, self._adoption, is_related=relation is not None)
                problems += made.problems
                if not made.problems:
                    target = self._revisions.accept(revision, wanted)
                    if relation is False:
                        what = f"the history was rewritten: {short(_applied_id(view.own))} is no longer part of it"
                        target = msgspec.structs.replace(target, detail=what)
                    return self._decision(view, target, made, base)
                base = msgspec.structs.replace(base, contested=made.contested)
        report = with_problems(base, *problems)
        if problems:
            report = msgspec.structs.replace(report, refusal=problems[0])
        if back is not None:
            return self._quarantine(view, back, report, back.skips[-1])
        applied = _applied_id(view.own)
        earlier = self._revisions.at(applied) if applied and view.is_from(self._identity.location) else None
        if earlier is not None:
            made = self._plan(view, earlier.target.revision, earlier.wanted)
            if not made.problems:
                return self._decision(view, earlier.target, made, report)
        return self._stuck(view, report)

    def _quarantine(self, view: View, quarantine: Rollback, report: Report, bad: str) -> Decision:
        """What is applied in the place of a revision that made services sick."""
        why = f"revision {short(bad)} is quarantined, since its services did not become healthy: {quarantine.reason}"
        report = with_problems(msgspec.structs.replace(report, quarantine=quarantine), why)
        return self._roll_back(view, quarantine, report, by="by the gate", instead_of=bad)

    def _roll_back(self, view: View, rollback: Rollback, report: Report, *, by: str, instead_of: str = "") -> Decision:
        """What somebody went back to, in the place of the newest revision, which they said is bad."""
        earlier = self._revisions.at(rollback.revision)
        if earlier is None:
            why = f"{rollback.by} rolled back to revision {short(rollback.revision)}, which can't be had here"
            return self._stuck(view, with_problems(report, why))
        # what a quarantined revision created may go, however much that is
        made = self._plan(view, rollback.revision, earlier.wanted, self._adoption, is_limited=not instead_of)
        if made.problems:
            report = msgspec.structs.replace(report, contested=made.contested)
            return self._stuck(view, with_problems(report, *made.problems))
        reason = f"{by}: {rollback.reason}" if rollback.reason else by
        back = msgspec.structs.replace(earlier.target, result="rolled back", detail=reason, instead_of=instead_of)
        return self._decision(view, back, made, report)

    def _stuck(self, view: View, report: Report) -> Decision:
        """Nothing can be written now: what is applied stays, and so does what the gate says of it."""
        own = view.own
        trial, quarantine = (self.trials.standing(own.trial), own.quarantine) if own else (None, None)
        return Decision(report=msgspec.structs.replace(report, trial=trial, quarantine=quarantine))

    def _decision(self, view: View, target: Target, made: Plan, report: Report) -> Decision:
        own = view.own
        is_adoption = made.handover is not None and bool(made.handover.taken)
        if is_adoption and target.result == "applied":
            target = msgspec.structs.replace(target, result="adopted", detail=str(made.handover))
        is_repair = view.is_at(target.revision, self._identity.location) and not is_adoption
        if target.result != "rolled back":
            begun = gate.on_trial(own, target.revision, self.trials.limit_s, is_change=bool(made.changes))
            # to go back to before an adoption would delete what was adopted: so there is no trial
            trial = None if is_adoption else self.trials.standing(begun)
            # something newer that is well, or need not show it, ends a quarantine
            is_over = trial is None and report.quarantine and target.revision != report.quarantine.revision
            quarantine = None if is_over else report.quarantine
            report = msgspec.structs.replace(report, trial=trial, quarantine=quarantine)
        if is_repair and made.changes and not self._heals:
            drift = tuple(map(described, made.changes))
            return Decision(
                target=target,
                plan=msgspec.structs.replace(made, changes=(), after=made.before),
                report=msgspec.structs.replace(report, drift=drift),
                left=made.changes,
            )
        return Decision(target=target, plan=made, report=report, is_repair=is_repair)

    def _plan(
        self,
        view: View,
        revision: str,
        wanted: dict[str, Wanted],
        adoption: Adoption | None = None,
        *,
        is_related: bool = True,
        is_limited: bool = True,
    ) -> Plan:
        goal = Goal(
            revision=revision,
            wanted=wanted,
            is_related=is_related,
            mutable_versions=self._mutable_versions,
            adoption=adoption,
            location=self._identity.location,
            environment=self._source.environment,
        )
        limit = self._limit if is_limited else None
        return braked(plan(view, goal, self._clock.wall()), view, goal, limit, self._approved)

    def _relation(self, own: SourceState | None, revision: Revision) -> bool | None:
        """Whether the revision comes after the one that is applied, or on its way; None: nobody knows."""
        applied = _applied_id(own)
        return True if not applied or applied == revision.id else self._source.follows(revision.id, applied)

    def _gated(self, trial: Trial) -> frozenset[Pair] | None:
        """The services whose health shows whether a revision is good; None if that can't be said."""
        now = self._revisions.look_up(trial.revision)
        before = self._revisions.look_up(trial.good) if trial.good else None
        return gate.gated(before.wanted if before else {}, now.wanted) if now else None

    def _tell(self, revision: Revision | None, outcome: Outcome) -> None:
        """Emit what is new; a pass like the one before says nothing."""
        if outcome.is_in_doubt and revision is not None:
            self._say(
                f"the history was rewritten: {short(revision.id)} does not follow from what is applied; looking again"
            )
            return
        told = (revision.id if revision else None, (*outcome.problems, *outcome.drift))
        is_new = told != self._told
        if is_new or outcome.changes:
            for event in events_of(self._source.name, outcome):
                self._emit(event)
        if self._told is not None and self._told[1] and not told[1]:
            self._say("the problems are over", Level.INFO)
        if is_new and revision is not None:
            for problem in self._revisions.warnings[:_MOST_WARNINGS]:
                self._say(str(problem))
            if revision.passed_over:
                self._say(
                    f"never followed, whatever is behind them: {', '.join(revision.passed_over[:_MOST_WARNINGS])}"
                )
        self._told = told

    def _tell_trial(self, decision: Decision) -> None:
        before, self._trial = self._trial, decision.report.trial if decision.report else None
        applied = decision.target.revision if decision.target else ""
        event = trial_event(self._source.name, before, self._trial, applied)
        if event is not None:
            self._emit(event)

    def _record_provenance(self, fence: Held, decision: Decision) -> None:
        """Say where the objects of what is applied now are written."""
        now, target, made = self._revisions.good, decision.target, decision.plan
        if now is None or target is None or made is None or now.target.revision != target.revision:
            return
        applied = Applied(target.revision, now.wanted, now.contents)
        kept = {keys.TASK_DEFINITIONS + name for name in made.retired}
        self._provenance.update(fence, applied, kept, self._clock.wall(), is_whole=True)

    def _say(self, message: str, level: Level = Level.WARNING) -> None:
        name = self._source.name
        self._emit(Event(loop=f"sync {name}", subject=name, message=message, level=level))

    def _delete_late(self, fence: Held) -> None:
        """Delete definitions that nobody has wanted for long; if anything moves meanwhile, another time."""
        found = observe.definitions_in_records(self._store)
        view = observe.observe(self._store, self._source.name, self._store_id)
        room = apply.room_for_late_deletes(self._store, view)
        late = late_plan(view, found[0], self._clock.wall(), room) if found and room > 0 else None
        if found is None or late is None:
            return
        result = apply.delete_late(self._store, fence, view, late, found[1])
        if isinstance(result, apply.Done) and late.deletes:
            names = ", ".join(each.key.removeprefix(keys.TASK_DEFINITIONS) for each in late.deletes)
            self._say(f"deleted task definitions that nobody has wanted for a day: {names}", Level.INFO)


def _applied_id(own: SourceState | None) -> str:
    if own is None:
        return ""
    return own.mark.revision if own.mark.settled else own.mark.to or ""
