"""What operators changed by hand (``scale``, ``drain`` …) and a revision ends, because it changes that very field.

Pure: asked by ``reconcile`` and by ``plan`` of the command line. What has ended is taken out of its record in the very
transaction that changes the field: otherwise it would come alive again once a manifest says what it said before.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from reconciler.model import keys
from reconciler.model.codec import Undecodable, decode, encode
from reconciler.model.manifests import Host, Service
from reconciler.model.overrides import HostOverride, ServiceOverride
from reconciler.sync.config_view import Stored, View, object_at
from reconciler.sync.plan import Change, Create, Delete

_R = TypeVar("_R", ServiceOverride, HostOverride)
_T = TypeVar("_T", Service, Host)


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a record of an operator's words changes. ``value`` None: nothing of it is left, so it goes.

    ``said`` is the command that has ended and who gave it, also if it slept since the store did not say what it was
    said of; empty if there was none, or its time was over.
    """

    key: str
    value: bytes | None
    index: int
    said: str = ""


def record_of(view: View, change: Change) -> str | None:
    """The key of the record that a change may end a part of; None if it ends nothing.

    A service that comes or goes has nothing in common with one of the same name before or after. A host is there
    without an object, too: that says no more than that it does not drain.
    """
    key = change.key
    if key.startswith(keys.SERVICES):
        before, after = _before_and_after(view, change, Service)
        same = before is not None and after is not None and before.desired == after.desired
        return None if same else keys.service_override(key.removeprefix(keys.SERVICES))
    if key.startswith(keys.HOSTS):
        one, other = _before_and_after(view, change, Host)
        same = (one is not None and one.draining) == (other is not None and other.draining)
        return None if same else keys.host_override(key.removeprefix(keys.HOSTS))
    return None


def endings(view: View, changes: Iterable[Change], records: Mapping[str, Stored], now: float) -> dict[str, Ending]:
    """What the changes end, by the key of the object. ``records`` are what operators said, ``now`` is wall time."""
    found = {}
    for change in changes:
        key = record_of(view, change)
        stored = records.get(key) if key else None
        if key is None or stored is None:
            continue
        try:
            of_kind = _of_service if change.key.startswith(keys.SERVICES) else _of_host
            ending = of_kind(view, change, key, stored, now)
        except Undecodable:
            continue  # schedulers hold everything until somebody has mended it
        if ending is not None:
            found[change.key] = ending
    return found


def _of_service(view: View, change: Change, key: str, stored: Stored, now: float) -> Ending | None:
    record = decode(stored.value, ServiceOverride, key)
    is_another = isinstance(change, Create | Delete)
    left = ServiceOverride(service=record.service) if is_another else msgspec.structs.replace(record, scaled=None)
    before, _ = _before_and_after(view, change, Service)
    scaled, said = record.scaled, ""
    if scaled is not None and before is not None and not scaled.is_over(now):
        what = f"scale {record.service} {scaled.desired}" if scaled.desired else f"stop {record.service}"
        asleep = "" if scaled.declared == before.desired else f" (asleep: the store said {before.desired})"
        said = f"{what}, by {scaled.by}{asleep}"
    return _ending(key, stored, record, left, said)


def _of_host(view: View, change: Change, key: str, stored: Stored, now: float) -> Ending | None:
    record = decode(stored.value, HostOverride, key)
    before, _ = _before_and_after(view, change, Host)
    drained, said = record.drained, ""
    if drained is not None and not drained.is_over(now):
        is_asleep = drained.declared != (before is not None and before.draining)
        asleep = f" (asleep: the store said draining: {str(not drained.declared).lower()})" if is_asleep else ""
        said = f"{'drain' if drained.draining else 'undrain'} {record.host}, by {drained.by}{asleep}"
    return _ending(key, stored, record, msgspec.structs.replace(record, drained=None), said)


def _ending(key: str, stored: Stored, record: _R, left: _R, said: str) -> Ending | None:
    if left == record and not left.is_empty:
        return None
    return Ending(key=key, value=None if left.is_empty else encode(left), index=stored.index, said=said)


def _before_and_after(view: View, change: Change, kind: type[_T]) -> tuple[_T | None, _T | None]:
    """The object before and after a change; None where there is none, or it can't be understood."""
    stored = view.config.get(change.key)
    before = object_at(change.key, stored.value) if stored else None
    after = None if isinstance(change, Delete) else object_at(change.key, change.value)
    return before if isinstance(before, kind) else None, after if isinstance(after, kind) else None
