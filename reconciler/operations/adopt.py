"""Hand objects over from one source to another, on a person's order: ``reconciler adopt`` calls it.

What is written here is one key, the new source's intent (rule 14); the objects change hands in that source's own pass,
and everything that can be known before is said before.
"""

from collections.abc import Mapping, Sequence

import msgspec

from reconciler.errors import RevisionRefused, UsageError
from reconciler.model import keys
from reconciler.model.intents import UNMANAGED, Adoption, SourceIntent
from reconciler.model.revisions import short
from reconciler.model.source_state import Contested, SourceState
from reconciler.operations.source_intents import change_intent, read_intent, read_state
from reconciler.store.interface import DeleteIf, Store
from reconciler.sync.adoption import named
from reconciler.sync.config_view import is_object, label, owner_of
from reconciler.sync.passes import APPLY

_SHOWN = 5


class Moved(msgspec.Struct, frozen=True):
    """An object that changes hands; ``owner`` is who had it (empty: nobody), ``fields`` what changes besides."""

    key: str
    object: str
    owner: str
    fields: tuple[str, ...] = ()


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What an adoption will do. ``stays`` is what the old sources keep, since the new one does not declare it.

    ``is_all`` False: there is more than the new source's record names.
    """

    source: str
    revision: str
    moves: tuple[Moved, ...]
    stays: tuple[str, ...]
    is_all: bool = True


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """What an adoption did; ``ended`` are the sources of which nothing was left, so that their records went too."""

    source: str
    adopted: tuple[Moved, ...]
    stays: tuple[str, ...]
    ended: tuple[str, ...]


def propose(store: Store, source: str, adoption: Adoption) -> Proposal:
    """What the adoption will come to, as far as the new source has said what it declares.

    Raises:
        UsageError: there is no such source or object.
        RevisionRefused: it would not be carried out, and why.
    """
    if source == APPLY:
        raise UsageError("`apply` adopts nothing: it has no revision of its own")
    state = read_state(store, source)
    owners = _owners(store)
    _check_sources(store, source, adoption, owners)
    claims = [each for each in state.contested if adoption.covers(each.key, each.owner)]
    is_all = len(state.contested) == state.contested_count
    if is_all:
        _check_objects(state, adoption, owners, claims)
        _check_others(state, claims)
    elif adoption.objects:
        raise RevisionRefused(
            f"source {source} declares {state.contested_count} objects of others: adopt --all of them"
        )
    different = [each for each in claims if each.fields]
    if different and not adoption.with_changes:
        lines = [f"{label(each.key)}: {', '.join(each.fields)}" for each in different[:_SHOWN]]
        raise RevisionRefused(
            "\n".join([f"{len(different)} objects are declared with other content than is stored:", *lines]),
            hint="Declare what is stored, so that nothing but their owner changes; or adopt them --with-changes.",
        )
    moving = {each.key for each in claims} | _passed_on(store, adoption)
    stays = [key for key, owner in owners.items() if owner in adoption.origins and owner and key not in moving]
    return Proposal(
        source=source,
        revision=state.seen,
        moves=tuple(Moved(each.key, label(each.key), each.owner, each.fields) for each in claims),
        stays=tuple(map(label, sorted(stays))) if is_all and not adoption.objects else (),
        is_all=is_all,
    )


def carried_out(store: Store, source: str, adoption: Adoption) -> Adopted | None:
    """What is to be said when this was carried out before, as of sources that ended with it; None if it was not."""
    try:
        state = read_state(store, source)
    except UsageError as error:
        hint = f"Start its `reconciler sync` (--name {source}) first: it is refused, and knows then what it may adopt."
        raise UsageError(error.message, hint=f"{hint} {error.hint}") from None
    before = read_intent(store, source).adoption
    if before is None or before.since != state.adopted or not _is_same(adoption, before):
        return None
    ended = tuple(name for name in adoption.origins if name and store.get(keys.source(name)) is None)
    if set(ended) != set(adoption.origins):
        return None
    for name in ended:
        _clear_away(store, name)
    return Adopted(source=source, adopted=(), stays=(), ended=ended)


def order(store: Store, source: str, adoption: Adoption) -> Adoption:
    """Have it carried out. One that was ordered before and is the same goes on.

    Raises RevisionRefused: another one is still to be carried out.
    """
    ordered = adoption

    def change(intent: SourceIntent) -> SourceIntent:
        nonlocal ordered
        before = intent.adoption_after(read_state(store, source).adopted)
        if before is not None:
            if not _is_same(adoption, before):
                raise RevisionRefused(
                    f"source {source} is still to adopt something else, as {before.by} said",
                    hint=f"`reconciler adopt {source} --cancel` takes that back.",
                )
            ordered = before
            return intent
        return msgspec.structs.replace(intent, adoption=adoption)

    change_intent(store, source, change)
    return ordered


def look(store: Store, source: str, adoption: Adoption) -> tuple[bool, str]:
    """Whether it is carried out, and if not, how it is, for people.

    Raises:
        RevisionRefused: the source refused it, and why.
    """
    state = read_state(store, source)
    if state.adopted == adoption.since:
        return True, ""
    if state.asked == adoption.since and state.mark.settled:
        raise RevisionRefused("\n".join(["nothing was adopted:", *state.problems]))
    if not state.mark.settled:
        return False, f"source {source} takes over; it is applying {short(state.mark.to or '')}"
    for name in filter(None, adoption.origins):
        entry = store.get(keys.source(name))
        if entry is not None and not read_state(store, name).mark.settled:
            return False, f"waiting until source {name} has finished what it applies"
    lock = store.get(keys.sync_lock(source))
    if lock is None or lock.holder is None:
        return False, f"nobody works on source {source}: start its `reconciler sync` (once is enough: --once)"
    return False, f"waiting for source {source}"


def withdraw(store: Store, source: str) -> Adoption | None:
    """Take back what was ordered, if it is not carried out yet, and return it; None: there was nothing.

    Raises:
        RevisionRefused: it is being carried out.
    """
    taken_back: Adoption | None = None

    def change(intent: SourceIntent) -> SourceIntent:
        nonlocal taken_back
        taken_back = _to_take_back(store, intent)
        return msgspec.structs.replace(intent, adoption=None)

    change_intent(store, source, change)
    return taken_back


def to_take_back(store: Store, source: str) -> Adoption | None:
    """What ``withdraw`` would take back now; raises as that does."""
    return _to_take_back(store, read_intent(store, source))


def _to_take_back(store: Store, intent: SourceIntent) -> Adoption | None:
    source, ordered = intent.source, intent.adoption
    state = read_state(store, source) if store.get(keys.source(source)) else None
    if ordered is None or state is None:
        return ordered
    ordered = intent.adoption_after(state.adopted)
    if ordered is not None and not state.mark.settled:
        raise RevisionRefused(f"source {source} is carrying it out; half of an adoption would hold its services")
    return ordered


def conclude(store: Store, proposal: Proposal, adoption: Adoption, owners: Mapping[str, str]) -> Adopted:
    """What became of it; ``owners`` are those of before. What is left of sources that ended is cleared away."""
    now = _owners(store)
    fields = {each.key: each.fields for each in proposal.moves}
    moved = [
        key for key, owner in owners.items() if owner in adoption.origins and now.get(key) == proposal.source
    ]  # fmt: skip
    ended = [name for name in adoption.origins if name and store.get(keys.source(name)) is None]
    for name in ended:
        _clear_away(store, name)
    return Adopted(
        source=proposal.source,
        adopted=tuple(Moved(key, label(key), owners[key], fields.get(key, ())) for key in sorted(moved)),
        stays=tuple(label(key) for key, owner in sorted(now.items()) if owner and owner in adoption.origins),
        ended=tuple(ended),
    )


def owners_of(store: Store, origins: Sequence[str]) -> dict[str, str]:
    """The objects of these sources, each with its own."""
    return {key: owner for key, owner in _owners(store).items() if owner in origins}


def key_of(text: str) -> str:
    """The key of an object as a person names it: ``services/web``, or the key itself. Raises UsageError."""
    key = text if text.startswith(keys.CONFIG) else keys.CONFIG + text
    if not is_object(key) or key.endswith("/"):
        raise UsageError(
            f"{text!r} names no object", hint="Such as services/web, clusters/main, task_definitions/web/3, hosts/h1."
        )
    return key


def _is_same(one: Adoption, other: Adoption) -> bool:
    return msgspec.structs.replace(one, by=other.by, since=other.since) == other


def _owners(store: Store) -> dict[str, str]:
    entries = store.list(keys.CONFIG).entries
    return {each.key: owner_of(each.value) or UNMANAGED for each in entries if is_object(each.key)}


def _passed_on(store: Store, adoption: Adoption) -> set[str]:
    """Definitions that go with all of a source, although nobody declares them any more."""
    found: set[str] = set()
    for name in adoption.origins if not adoption.objects else ():
        if name and store.get(keys.source(name)) is not None:
            found |= {keys.TASK_DEFINITIONS + each for each in read_state(store, name).retired}
    return found


def _check_sources(store: Store, source: str, adoption: Adoption, owners: Mapping[str, str]) -> None:
    for name in adoption.origins:
        if name == source:
            raise UsageError(f"{source} is the same source")
        if name == UNMANAGED or name in owners.values():
            continue
        read_state(store, name)  # says that there is none
    intent = read_intent(store, source)
    suspension = intent.suspension(adoption.since)
    if suspension is not None:
        raise RevisionRefused(
            f"source {source} is suspended by {suspension.by}, so nothing is written for it",
            hint=f"`reconciler resume {source}` ends that.",
        )
    for name in filter(None, adoption.origins):
        entry, lock = store.get(keys.source(name)), store.get(keys.sync_lock(name))
        is_gone = lock is None or lock.holder is None
        if entry is not None and is_gone and not adoption.abandon_unfinished:
            mark = read_state(store, name).mark
            if not mark.settled:
                raise RevisionRefused(
                    f"source {name} was ended in the middle of {short(mark.to or '')}, and nobody works on it now",
                    hint="Start it again, so that it comes to an end; if it is gone for good: --abandon-unfinished.",
                )


def _check_objects(
    state: SourceState, adoption: Adoption, owners: Mapping[str, str], claims: Sequence[Contested]
) -> None:
    claimed, source = {each.key for each in claims}, state.source
    seen = f"revision {short(state.seen)}"
    for key in adoption.objects:
        if key in claimed:
            continue
        if key not in owners:
            raise UsageError(f"there is no {label(key)} in the store")
        owner = owners[key]
        if owner == source:
            raise RevisionRefused(f"{label(key)} is managed by source {source} already")
        if owner not in adoption.origins:
            raise RevisionRefused(f"{label(key)} is managed by {named(owner)}")
        raise RevisionRefused(
            f"source {source} does not declare {label(key)}, as far as it was read: {seen}",
            hint="\n".join(state.problems[:_SHOWN]) or "Commit it there first; until then it stays where it is.",
        )
    if not claims:
        origins = " or ".join(map(named, adoption.origins))
        raise RevisionRefused(
            f"there is nothing to adopt: source {source} declares no object of {origins} ({seen})",
            hint="\n".join(state.problems[:_SHOWN]) or None,
        )


def _check_others(state: SourceState, claims: Sequence[Contested]) -> None:
    known = {each.key for each in claims}
    others = [each for each in state.contested if each.key not in known]
    if not others:
        return
    some = ", ".join(f"{each.key.removeprefix(keys.CONFIG)} of {named(each.owner)}" for each in others[:_SHOWN])
    raise RevisionRefused(
        f"the revision declares {len(others)} more objects of others, so it would be refused all the same: {some}",
        hint="Name these too (--from and --unmanaged may go together), or --all.",
    )


def _clear_away(store: Store, name: str) -> None:
    """Delete what nobody needs of a source that is no more; each by its exact key."""
    entries = [*store.list(keys.provenance_of_source(name)).entries]
    named = keys.reported_services(name), keys.reports(name), keys.wake(name), keys.source_intent(name)
    entries += [found for key in named if (found := store.get(key)) is not None]
    for entry in entries:
        store.commit([DeleteIf(entry.key, entry.index)])
