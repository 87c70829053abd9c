"""``plan --out FILE`` and ``apply --plan FILE``: what was looked at is what is written, or nothing is.

The file holds the manifests and what the plan rests on. It is planned again when it is applied, under the source's
lock, and refused unless it comes to the very same changes of the very same values.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from reconciler.errors import RevisionRefused, UsageError
from reconciler.store.interface import Store
from reconciler.sync import observe
from reconciler.sync.config_view import View, label
from reconciler.sync.plan import Plan
from reconciler.sync.plan_hash import digest_of, plan_hash
from reconciler.sync.source_state import Identity

VERSION: Final = 2
_ANEW: Final = "Make it anew with `reconciler plan … --out FILE`, and look at it again."
_SHOWN: Final = 10


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a source declares at one revision. ``files`` are names and contents.

    ``is_related``: the revision is known to come after the one that was applied when it was planned.
    """

    identity: Identity
    revision: str
    files: tuple[tuple[str, bytes], ...]
    is_related: bool = True
    author: str = ""
    subject: str = ""
    environment: str | None = None


class SavedPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. ``applied``: the source's revision, or what it was on its way to.

    ``touched``: for each key that would be written, a digest of the value that was there (empty: none). ``hash`` is
    that of the changes, ``digest`` that of all the rest.
    """

    version: int
    store_id: str
    declared: Declared
    applied: str
    touched: dict[str, str]
    hash: str
    digest: str = ""


def saved(store: Store, declared: Declared, *, plan_hash: str, keys: Iterable[str]) -> SavedPlan:
    """A plan as its file holds it; ``store`` is what it was made of, ``keys`` are those that it changes."""
    view = observe.observe(store, declared.identity.source, None)
    made = SavedPlan(
        version=VERSION,
        store_id=view.store_id,
        declared=declared,
        applied=_applied(view),
        touched={key: _stored(view, key) for key in keys},
        hash=plan_hash,
    )
    return msgspec.structs.replace(made, digest=_digest(made))


def write(plan: SavedPlan, place: Path) -> None:
    """Write the file, whole or not at all, readable by its owner only.

    Raises:
        UsageError: it can't be written.
    """
    place = place.resolve()
    if place.exists() and not place.is_file():
        raise UsageError(f"{place} is no ordinary file", hint="Name one that is not there yet, or an earlier plan.")
    content = msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n"
    try:
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".", delete=False) as draft:
            try:
                draft.write(content)
                draft.flush()
                os.fsync(draft.fileno())
                Path(draft.name).replace(place)
            except BaseException:
                Path(draft.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise UsageError(f"{place} can't be written: {error.strerror or error}", hint="Check the folder.") from error


def read(place: Path) -> SavedPlan:
    """The plan that a file holds.

    Raises:
        UsageError: it is none, one of another version, or not as it was written.
    """
    try:
        content = place.read_bytes()
        version = msgspec.json.decode(content, type=dict[str, Any]).get("version")
        if version != VERSION:
            raise UsageError(f"{place} is not a plan of version {VERSION}, which this program reads", hint=_ANEW)
        plan = msgspec.json.decode(content, type=SavedPlan)
    except (OSError, ValueError) as error:
        raise UsageError(f"{place} is not a plan: {error}", hint=_ANEW) from error
    if plan.digest != _digest(plan):
        raise UsageError(f"{place} was changed or damaged since it was written: its digest differs", hint=_ANEW)
    return plan


def is_begun(plan: SavedPlan, view: View) -> bool:
    """Whether a part of it is written already, so that it can only be completed."""
    own, what = view.own, plan.declared
    is_going = own is not None and not own.mark.settled and own.mark.to == what.revision
    return is_going and view.is_from(what.identity.location)


def is_done(plan: SavedPlan, view: View, made: Plan) -> bool:
    """Whether all of it is there already."""
    return not made.changes and _applied(view) == plan.declared.revision


def refuse_moved(plan: SavedPlan, view: View, made: Plan) -> None:
    """Refuse unless what would be written now is what was saved.

    Raises:
        RevisionRefused: says what moved.
    """
    if view.store_id != plan.store_id:
        raise RevisionRefused("nothing was applied: the plan was made for another store", hint=_ANEW)
    hash_now = plan_hash(view, plan.declared.revision, made.changes)
    if hash_now == plan.hash and _applied(view) == plan.applied:
        return
    moved = list(_moved(plan, view, made)) or ["what the manifests stand for, as this version reads them"]
    more = [f"… and {len(moved) - _SHOWN} more"] if len(moved) > _SHOWN else []
    lines = ["nothing was applied, since what the plan rests on has moved:", *moved[:_SHOWN], *more]
    raise RevisionRefused("\n".join(lines), hint=_ANEW)


def _moved(plan: SavedPlan, view: View, made: Plan) -> Iterator[str]:
    applied, source = _applied(view), plan.declared.identity.source
    if applied != plan.applied:
        yield f"source {source} was at {plan.applied or 'no revision'} and is at {applied or 'no revision'}"
    changed = {each.key for each in made.changes}
    for key in sorted(plan.touched.keys() | changed):
        before, now = plan.touched.get(key), _stored(view, key)
        if before is None:
            yield f"{label(key)} was as the manifests say, and is not any more"
        elif before != now:
            yield f"{label(key)} was {'deleted' if not now else 'changed' if before else 'created'}"
        elif key not in changed:
            yield f"{label(key)} would not be written any more"


def _applied(view: View) -> str:
    mark = view.own.mark if view.own else None
    return "" if mark is None else mark.revision if mark.settled else mark.to or ""


def _stored(view: View, key: str) -> str:
    stored = view.config.get(key)
    return digest_of(stored.value if stored else None)


def _digest(plan: SavedPlan) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(plan, digest=""), order="sorted")).hexdigest()
