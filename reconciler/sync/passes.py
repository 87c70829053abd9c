"""One pass over a source: observe, decide, write. Shared by the daemon, ``sync --once`` and ``apply -f``.

Each pass looks at everything anew and writes only what differs, so it may be killed at any line; whatever is left is
done by the next one, of this process or another.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from reconciler.errors import SourceError, StoreError, UsageError
from reconciler.manifests.load import Loaded, ParseCache, load
from reconciler.manifests.source import Revision, Source
from reconciler.model import keys
from reconciler.model.events import Event, Level
from reconciler.model.intents import Rollback, SourceIntent
from reconciler.model.names import is_name
from reconciler.model.task import SourceState
from reconciler.runtime.clock import Clock
from reconciler.runtime.whoami import whoami
from reconciler.store.interface import Held, Store
from reconciler.sync import apply, observe
from reconciler.sync.brake import DeletionLimit, braked
from reconciler.sync.config_view import View
from reconciler.sync.late import is_due, late_plan
from reconciler.sync.outcome import Decision, Outcome, described, events_of, short
from reconciler.sync.plan import Create, Goal, Plan, Wanted, plan, wanted_of
from reconciler.sync.provenance_record import Applied, ProvenanceRecord
from reconciler.sync.source_state import Identity, Report, Target, refused, settled

Emit: TypeAlias = Callable[[Event], None]
Decide: TypeAlias = Callable[[View], Decision]

ATTEMPTS: Final = 8
"""How often a pass plans anew without coming further, before it is left to the next one."""
APPLY: Final = "apply"
"""The source that ``apply -f`` writes as; no other may be called that."""
_MOST_WARNINGS: Final = 20
_CONFIRMED: Final = 64
"""How many keys that seem to be gone are looked at one by one."""


def reconcile(
    store: Store, fence: Held, identity: Identity, decide: Decide, *, store_id: str | None, clock: Clock
) -> Outcome:
    """Observe, decide, write; anew whenever something moved meanwhile or nobody can say whether it was written.

    Raises:
        StoreError: it can't be done now, or the lock is lost. What ``decide`` raises passes through.
    """
    first: Decision | None = None
    attempts, chunk = 0, -1
    while True:
        view = observe.observe(store, identity.source, store_id)
        decision = decide(view)
        first = first or decision
        result = _carry_out(store, fence, identity, view, decision, clock)
        if isinstance(result, apply.Done):
            return Outcome(decision=first)
        lock = store.get(fence.key)
        if lock is None or lock.holder != fence.session:
            raise StoreError(f"the lock {fence.key} is lost; whoever holds it now goes on")
        reached = view.own.mark.chunk if view.own else 0
        attempts = 1 if reached != chunk else attempts + 1
        chunk = reached
        if attempts >= ATTEMPTS:
            raise StoreError(f"source {identity.source} could not be written: {result.why}")


def _carry_out(
    store: Store, fence: Held, identity: Identity, view: View, decision: Decision, clock: Clock
) -> apply.Result:
    target, made, report = decision.target, decision.plan, decision.report
    if report is None:
        return apply.Done(0)
    if target is None or made is None:
        return apply.carry_out(store, fence, view, (), refused(view.own, identity, report, clock.wall()))
    if view.own is not None and made.before.total < view.own.mark.counts.total:
        # somebody deleted objects by hand, or we are not shown all of them
        gone = [each.key for each in (*made.changes, *decision.left) if isinstance(each, Create)]
        observe.confirm_missing(store, gone[:_CONFIRMED])
    goal = settled(view.own, identity, target, made, report, clock.wall())
    return apply.carry_out(store, fence, view, made.changes, goal)


class _Readable(msgspec.Struct, frozen=True):
    """A revision without errors: what it declares, and the contents of its files."""

    target: Target
    wanted: dict[str, Wanted]
    contents: Mapping[str, bytes]


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
    ) -> None:
        """``heals``: what was changed by hand is put right; otherwise it is only reported.

        ``limit``: how much one revision may delete. Raises UsageError when the source's name can't be one.
        """
        if not is_name(source.name) or source.name == APPLY:
            raise UsageError(
                f"{source.name!r} cannot be the name of a source",
                hint="Letters, digits, dots, dashes and underscores, at most 64; 'apply' is that of `apply -f`.",
            )
        self._store = store
        self._source = source
        self._clock = clock
        self._emit = emit
        self._mutable_versions = mutable_versions
        self._heals = heals
        self._limit = limit
        self._approved = ""
        self._cache = ParseCache()
        self._store_id: str | None = None
        self._loaded: tuple[str, Loaded, dict[str, Wanted]] | None = None
        self._earlier: _Readable | None = None
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
        return self._cache.parsed_files

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
        from what is applied; otherwise nothing happens then, and ``Outcome.is_in_doubt``. ``intent`` is what
        operators said.
        """
        identity = Identity(self._source.name, self._source.kind, self._source.location)
        self._approved = intent.approved if intent else ""

        def decide(view: View) -> Decision:
            self._store_id = view.store_id
            newest = revision.id if revision else view.own.seen if view.own else ""
            rollback = intent.rollback_of(newest) if intent else None
            if rollback is not None:
                return self._roll_back(view, rollback, revision, failure)
            return self._decide(view, revision, failure, is_confirmed=is_confirmed)

        outcome = reconcile(self._store, fence, identity, decide, store_id=self._store_id, clock=self._clock)
        self._tell(revision, outcome)
        if outcome.decision.plan is not None and is_due(outcome.decision.plan.retired, self._clock.wall()):
            self._delete_late(fence)
        self._record_provenance(fence, outcome.decision)
        return outcome

    def _decide(
        self, view: View, revision: Revision | None, failure: SourceError | None, *, is_confirmed: bool
    ) -> Decision:
        problems: list[str] = [] if failure is None else [failure.message]
        if revision is not None:
            relation = self._relation(view.own, revision)
            if relation is False and not is_confirmed:
                return Decision()
            loaded, wanted = self._load(revision)
            problems += map(str, loaded.errors)
            if loaded.valid:
                made = self._plan(view, revision.id, wanted, is_related=relation is not None)
                problems += made.problems
                if not made.problems:
                    self._earlier = _Readable(_target(revision), wanted, revision.files)
                    return self._decision(view, _target(revision), made, _report(revision, problems))
        own = problems[1:] if failure else problems
        report = _report(revision, problems, refusal=own[0] if own else "")
        earlier = self._applied(view.own)
        if earlier is not None:
            made = self._plan(view, earlier.target.revision, earlier.wanted)
            if not made.problems:
                return self._decision(view, earlier.target, made, report)
        return Decision(report=report)

    def _roll_back(
        self, view: View, rollback: Rollback, revision: Revision | None, failure: SourceError | None
    ) -> Decision:
        """What an operator went back to, in the place of the newest revision, which they said is bad."""
        problems = [] if failure is None else [failure.message]
        earlier = self._at(rollback.revision)
        if earlier is None:
            problems.append(
                f"{rollback.by} rolled back to revision {short(rollback.revision)}, which can't be had here"
            )
            return Decision(report=_report(revision, problems))
        made = self._plan(view, earlier.target.revision, earlier.wanted)
        if made.problems:
            return Decision(report=_report(revision, [*problems, *made.problems]))
        reason = f"by {rollback.by}: {rollback.reason}" if rollback.reason else f"by {rollback.by}"
        back = msgspec.structs.replace(earlier.target, result="rolled back", detail=reason)
        return self._decision(view, back, made, _report(revision, problems))

    def _decision(self, view: View, target: Target, made: Plan, report: Report) -> Decision:
        mark = view.own.mark if view.own else None
        is_repair = mark is not None and mark.settled and mark.revision == target.revision
        if is_repair and made.changes and not self._heals:
            drift = tuple(map(described, made.changes))
            return Decision(
                target=target,
                plan=msgspec.structs.replace(made, changes=(), after=made.before),
                report=msgspec.structs.replace(report, drift=drift),
                left=made.changes,
            )
        return Decision(target=target, plan=made, report=report, is_repair=is_repair)

    def _plan(self, view: View, revision: str, wanted: dict[str, Wanted], *, is_related: bool = True) -> Plan:
        goal = Goal(revision=revision, wanted=wanted, is_related=is_related, mutable_versions=self._mutable_versions)
        return braked(plan(view, goal, self._clock.wall()), view, revision, self._limit, self._approved)

    def _relation(self, own: SourceState | None, revision: Revision) -> bool | None:
        """Whether the revision comes after the one that is applied, or on its way; None: nobody knows."""
        applied = _applied_id(own)
        return True if not applied or applied == revision.id else self._source.follows(revision.id, applied)

    def _applied(self, own: SourceState | None) -> "_Readable | None":
        """What is applied now, or on its way; None if it can't be had any more."""
        applied = _applied_id(own)
        return self._at(applied) if applied else None

    def _at(self, revision_id: str) -> "_Readable | None":
        """What an earlier revision declares; None if it can't be had any more."""
        if self._earlier is not None and self._earlier.target.revision == revision_id:
            return self._earlier
        revision = self._source.at(revision_id)
        if revision is None:
            return None
        loaded, wanted = self._read(revision)
        if not loaded.valid:
            return None
        self._earlier = _Readable(_target(revision), wanted, revision.files)
        return self._earlier

    def _load(self, revision: Revision) -> tuple[Loaded, dict[str, Wanted]]:
        """What the newest revision declares; nothing is done again while its files are the same."""
        if self._loaded is None or self._loaded[0] != revision.content:
            self._loaded = (revision.content, *self._read(revision))
        return self._loaded[1:]

    def _read(self, revision: Revision) -> tuple[Loaded, dict[str, Wanted]]:
        loaded = load(revision.files.items(), cache=self._cache)
        before = self._loaded[2] if self._loaded else None
        return loaded, wanted_of(self._source.name, [(each.object, each.origin) for each in loaded.objects], before)

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
            for problem in self._loaded[1].warnings[:_MOST_WARNINGS] if self._loaded else ():
                self._say(str(problem))
            if revision.passed_over:
                self._say(
                    f"never followed, whatever is behind them: {', '.join(revision.passed_over[:_MOST_WARNINGS])}"
                )
        self._told = told

    def _record_provenance(self, fence: Held, decision: Decision) -> None:
        """Say where the objects of what is applied now are written."""
        now, target, made = self._earlier, decision.target, decision.plan
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


def _target(revision: Revision) -> Target:
    return Target(revision.id, revision.author, revision.subject)


def _report(revision: Revision | None, problems: list[str], *, refusal: str = "") -> Report:
    if revision is None:
        return Report(None, problems)
    return Report(revision.id, problems, revision.author, revision.subject, refusal=refusal)
