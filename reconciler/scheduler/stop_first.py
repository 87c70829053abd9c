"""Stopping an old task before the new one starts: only where it can't be otherwise, and only where it helps.

``service_plan`` calls it last. It is the way out of what would be a deadlock: ``max`` = ``desired``, a fixed port on
every host, hosts so full that a second version does not fit beside the first.
"""

from collections import defaultdict

from reconciler.scheduler.changes import Changes
from reconciler.scheduler.cluster_view import Defined
from reconciler.scheduler.replicas import PERHAPS_HEALTHY, Member, Standing


def stop_first(changes: Changes, floor: int, defined: Defined, unplaced: int, blocked: int) -> str | None:
    """Stop leavers down to ``floor`` healthy tasks so that new ones can start once they are gone.

    ``unplaced`` new tasks found no host, ``blocked`` ones are kept out by ``max`` alone. Returns what is waited for.
    """
    if not changes.leavers or unplaced + blocked <= 0:
        return None
    need = unplaced or blocked
    fitting = 0 if unplaced else changes.how_many_fit(defined, need)
    if not fitting and (host := changes.fits_when_left(defined)):
        return f"waits for the room of tasks that are stopping on {host}"
    for leaver in list(changes.leavers.values()):
        if fitting > 0 and _may_stop(changes, [leaver], floor):
            changes.withdraw(leaver, f"makes room for version {defined.definition.version}")
            fitting -= 1
            need -= 1
    for group in _groups(changes, defined):
        if need > 0 and _may_stop(changes, group, floor):
            for leaver in group:
                changes.withdraw(leaver, f"makes room for version {defined.definition.version} on {leaver.task.host}")
            need -= 1
    return None


def _may_stop(changes: Changes, group: list[Member], floor: int) -> bool:
    """Whether ``floor`` healthy tasks are left when all of these stop."""
    if any(member.standing is Standing.MISSING for member in group):
        return False
    if all(member.standing not in PERHAPS_HEALTHY for member in group):
        return True
    return changes.healthy - sum(member.healthy for member in group) >= floor


def _groups(changes: Changes, defined: Defined) -> list[list[Member]]:
    """By host, the fewest leavers whose going makes room there for a new task; the smallest group first."""
    by_host: dict[str, list[Member]] = defaultdict(list)
    for leaver in changes.leavers.values():
        by_host[leaver.task.host].append(leaver)
    groups = []
    for leavers in by_host.values():
        for size in range(1, len(leavers) + 1):
            if changes.makes_room(leavers[:size], defined):
                groups.append(leavers[:size])
                break
    return sorted(groups, key=len)
