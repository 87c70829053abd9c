"""Observe, decide, write, until all of it is there. Shared by the passes over a source and ``apply -f``.

Each round looks at everything anew and writes only what differs, so it may be killed at any line; whatever is left is
done by the next one, of this process or another.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from reconciler.errors import StoreError
from reconciler.runtime.clock import Clock
from reconciler.store.interface import Held, Store
from reconciler.sync import apply, observe, overridden
from reconciler.sync.adoption import inherited
from reconciler.sync.config_view import View
from reconciler.sync.outcome import Decision, Outcome, ended_text
from reconciler.sync.overridden import Ending
from reconciler.sync.plan import Create
from reconciler.sync.source_state import Identity, refused, settled

Decide: TypeAlias = Callable[[View], Decision]

ATTEMPTS: Final = 8
"""How often a pass plans anew without coming further, before it is left to the next one."""
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
    ended: dict[str, None] = {}
    attempts, chunk = 0, -1
    while True:
        view = observe.observe(store, identity.source, store_id)
        decision = decide(view)
        first = first or decision
        ends = _ends(store, view, decision, clock)
        ended |= dict.fromkeys(each.said for each in ends.values() if each.said)
        result = _carry_out(store, fence, identity, view, decision, ends, clock)
        if isinstance(result, apply.Done):
            return Outcome(decision=first, ended=tuple(ended))
        lock = store.get(fence.key)
        if lock is None or lock.holder != fence.session:
            raise StoreError(f"the lock {fence.key} is lost; whoever holds it now goes on")
        reached = view.own.mark.chunk if view.own else 0
        attempts = 1 if reached != chunk else attempts + 1
        chunk = reached
        if attempts >= ATTEMPTS:
            raise StoreError(f"source {identity.source} could not be written: {result.why}")


def _ends(store: Store, view: View, decision: Decision, clock: Clock) -> dict[str, Ending]:
    """What operators said and the revision ends. To put right what was changed by hand ends nothing."""
    changes = decision.plan.changes if decision.plan is not None and not decision.is_repair else ()
    if not any(overridden.record_of(view, change) for change in changes):
        return {}
    return overridden.endings(view, changes, observe.said_by_hand(store), clock.wall())


def _carry_out(
    store: Store,
    fence: Held,
    identity: Identity,
    view: View,
    decision: Decision,
    ends: Mapping[str, Ending],
    clock: Clock,
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
    if said := [each.said for each in ends.values() if each.said]:
        target = msgspec.structs.replace(target, detail="; ".join(filter(None, (target.detail, ended_text(said)))))
    goal = settled(view.own, identity, target, made, report, clock.wall(), inherited(view, made.handover))
    return apply.carry_out(store, fence, view, made.changes, goal, made.handover, ends)
