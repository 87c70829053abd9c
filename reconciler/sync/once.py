"""One pass over a source and no more, for cron and CI: ``sync --once``."""

import time

from reconciler.errors import RevisionRefused, SourceError
from reconciler.manifests.source import Revision, Source
from reconciler.model.revisions import short
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.store.interface import Held, Store
from reconciler.sync import observe
from reconciler.sync.brake import DeletionLimit
from reconciler.sync.gate import LOOK_S, Gate, reason_of
from reconciler.sync.lock import LOCK_WAIT_S, holding
from reconciler.sync.outcome import Outcome
from reconciler.sync.passes import Emit, SourceSync

WAIT_S = 600.0


def sync_once(
    store: Store,
    source: Source,
    *,
    clock: Clock | None = None,
    emit: Emit,
    mutable_versions: bool = False,
    heals: bool = True,
    limit: DeletionLimit | None = None,
    health_gate: Gate | None = None,
    wait_s: float = WAIT_S,
    lock_wait_s: float = LOCK_WAIT_S,
) -> Outcome:
    """One pass; with a gate, as many as it takes to know whether the revision is good, for at most ``wait_s``.

    Raises:
        RevisionRefused: what is declared is not applied, and why; or the source is suspended; or nobody knows yet.
        SourceError, StoreError: it could not be done.
    """
    clock = clock or SystemClock()
    sync = SourceSync(
        store,
        source,
        clock=clock,
        emit=emit,
        mutable_versions=mutable_versions,
        heals=heals,
        limit=limit,
        health_gate=health_gate,
    )
    with holding(store, source.name, wait_s=lock_wait_s, clock=clock) as fence:
        refuse_suspended(store, source.name, clock.wall())
        try:
            revision = source.read()
        except SourceError as failure:
            intent, _ = observe.intent_of(store, source.name)
            sync.run(fence, None, failure, is_confirmed=True, intent=intent)
            raise
        first = last = _pass(store, source, sync, fence, revision)
        deadline = clock.monotonic() + wait_s
        while _is_open(last, health_gate):
            if clock.monotonic() >= deadline:
                raise _undecided(revision, sync, wait_s)
            time.sleep(LOOK_S)
            if sync.trials.look():
                refuse_suspended(store, source.name, clock.wall())
                last = _pass(store, source, sync, fence, revision)
    if last.problems:
        raise RevisionRefused("\n".join([f"revision {revision.id} is not applied:", *last.problems]))
    applied = last.decision.target
    if last is not first and applied is not None and applied.revision != revision.id:
        raise RevisionRefused(
            f"revision {revision.id} was applied, and {short(applied.revision)} in its place since: {applied.detail}"
        )
    if last.sick:
        what = f"revision {revision.id} is applied and does not become healthy; there is nothing to go back to:"
        raise RevisionRefused("\n".join([what, *last.sick]))
    return first


def _pass(store: Store, source: Source, sync: SourceSync, fence: Held, revision: Revision) -> Outcome:
    intent, _ = observe.intent_of(store, source.name)
    return sync.run(fence, revision, is_confirmed=True, intent=intent)


def _is_open(outcome: Outcome, health_gate: Gate | None) -> bool:
    """Whether it is worth waiting: what was applied may still turn out good or bad."""
    is_tried = health_gate is not None and health_gate.limit_s is not None and outcome.trial is not None
    return is_tried and not outcome.problems and not outcome.sick


def _undecided(revision: Revision, sync: SourceSync, wait_s: float) -> RevisionRefused:
    waiting = reason_of(sync.trials.waiting)
    return RevisionRefused(
        f"revision {short(revision.id)} is applied, and after {wait_s:g} s nobody knows whether it is good: {waiting}",
        hint="It stays on trial: whoever syncs next goes on with it.",
    )


def refuse_suspended(store: Store, source: str, now: float) -> None:
    """Raise RevisionRefused if an operator suspended the source; ``now`` is wall time."""
    intent, _ = observe.intent_of(store, source)
    suspension = intent.suspension(now) if intent else None
    if suspension is not None:
        raise RevisionRefused(
            f"source {source} is suspended by {suspension.by}: {suspension.reason or 'no reason given'}",
            hint=f"`reconciler resume {source}` ends that.",
        )
