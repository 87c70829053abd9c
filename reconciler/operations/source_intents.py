"""What operators say about a source: suspend, resume, roll back. Writes one key each, by compare-and-set (rule 14).

Sync reads it before each of its passes, and is woken; nothing else is written here, so it works while git is away.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from reconciler.errors import RevisionRefused, StoreError, UsageError
from reconciler.model import keys
from reconciler.model.codec import decode, encode
from reconciler.model.intents import Rollback, SourceIntent, Suspension
from reconciler.model.source_state import SourceState
from reconciler.runtime.ids import new_id
from reconciler.store.interface import Committed, DeleteIf, Put, PutIf, Store
from reconciler.sync import observe
from reconciler.sync.gate import in_force

ATTEMPTS: Final = 10
_FULL: Final = 40


def suspend(store: Store, source: str, suspension: Suspension) -> None:
    """Have nothing written for a source; changes what an earlier suspension said.

    Raises:
        UsageError: there is no such source.
    """
    read_state(store, source)
    change_intent(store, source, lambda intent: msgspec.structs.replace(intent, suspended=suspension))


def resume(store: Store, source: str, now: float) -> str:
    """End the suspension of a source; if there is none, its rollback, or its quarantine. Returns which, for people.

    Raises:
        RevisionRefused: there is none.
    """
    state = read_state(store, source)
    done = ""

    def change(intent: SourceIntent) -> SourceIntent:
        nonlocal done
        if intent.suspension(now) is not None:
            done = "is resumed"
            return msgspec.structs.replace(intent, suspended=None)
        if intent.rollback is not None:
            done = "follows its newest revision again"
            return msgspec.structs.replace(intent, suspended=None, rollback=None)
        quarantine = in_force(state, intent, state.seen)
        if quarantine is not None:
            done = "tries its newest revision again"
            return msgspec.structs.replace(intent, suspended=None, released=quarantine.since)
        raise RevisionRefused(f"source {source} is neither suspended nor rolled back")

    change_intent(store, source, change)
    return done


def discard(store: Store, source: str) -> bool:
    """Delete all that operators said about a source, readable or not; whether there was something.

    Raises:
        StoreError: somebody else goes on writing it.
    """
    key = keys.source_intent(source)
    for _ in range(ATTEMPTS):
        entry = store.get(key)
        if entry is None:
            return False
        if isinstance(store.commit([DeleteIf(key, entry.index)]), Committed):
            _wake(store, source)
            return True
    raise StoreError(f"somebody else goes on writing {key}")


def roll_back(store: Store, source: str, revision: str, *, by: str, reason: str, now: float) -> Rollback:
    """Have an earlier revision applied in the place of the newest one, until there is a newer one.

    ``revision``: a whole commit id, or the beginning of one in the source's history.

    Raises:
        UsageError: there is no such source, or it has no such revision.
        RevisionRefused: that is what is applied and newest.
    """
    state = read_state(store, source)
    target = _whole(state, revision)
    mark = state.mark
    skips = {mark.revision, mark.to or "", state.seen} - {"", target}

    rollback = Rollback(revision=target, skips=tuple(sorted(skips)), by=by, reason=reason, since=now)

    def change(intent: SourceIntent) -> SourceIntent:
        nonlocal rollback
        earlier = intent.rollback_of(state.seen)
        # going back one more step: what was skipped before is as bad as it was
        more = set(earlier.skips) if earlier else set()
        rollback = msgspec.structs.replace(rollback, skips=tuple(sorted((skips | more) - {target})))
        if not rollback.skips:
            raise RevisionRefused(f"source {source} is at revision {target[:12]}, and has seen no newer one")
        return msgspec.structs.replace(intent, rollback=rollback)

    change_intent(store, source, change)
    return rollback


def approve(store: Store, source: str, plan_hash: str) -> None:
    """Let one plan delete more than the limit of sync.

    Raises:
        UsageError: there is no such source.
    """
    read_state(store, source)
    change_intent(store, source, lambda intent: msgspec.structs.replace(intent, approved=plan_hash))


def read_state(store: Store, source: str) -> SourceState:
    """What is recorded of a source.

    Raises:
        UsageError: nothing is; names those of which something is.
    """
    key = keys.source(source)
    entry = store.get(key)
    if entry is None:
        names = sorted(each.key.removeprefix(keys.SOURCES) for each in store.list(keys.SOURCES).entries)
        raise UsageError(
            f"there is no source {source} in {store.url}",
            hint=f"There is {', '.join(names)}." if names else "No source has been applied yet.",
        )
    return decode(entry.value, SourceState, key)


def _whole(state: SourceState, revision: str) -> str:
    known = dict.fromkeys(each.revision for each in reversed(state.history))
    found = [each for each in known if each.startswith(revision)] if len(revision) >= 4 else []
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise UsageError(f"{revision} is the beginning of several revisions: {', '.join(found)}")
    if len(revision) == _FULL and not set(revision) - set("0123456789abcdef"):
        return revision  # older than the history; whether the mirror has it, sync says
    raise UsageError(
        f"{revision} is no revision in the history of source {state.source}",
        hint=f"`reconciler history {state.source}` lists them; an older one needs its whole commit id.",
    )


def read_intent(store: Store, source: str) -> SourceIntent:
    """What operators said about a source."""
    intent, _ = observe.intent_of(store, source)
    return intent or SourceIntent(source=source)


def change_intent(store: Store, source: str, change: Callable[[SourceIntent], SourceIntent]) -> None:
    """Change what operators say about a source, and wake it.

    Raises:
        Undecodable: nobody can say what they said before.
    """
    key = keys.source_intent(source)
    for _ in range(ATTEMPTS):
        entry = store.get(key)
        before = observe.intent_in(entry, source) if entry else SourceIntent(source=source)
        value = encode(change(before))
        if entry is not None and entry.value == value:
            return
        if isinstance(store.commit([PutIf(key, value, entry.index if entry else 0)]), Committed):
            _wake(store, source)
            return
    raise StoreError(f"somebody else goes on writing {key}")


def _wake(store: Store, source: str) -> None:
    store.commit([Put(keys.wake(source), msgspec.json.encode({"id": new_id()}))])
