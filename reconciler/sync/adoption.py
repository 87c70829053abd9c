"""Objects that change hands from one source to another, on an operator's order. Pure: used by ``plan`` and ``apply``.

The new source takes them over in its own pass, as part of the revision that declares them. Each transaction that takes
objects compares and sets the marks of both sources: so it can't land beside a pass of the old one, whether that one
still runs or not, and at no moment does a mark count objects that are another's.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from reconciler.model import keys
from reconciler.model.intents import UNMANAGED, Adoption
from reconciler.model.source_state import Contested, PastRevision
from reconciler.sync.config_view import View, label


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan takes over: by key, the source (or ``UNMANAGED``) that it is taken from.

    ``emptied`` are the sources that are left without any object: their records go with the last transaction.
    """

    adoption: Adoption
    taken: Mapping[str, str]
    emptied: tuple[str, ...] = ()

    def __str__(self) -> str:
        origins = " and ".join(sorted({named(each) for each in self.taken.values()}))
        return f"{len(self.taken)} objects from {origins}, by {self.adoption.by}"


def named(origin: str) -> str:
    """Where an object comes from, for people."""
    return f"source {origin}" if origin else "nobody"


def problem_of(view: View, adoption: Adoption | None, claim: Contested, *, hint: bool) -> str | None:
    """Why the source must not write an object that is not its own; None if it may take it over.

    ``hint``: say how it could be handed over.
    """
    what, is_foreign = label(claim.key), claim.owner == UNMANAGED
    if adoption is not None and adoption.covers(claim.key, claim.owner):
        if claim.fields and not adoption.with_changes:
            return (
                f"{what} is to be adopted from {named(claim.owner)} and is declared with other content "
                f"({', '.join(claim.fields)}); declare what is stored, or adopt it --with-changes"
            )
        return None
    how = f"reconciler adopt {view.source} {'--unmanaged' if is_foreign else f'--from {claim.owner}'} "
    how = f", or hand it over: {how}{claim.key.removeprefix(keys.CONFIG)}" if hint else ""
    if is_foreign:
        return (
            f"{what} is in the store already and no source manages it; "
            f"delete {claim.key} there if this one shall take its place{how}"
        )
    return (
        f"{what} is managed by source {claim.owner}, and source {view.source} declares it as well; "
        f"take it out of one of the two{how}"
    )


def unready(view: View, adoption: Adoption) -> str | None:
    """Why objects can't be taken from a source now; None if they can."""
    for name in filter(None, adoption.origins):
        state = view.sources.get(name)
        if state is None and keys.source(name) in view.marks:
            return f"{keys.source(name)} can't be read, so nothing is adopted from source {name}"
        if state is not None and not state.mark.settled and not adoption.abandon_unfinished:
            return (
                f"source {name} is being applied; what it manages is adopted once that is done (if its process is gone "
                "for good: adopt it --abandon-unfinished)"
            )
    return None


def promised(view: View, deletes: Iterable[str]) -> str | None:
    """Why some deletions must wait: another source is about to adopt the objects."""
    for key in deletes:
        for name, adoption in sorted(view.promised.items()):
            if adoption.covers(key, view.source):
                return (
                    f"the revision deletes {label(key)}, which source {name} is about to adopt; it is applied once "
                    f"that is done (or taken back: reconciler adopt {name} --cancel)"
                )
    return None


def passed_on(view: View, adoption: Adoption | None, declared: Collection[str]) -> dict[str, bytes]:
    """Definitions that the old source has not declared for a while and that wait for their late end.

    With all of a source goes what nobody declares any more, so that nothing of it is left.
    """
    found: dict[str, bytes] = {}
    for name in adoption.origins if adoption is not None and not adoption.objects else ():
        state = view.sources.get(name)
        for key in (keys.TASK_DEFINITIONS + each for each in (state.retired if state else ())):
            stored = view.config.get(key)
            if stored is not None and stored.owner == name and key not in declared:
                found[key] = _claimed(stored.value, view.source)
    return found


def handover_of(view: View, adoption: Adoption, taken: Mapping[str, str]) -> Handover:
    """The handover that takes these."""
    emptied = () if adoption.objects else tuple(
        name for name in adoption.origins if name in view.sources and not view.of(name) - taken.keys()
    )  # fmt: skip
    return Handover(adoption=adoption, taken=taken, emptied=emptied)


def inherited(view: View, handover: Handover | None) -> tuple[PastRevision, ...]:
    """What became of the revisions of the sources that end with this; those of `apply -f` are no commits."""
    ended = [view.sources[name] for name in (handover.emptied if handover else ())]
    return tuple(each for state in ended if state.kind != "apply" for each in state.history)


def _claimed(value: bytes, source: str) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(value) | {"managed_by": source}, order="sorted")
