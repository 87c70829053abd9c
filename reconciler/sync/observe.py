"""Reads what sync decides from: the sentinels, ``config/*``, the marks of all sources, and what tasks name.

Nothing is concluded from a part: a sentinel that is missing or another one, or a listing without it, raises.
"""

from collections.abc import Iterable

from reconciler.errors import StoreError, StoreNotOurs
from reconciler.model import keys
from reconciler.model.codec import Undecodable, decode
from reconciler.model.intents import Adoption, SourceIntent
from reconciler.model.source_state import SourceState
from reconciler.model.task import Task
from reconciler.store import sentinel
from reconciler.store.interface import Entry, Store
from reconciler.sync.config_view import Stored, View, is_object, label, owner_of

ATTEMPTS = 5


def observe(store: Store, source: str, store_id: str | None) -> View:
    """``config/*`` between two equal readings of the marks.

    When other sources go on moving theirs, what is read still says all about ``source``, whose mark did not move; the
    view says that it was not still. ``store_id`` is that of earlier readings, None for the first.

    Raises:
        StoreNotOurs: the store was wiped, is another one now, or is not shown to us as a whole.
        StoreError: it could not be read.
    """
    found = sentinel.read(store)
    if store_id is not None and found != store_id:
        raise StoreNotOurs(
            f"{store.url} is another store now ({found} instead of {store_id}); nothing is written to it",
            hint="If that is meant (it was wiped or restored on purpose), start this process again.",
        )
    own = keys.source(source)
    for attempt in range(ATTEMPTS):
        before = _marks(store)
        entries = store.list(keys.CONFIG).entries
        after = _marks(store)
        is_still = _indexes(before) == _indexes(after)
        if is_still or (attempt == ATTEMPTS - 1 and _indexes(before).get(own) == _indexes(after).get(own)):
            break
    else:
        raise StoreError(f"somebody else goes on writing {own}")
    if not any(entry.key == keys.CONFIG_SENTINEL and sentinel.store_id(entry) == found for entry in entries):
        raise StoreNotOurs(
            f"{store.url}: what is listed under {keys.CONFIG} lacks {keys.CONFIG_SENTINEL}, so it is not all there is",
            hint="The token may lack the right to read all of it.",
        )
    config = {e.key: Stored(e.value, e.index, owner_of(e.value)) for e in entries if is_object(e.key)}
    return View(
        source=source,
        store_id=found,
        config=config,
        sources=dict(_states(after)),
        marks=_indexes(after),
        moved=next((entry.index for entry in entries if entry.key == keys.MOVED), 0),
        still=is_still,
        promised=_promised(store, source, after),
    )


def intent_of(store: Store, source: str) -> tuple[SourceIntent | None, bytes]:
    """What operators said about a source, and the same as it is stored.

    Raises:
        Undecodable: nobody can say what they said; nothing is done then.
    """
    entry = store.get(keys.source_intent(source))
    return (intent_in(entry, source), entry.value) if entry else (None, b"")


def intent_in(entry: Entry, source: str) -> SourceIntent:
    """What operators said about a source, as it is stored.

    Raises:
        Undecodable: nobody can say what they said; says what to do.
    """
    try:
        return decode(entry.value, SourceIntent, entry.key)
    except Undecodable as error:
        raise Undecodable(
            f"{error}; nothing is written for source {source}, since nobody can say what operators want",
            hint=f"Mend it; or delete it with `reconciler resume {source} --discard`, and say again what it said.",
        ) from error


def said_by_hand(store: Store) -> dict[str, Stored]:
    """What operators said about services and hosts, by key."""
    entries = (each for prefix in (keys.SERVICE_OVERRIDES, keys.HOST_OVERRIDES) for each in store.list(prefix).entries)
    return {each.key: Stored(each.value, each.index, None) for each in entries}


def confirm_missing(store: Store, missing: Iterable[str]) -> None:
    """Make sure that keys which were not listed are not there: a token without rights is shown less than there is.

    Raises:
        StoreDenied, StoreNotOurs: one of them is.
    """
    for key in missing:
        if store.get(key) is not None:
            raise StoreNotOurs(
                f"{store.url} lists no {label(key)}, and yet it is there: what is listed is not all there is",
                hint="The token may lack the right to read all of it.",
            )


def definitions_in_records(store: Store) -> tuple[frozenset[tuple[str, int]], int] | None:
    """The definitions that issued tasks name, and the index of ``state/placement`` before they were read.

    None: a record can't be understood.
    """
    placement = store.get(keys.PLACEMENT)
    try:
        tasks = [decode(entry.value, Task, entry.key) for entry in store.list(keys.TASKS_BY_ID).entries]
    except Undecodable:
        return None
    return frozenset((task.task_name, task.task_version) for task in tasks), placement.index if placement else 0


def _promised(store: Store, source: str, marks: tuple[Entry, ...]) -> dict[str, Adoption]:
    """What other sources are about to adopt from this one. What can't be read is adopted by nobody either."""
    adopted = {name: state.adopted for name, state in _states(marks)}
    found = {}
    for entry in store.list(keys.SOURCE_INTENTS).entries:
        try:
            intent = decode(entry.value, SourceIntent, entry.key)
        except Undecodable:
            continue
        name = entry.key.removeprefix(keys.SOURCE_INTENTS)
        # a source that has no record yet carries out nothing that was ordered before
        adoption = intent.adoption_after(adopted[name]) if name in adopted else None
        if name != source and adoption is not None and source in adoption.origins:
            found[name] = adoption
    return found


def _marks(store: Store) -> tuple[Entry, ...]:
    return store.list(keys.SOURCES).entries


def _indexes(entries: tuple[Entry, ...]) -> dict[str, int]:
    return {entry.key: entry.index for entry in entries}


def _states(entries: tuple[Entry, ...]) -> Iterable[tuple[str, SourceState]]:
    for entry in entries:
        try:
            yield entry.key.removeprefix(keys.SOURCES), decode(entry.value, SourceState, entry.key)
        except Undecodable:
            continue
