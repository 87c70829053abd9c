"""``reconciler snapshot``: all that a plan needs, as one JSON document, so that CI needs no way to the store.

It holds ``config/*`` and ``state/*`` as they are, and no more than that: no session, no token, no output of a program.
"""

import base64
from typing import Any, Final

import msgspec

from reconciler.errors import StoreUnreachable, UsageError
from reconciler.model import keys
from reconciler.store import sentinel
from reconciler.store.frozen import FrozenStore
from reconciler.store.interface import Entry, Store

VERSION: Final = 1
ATTEMPTS: Final = 5
_HELD: Final = "held"


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry: its value as JSON, or, if it is none, as ``raw`` bytes in base64. ``held``: its owner is alive."""

    key: str
    index: int
    value: Any = None
    raw: str | None = None
    held: bool = False


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The file. ``taken_at`` is seconds since 1970."""

    version: int
    taken_at: float
    store_id: str
    entries: tuple[Kept, ...]


def freeze(store: Store) -> FrozenStore:
    """Everything that a plan rests on, read at one moment.

    Raises:
        StoreNotOurs: there is no store of this program.
        StoreError: it could not be read.
    """
    if isinstance(store, FrozenStore):
        return store
    sentinel.read(store)
    for _ in range(ATTEMPTS):
        marks = store.list(keys.SOURCES).entries
        entries = [
            entry for prefix in (keys.STATE, keys.CONFIG, keys.SCHEDULER_LOCKS) for entry in store.list(prefix).entries
        ]
        if [mark.index for mark in marks] == [mark.index for mark in store.list(keys.SOURCES).entries]:
            return FrozenStore(store.url, entries)
    raise StoreUnreachable("what the sources applied changed during each of several readings")


def document(store: FrozenStore, now: float) -> Document:
    """A frozen store as the file holds it."""
    entries = [
        _kept(entry)
        for prefix in (keys.CONFIG, keys.STATE, keys.SCHEDULER_LOCKS)
        for entry in store.list(prefix).entries
        if not entry.key.startswith((keys.WAKES, keys.PROVENANCE))
    ]
    return Document(version=VERSION, taken_at=now, store_id=sentinel.read(store), entries=tuple(entries))


def parse(content: bytes, name: str) -> FrozenStore:
    """The store that a file holds.

    Raises:
        UsageError: it is no snapshot, or one of another version.
    """
    try:
        version = msgspec.json.decode(content, type=dict[str, Any]).get("version")
        if version == VERSION:
            found = msgspec.json.decode(content, type=Document)
            return FrozenStore(name, [_entry(kept) for kept in found.entries])
    except (ValueError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"{name} is not a snapshot: {error}", hint="Make one with `reconciler snapshot > fleet.json`."
        ) from error
    raise UsageError(
        f"{name} is a snapshot of version {version}, and this program reads version {VERSION}",
        hint="Make one with `reconciler snapshot` of this version.",
    )


def _kept(entry: Entry) -> Kept:
    held = entry.holder is not None
    try:
        value = msgspec.json.decode(entry.value)
    except (ValueError, msgspec.MsgspecError):
        return Kept(key=entry.key, index=entry.index, raw=base64.b64encode(entry.value).decode(), held=held)
    if entry.key.startswith(keys.STATUSES):
        value = _without_words(value)
    elif msgspec.json.encode(value) != entry.value:
        return Kept(key=entry.key, index=entry.index, raw=base64.b64encode(entry.value).decode(), held=held)
    return Kept(key=entry.key, index=entry.index, value=value, held=held)


def _without_words(status: Any) -> Any:
    """A host's status without what programs said: it may be anything, and no plan rests on it."""
    if not isinstance(status, dict):
        return {}
    status.pop("notes", None)
    for task in status.get("tasks", {}).values():
        task.pop("reason", None)
    for each in status.get("prepared", {}).values():
        each.pop("reason", None)
    return status


def _entry(kept: Kept) -> Entry:
    value = msgspec.json.encode(kept.value) if kept.raw is None else base64.b64decode(kept.raw)
    return Entry(kept.key, value, kept.index, _HELD if kept.held else None)
