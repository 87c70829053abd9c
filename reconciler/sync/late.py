"""When definitions that are no longer declared may go. Pure: called by ``loop`` once something is old enough.

A definition stays while a service or a task record names it, and for a day after it was last known to be wanted, so
that going back to it, or a scheduler that is late, finds it.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from reconciler.model import keys
from reconciler.model.manifests import Service
from reconciler.model.source_state import SourceCounts
from reconciler.sync.config_view import View, counts_of, object_at
from reconciler.sync.plan import Delete

GRACE_S: Final = 24 * 3600
"""Measured on wall clocks, also of different machines: what keeps it safe is that nobody names the definition."""


class LatePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which definitions go now, and what is recorded of those that stay."""

    deletes: tuple[Delete, ...]
    retired: Mapping[str, int]
    after: SourceCounts


def is_due(retired: Mapping[str, int], now: float) -> bool:
    """Whether looking closer is worth it. A stamp from the future was made by a clock that was wrong."""
    return any(not 0 <= now - since < GRACE_S for since in retired.values())


def late_plan(view: View, in_records: frozenset[tuple[str, int]], now: float, most: int) -> LatePlan | None:
    """What to do about retired definitions, ``most`` at once; None: nothing can be said now.

    ``in_records`` are the definitions (name, version) that task records name.
    """
    own = view.own
    if own is None or not view.still or not all(state.mark.settled for state in view.sources.values()):
        return None
    if len(view.sources) != len(view.marks) or any(
        counts_of(view.of(name)) != state.mark.counts for name, state in view.sources.items()
    ):
        return None
    named = set(in_records)
    for key, stored in view.config.items():
        if key.startswith(keys.SERVICES):
            service = object_at(key, stored.value)
            if not isinstance(service, Service):
                return None
            named.add((service.task_name, service.task_version))
    names = {f"{name}/{version}" for name, version in named}
    retired = dict(own.retired)
    deletes: list[Delete] = []
    for name, since in own.retired.items():
        key = keys.TASK_DEFINITIONS + name
        if 0 <= now - since < GRACE_S:
            continue
        if name in names or now < since:
            retired[name] = int(now)
        elif len(deletes) < most and key in view.config and view.config[key].owner == view.source:
            deletes.append(Delete(key, view.config[key].index))
            del retired[name]
    return LatePlan(
        deletes=tuple(deletes), retired=retired, after=counts_of(view.mine() - {delete.key for delete in deletes})
    )
