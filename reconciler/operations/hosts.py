"""``hosts forget``: take a host that is gone for good out of the store. Called by the command of that name."""

import contextlib
from collections.abc import Iterable

import msgspec

from reconciler.errors import RevisionRefused, StoreDenied, StoreError, UsageError
from reconciler.model import keys
from reconciler.model.codec import decode
from reconciler.model.task import Task
from reconciler.store.interface import Committed, DeleteIf, Entry, Store


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed, by key; ``tasks`` are still issued there, and count as on a host that is gone."""

    host: str
    removed: tuple[str, ...]
    tasks: tuple[str, ...] = ()


def forget(store: Store, name: str, *, is_gone: bool = False) -> Forgotten:
    """Remove what a host said of itself and of its tasks, and what operators said of it; ``config/*`` stays.

    ``is_gone``: also while tasks are issued there, since it is certain that they do not run any more. Nothing is
    written when an agent has come back meanwhile: each key is compared with what was read.

    Raises:
        UsageError: nothing is known of such a host.
        RevisionRefused: its agent is there, or tasks are issued there.
        StoreError: something moved meanwhile, or the store does not answer.
    """
    mine = (keys.host_state(name), keys.status(name), keys.host_override(name))
    found = store.get_all(mine)
    state = found.get(keys.host_state(name))
    if state is None and keys.status(name) not in found:
        raise UsageError(f"no host {name} has reported itself in {store.url}", hint="`reconciler hosts` shows them.")
    if state is not None and state.holder is not None:
        raise RevisionRefused(
            f"host {name} is there: its agent holds {state.key}",
            hint=f"`reconciler drain {name} --wait` empties it; then stop its agent, and forget it.",
        )
    tasks = _issued_to(name, store.list(keys.TASKS_BY_ID).entries)
    if tasks and not is_gone:
        shown = ", ".join(tasks[:5]) + (f" and {len(tasks) - 5} more" if len(tasks) > 5 else "")
        raise RevisionRefused(
            f"{len(tasks)} tasks are issued to host {name}: {shown}",
            hint="They are replaced once it is lost to their services. If you are certain that nothing of it runs any "
            f"more, say `reconciler hosts forget {name} --gone`: then it does not count among the missing hosts.",
        )
    outcome = store.commit([DeleteIf(key, entry.index) for key, entry in found.items()])
    if not isinstance(outcome, Committed):
        raise StoreError(f"host {name} may still be there: {outcome.why}", hint="Look with `reconciler hosts`.")
    _free_place(store, keys.placeholder(name))
    return Forgotten(host=name, removed=tuple(sorted(found)), tasks=tasks)


def _free_place(store: Store, key: str) -> None:
    """It says nothing, and operators need no right to write beside tasks: where it may not be removed, it stays."""
    if (entry := store.get(key)) is not None:
        with contextlib.suppress(StoreDenied):
            store.commit([DeleteIf(key, entry.index)])


def _issued_to(host: str, entries: Iterable[Entry]) -> tuple[str, ...]:
    tasks = (decode(entry.value, Task, entry.key) for entry in entries)
    return tuple(sorted(task.id for task in tasks if task.host == host))
