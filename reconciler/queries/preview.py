"""``reconciler plan``: what a revision would change in the store, and then which tasks start, stop and move.

The same comparison as ``sync`` makes, and the same plans as schedulers make, on a frozen copy; nothing is written.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from reconciler.errors import UsageError
from reconciler.manifests.load import ParseCache, load
from reconciler.model import keys
from reconciler.model.codec import encode
from reconciler.model.source_state import SourceState, SyncMark
from reconciler.queries.field_changes import FieldChange, field_changes, main_fields
from reconciler.queries.forecast import Forecast, Unplaced, forecast
from reconciler.queries.overrides import OverrideRow, all_said, overrides
from reconciler.queries.snapshot_file import freeze
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.snapshot import Snapshot
from reconciler.store.frozen import FrozenStore
from reconciler.store.interface import Store
from reconciler.sync import observe, overridden
from reconciler.sync.brake import DeletionLimit, braked
from reconciler.sync.checks import CHECKS
from reconciler.sync.config_view import View, label, object_at
from reconciler.sync.passes import APPLY
from reconciler.sync.plan import Change, Create, Delete, Goal, Plan, Wanted, plan, revision_of, wanted_of
from reconciler.sync.plan_hash import plan_hash

ACTIONS: Final = {Create: "create", Delete: "delete"}


class ObjectChange(msgspec.Struct, frozen=True, kw_only=True):
    """An object that is written or deleted. ``origin``: where it is declared."""

    action: str
    key: str
    object: str
    fields: tuple[FieldChange, ...]
    origin: str | None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON form of it is stable. ``refused``: why sync would not apply it. ``kept``: deleted only much later.

    ``does_not_fit`` are those of ``tasks.unplaced`` that would not be there without the change.
    """

    source: str
    revision: str
    hash: str
    changes: tuple[ObjectChange, ...]
    unchanged: int
    kept: tuple[str, ...]
    refused: tuple[str, ...]
    warnings: tuple[str, ...]
    tasks: Forecast
    does_not_fit: tuple[Unplaced, ...]
    overrides: tuple[OverrideRow, ...] = ()
    """What operators changed by hand, and stays in force; ``ended``: what the change ends."""
    ended: tuple[OverrideRow, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether anything would be written."""
        return bool(self.changes)

    @property
    def fits(self) -> bool:
        """Whether every task finds a place, but for those that have none now; False when nobody can say."""
        return not self.does_not_fit and not self.tasks.unfinished


def preview(
    store: Store,
    files: Sequence[tuple[str, bytes]],
    *,
    source: str | None,
    environment: str | None = None,
    revision: str | None = None,
    now: float,
    is_related: bool = True,
    limit: DeletionLimit | None = None,
    location: str | None = None,
) -> Preview:
    """What ``files``, read at ``location``, come to as what ``source`` declares (None: the only source that there is).

    Raises:
        InvalidManifests: says every problem.
        UsageError: nobody can say which source is meant.
        StoreError: the store could not be read.
    """
    frozen = freeze(store)
    name = source or only_source(frozen)
    view = observe.observe(frozen, name, None)
    stored = (object_at(key, each.value) for key, each in view.config.items()) if name == APPLY else ()
    there = [thing for thing in stored if thing is not None]
    loaded = load(files, cache=ParseCache(CHECKS), known=there, environment=environment)
    loaded.raise_if_invalid()
    wanted = wanted_of(name, [(each.object, each.origin) for each in loaded.objects])
    goal = Goal(
        revision=revision or revision_of(wanted),
        wanted=wanted,
        prunes=name != APPLY,
        is_related=is_related,
        location=location,
        environment=environment,
    )
    intent, _ = observe.intent_of(frozen, name)
    made = braked(plan(view, goal, now), view, goal, limit, intent.approved if intent else "")
    is_now, will_be = _snapshot(frozen), _snapshot(_applied(frozen, view, goal, made, now))
    before, after = forecast(is_now, now), forecast(will_be, now)
    left = {(each.kind, each.name, each.field) for each in all_said(will_be)}
    return Preview(
        source=name,
        revision=goal.revision,
        hash=plan_hash(view, goal.revision, made.changes),
        changes=tuple(_shown(view, wanted, change) for change in made.changes),
        unchanged=made.unchanged,
        kept=tuple(label(keys.TASK_DEFINITIONS + each) for each in sorted(made.retired)),
        refused=made.problems,
        warnings=tuple(map(str, loaded.warnings)),
        tasks=after,
        does_not_fit=new_unplaced(before, after),
        overrides=overrides(will_be),
        ended=tuple(each for each in all_said(is_now) if (each.kind, each.name, each.field) not in left),
    )


def only_source(store: Store) -> str:
    """The source that is meant when none is named."""
    names = [entry.key.removeprefix(keys.SOURCES) for entry in store.list(keys.SOURCES).entries]
    names = [name for name in names if name != APPLY]
    if len(names) == 1:
        return names[0]
    if not names:
        return APPLY
    raise UsageError(
        f"{store.url} has several sources: {', '.join(names)}",
        hint="Say with --source which of them the manifests are.",
    )


def new_unplaced(before: Forecast, after: Forecast) -> tuple[Unplaced, ...]:
    """What finds no place because of the change: not there before, or more of it."""
    known = {(each.cluster, each.service): each.count for each in before.unplaced}
    return tuple(each for each in after.unplaced if each.count > known.get((each.cluster, each.service), 0))


def _snapshot(store: FrozenStore) -> Snapshot:
    return Observer(store).read().scene.snapshot


def _applied(store: FrozenStore, view: View, goal: Goal, made: Plan, now: float) -> FrozenStore:
    """The store once all of a plan is written."""
    values: dict[str, bytes | None] = {
        change.key: None if isinstance(change, Delete) else change.value for change in made.changes
    }
    is_repair = goal.prunes and view.is_at(goal.revision, goal.location)
    if not is_repair:  # as in sync: to put right what was changed by hand ends nothing
        for ending in overridden.endings(view, made.changes, observe.said_by_hand(store), now).values():
            values[ending.key] = ending.value
    own = view.own or SourceState(
        source=view.source, kind="", location="", mark=SyncMark(settled=True, revision=goal.revision), applied_at=now
    )
    mark = SyncMark(settled=True, revision=goal.revision, chunk=own.mark.chunk + 1, counts=made.after)
    values[keys.source(view.source)] = encode(msgspec.structs.replace(own, mark=mark))
    return store.with_values(values)


def _shown(view: View, wanted: Mapping[str, Wanted], change: Change) -> ObjectChange:
    fields: tuple[FieldChange, ...] = ()
    if isinstance(change, Create):
        fields = main_fields(change.value)
    elif not isinstance(change, Delete):
        fields = field_changes(view.config[change.key].value, change.value)
    return ObjectChange(
        action=ACTIONS.get(type(change), "update"),
        key=change.key,
        object=label(change.key),
        fields=fields,
        origin=str(wanted[change.key].origin) if change.key in wanted else None,
    )
