"""``apply --plan``: write what a saved plan says, with the same lock, mark and code as the sync of its source.

The plan was looked at, so it stands for itself: neither the limit on deletions nor the gate comes into it.
"""

import msgspec

from reconciler.errors import RevisionRefused
from reconciler.manifests.load import ParseCache, load
from reconciler.model import keys
from reconciler.model.revisions import short
from reconciler.operations.apply import ApplyResult, declared, planned, result_of
from reconciler.operations.saved_plan import SavedPlan, is_begun, is_done, refuse_moved
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.runtime.whoami import whoami
from reconciler.store.interface import Store
from reconciler.sync import gate, observe
from reconciler.sync.checks import CHECKS
from reconciler.sync.config_view import View, object_at
from reconciler.sync.lock import LOCK_WAIT_S, holding
from reconciler.sync.once import refuse_suspended
from reconciler.sync.outcome import Decision
from reconciler.sync.passes import APPLY
from reconciler.sync.plan import Goal, Wanted
from reconciler.sync.provenance_record import Applied, ProvenanceRecord
from reconciler.sync.reconcile import reconcile
from reconciler.sync.source_state import Report, Target


def apply_plan(
    store: Store, saved: SavedPlan, *, clock: Clock | None = None, lock_wait_s: float = LOCK_WAIT_S
) -> ApplyResult:
    """Write a saved plan; one of which a part is written already is completed.

    Raises:
        RevisionRefused: nothing was written, since something moved, or an operator or the gate said otherwise.
        StoreError: the store does not answer, or a sync of the source runs.
    """
    clock = clock or SystemClock()
    cache = ParseCache(CHECKS)
    what, source = saved.declared, saved.declared.identity.source
    prunes = source != APPLY
    warnings: list[str] = []
    mine: set[str] = set()
    wanted: dict[str, Wanted] = {}

    def decide(view: View) -> Decision:
        nonlocal wanted
        _refuse_against_orders(store, view, what.revision, clock.wall())
        stored = () if prunes else (object_at(key, each.value) for key, each in view.config.items())
        there = [thing for thing in stored if thing is not None]
        loaded = load(what.files, cache=cache, known=there, environment=what.environment)
        warnings[:] = map(str, loaded.warnings)
        wanted = declared(source, loaded)
        mine.update(view.mine())
        begun = is_begun(saved, view)
        location = what.identity.location
        goal = Goal(
            revision=what.revision,
            wanted=wanted,
            prunes=prunes,
            is_related=what.is_related or begun,
            location=location,
            environment=what.environment,
        )
        made = planned(view, goal, clock)
        if not begun and not is_done(saved, view, made):
            refuse_moved(saved, view, made)
        target = Target(what.revision, what.author, what.subject, detail=f"a saved plan, by {whoami()}")
        report = Report(what.revision, (), what.author, what.subject)
        is_repair = prunes and view.is_at(what.revision, location)
        return Decision(target=target, plan=made, report=_as_the_gate_had_it(view, report), is_repair=is_repair)

    with holding(store, source, wait_s=lock_wait_s, clock=clock) as fence:
        outcome = reconcile(store, fence, what.identity, decide, store_id=None, clock=clock)
        record = ProvenanceRecord(store, source, by=whoami(), last_changes=None, say=warnings.append)
        retired = outcome.decision.plan.retired if outcome.decision.plan else ()
        kept = {keys.TASK_DEFINITIONS + name for name in retired} if prunes else mine - wanted.keys()
        record.update(fence, Applied(what.revision, wanted, dict(what.files)), kept, clock.wall(), is_whole=prunes)
    return result_of(outcome, warnings)


def _as_the_gate_had_it(view: View, report: Report) -> Report:
    """A trial of this very revision goes on, and what is quarantined in its favour stays so."""
    own = view.own
    trial = own.trial if own and own.trial and own.trial.revision == report.seen else None
    quarantine = own.quarantine if own and own.quarantine and own.quarantine.revision == report.seen else None
    return msgspec.structs.replace(report, trial=trial, quarantine=quarantine)


def _refuse_against_orders(store: Store, view: View, revision: str, now: float) -> None:
    """What operators and the gate said about the source holds for a plan as well."""
    refuse_suspended(store, view.source, now)
    intent, _ = observe.intent_of(store, view.source)
    back = (intent.rollback_of(revision) if intent else None) or gate.in_force(view.own, intent, revision)
    if back is not None:
        raise RevisionRefused(
            f"revision {short(revision)} was taken back by {back.by}: {back.reason or 'no reason given'}",
            hint=f"`reconciler resume {view.source}` lets it be applied again.",
        )
