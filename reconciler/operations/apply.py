"""``apply -f``: write manifests by hand. The source called ``apply``: the same lock, mark and code as any other source.

It never deletes anything, and takes over nothing that a source manages. Works beside running daemons.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from reconciler.errors import RevisionRefused
from reconciler.manifests.load import Loaded, ParseCache, load
from reconciler.model import keys
from reconciler.model.events import Event
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.runtime.whoami import whoami
from reconciler.store.interface import Store
from reconciler.sync.checks import CHECKS
from reconciler.sync.config_view import View, label, object_at
from reconciler.sync.lock import LOCK_WAIT_S, holding
from reconciler.sync.outcome import Decision, Outcome, ended_text, events_of
from reconciler.sync.passes import APPLY
from reconciler.sync.plan import Create, Goal, Plan, Update, Wanted, plan, revision_of, wanted_of
from reconciler.sync.provenance_record import Applied, ProvenanceRecord
from reconciler.sync.reconcile import reconcile
from reconciler.sync.source_state import Identity, Report, Target

IDENTITY: Final = Identity(source=APPLY, kind="apply", location="reconciler apply -f")


class Written(msgspec.Struct, frozen=True):
    """An object: ``action`` is ``created``, ``updated`` or ``deleted``; ``fields`` are those that changed."""

    key: str
    object: str
    action: str
    fields: tuple[str, ...] = ()


class ApplyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``apply`` did; the JSON form of it is stable."""

    revision: str
    created: int
    updated: int
    deleted: int
    unchanged: int
    applied: tuple[Written, ...]
    warnings: tuple[str, ...]
    ended: tuple[str, ...] = ()
    """What operators said by hand, and ended because its field was changed."""

    def lines(self) -> list[str]:
        """For people: the warnings, a line for each object that was written, and the counts."""
        written = [
            f"{each.object} {each.action}" + (f" ({', '.join(each.fields)})" if each.fields else "")
            for each in self.applied
        ]
        deleted = f", {self.deleted} deleted" if self.deleted else ""
        counts = f"{self.created} created, {self.updated} updated{deleted}, {self.unchanged} unchanged"
        ended = [ended_text(self.ended)] if self.ended else []
        return [*self.warnings, *written, *ended, counts]


def apply(
    store: Store,
    files: Sequence[tuple[str, bytes]],
    *,
    clock: Clock | None = None,
    emit: Callable[[Event], None] | None = None,
    mutable_versions: bool = False,
    lock_wait_s: float = LOCK_WAIT_S,
    abandon_unfinished: bool = False,
    environment: str | None = None,
) -> ApplyResult:
    """Write what ``files`` (name, content) declare in an environment. What is stored already may be referred to.

    ``abandon_unfinished``: go on although another ``apply`` was killed before it had written everything.

    Raises:
        InvalidManifests: nothing was written; says every problem.
        RevisionRefused: nothing was written; an object is a source's, or a known version's content would change.
        StoreError: the store does not answer, or another ``apply`` does not end.
    """
    clock = clock or SystemClock()
    cache = ParseCache(CHECKS)
    warnings: list[str] = []
    mine: set[str] = set()
    wanted: dict[str, Wanted] = {}

    def decide(view: View) -> Decision:
        nonlocal wanted
        stored = (object_at(key, each.value) for key, each in view.config.items())
        there = [thing for thing in stored if thing is not None]
        loaded = load(files, cache=cache, known=there, environment=environment)
        warnings[:] = map(str, loaded.warnings)
        wanted = declared(APPLY, loaded)
        mine.update(view.mine())
        revision = revision_of(wanted)
        _refuse_beside_unfinished(view, revision, abandon=abandon_unfinished)
        goal = Goal(revision=revision, wanted=wanted, prunes=False, mutable_versions=mutable_versions)
        return Decision(target=Target(revision), plan=planned(view, goal, clock), report=Report(revision))

    with holding(store, APPLY, wait_s=lock_wait_s, clock=clock) as fence:
        outcome = reconcile(store, fence, IDENTITY, decide, store_id=None, clock=clock)
        record = ProvenanceRecord(store, APPLY, by=whoami(), last_changes=None, say=warnings.append)
        applied = Applied(revision_of(wanted), wanted, dict(files))
        record.update(fence, applied, mine - wanted.keys(), clock.wall(), is_whole=False)
    if emit is not None:
        for event in events_of(APPLY, outcome):
            emit(event)
    return result_of(outcome, warnings)


def planned(view: View, goal: Goal, clock: Clock) -> Plan:
    """What is to be written.

    Raises:
        RevisionRefused: says why that may not be.
    """
    made = plan(view, goal, clock.wall())
    if made.problems:
        raise RevisionRefused("\n".join(["nothing was applied:", *made.problems]))
    return made


def declared(source: str, loaded: Loaded) -> dict[str, Wanted]:
    """By key, what manifests declare for a source. Raises InvalidManifests."""
    loaded.raise_if_invalid()
    return wanted_of(source, [(each.object, each.origin) for each in loaded.objects])


def result_of(outcome: Outcome, warnings: Sequence[str]) -> ApplyResult:
    """What an apply came to."""
    made, target = outcome.decision.plan, outcome.decision.target
    assert made is not None
    assert target is not None
    deleted = (Written(each.key, label(each.key), "deleted") for each in made.deletes)
    return ApplyResult(
        revision=target.revision,
        created=len(made.creates),
        updated=len(made.updates),
        deleted=len(made.deletes),
        unchanged=made.unchanged,
        applied=(*map(_created, made.creates), *map(_updated, made.updates), *deleted),
        warnings=tuple(warnings),
        ended=outcome.ended,
    )


def _created(change: Create) -> Written:
    return Written(change.key, label(change.key), "created")


def _updated(change: Update) -> Written:
    return Written(change.key, label(change.key), "updated", change.fields)


def _refuse_beside_unfinished(view: View, revision: str, *, abandon: bool) -> None:
    """An apply that was killed half-way has left a mix; only the same files can complete it."""
    mark = view.own.mark if view.own else None
    if mark is None or mark.settled or mark.to == revision or abandon:
        return
    raise RevisionRefused(
        f"an earlier `apply` ({mark.to}) was ended before it had written everything; "
        f"until that is completed, schedulers hold what {keys.source(APPLY)} stands for",
        hint="Apply the same files once more, and then these; if you have them no more: --abandon-unfinished.",
    )
