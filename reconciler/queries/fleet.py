"""Everything that is declared, issued and reported, read once; the questions in this package are asked of it.

It is the scheduler's own reading and the scheduler's own plan, so that what people are shown is what it acts on.
"""

from collections.abc import Mapping

import msgspec

from reconciler.model import keys
from reconciler.model.codec import Undecodable, decode
from reconciler.model.intents import SourceIntent
from reconciler.model.task import Phase, Task, TaskStatus
from reconciler.queries.losses import with_losses
from reconciler.scheduler import snapshot
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import Scene, Snapshot, clusters_of, view_of
from reconciler.scheduler.steps import Plan
from reconciler.store.interface import Store

OUR_SCHEDULER = "default"


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a store, and by cluster what its scheduler would do now.

    ``schedulers`` says by cluster what the holder of its lock wrote there; None when nobody holds it. ``intents``
    is what operators said about sources, ``unreadable_intents`` why that of some can't be read, by source; ``now`` is
    the wall time of the reading.
    """

    scene: Scene
    plans: Mapping[str, Plan]
    schedulers: Mapping[str, str | None]
    intents: Mapping[str, SourceIntent] = {}
    unreadable_intents: Mapping[str, str] = {}
    now: float = 0.0

    @property
    def snapshot(self) -> Snapshot:
        """What was read."""
        return self.scene.snapshot

    def status_of(self, task: Task) -> TaskStatus | None:
        """What the task's host says of it; None if it says nothing of this issue."""
        host = self.snapshot.statuses.get(task.host)
        status = host.tasks.get(task.id) if host else None
        return status if status and status.issue == task.issue else None


def read(store: Store, now: float) -> Fleet:
    """Read all of ``config/`` and ``state/``; ``now`` is wall time.

    Clusters of other schedulers are not planned: what those would do, only they know.
    """
    locks = {entry.key.removeprefix(keys.SCHEDULER_LOCKS): entry for entry in store.list(keys.SCHEDULER_LOCKS).entries}
    scene = snapshot.scene(_with_times(Observer(store).read().scene.snapshot, now))
    names = clusters_of(scene.snapshot.clusters, scene.snapshot.heads, OUR_SCHEDULER)
    intents, unreadable = _intents(store)
    return Fleet(
        scene=scene,
        plans={
            name: with_losses(scene, plan(view_of(scene, name, OUR_SCHEDULER), now), OUR_SCHEDULER, now)
            for name in names
        },
        schedulers={
            name: locks[name].value.decode(errors="replace") if name in locks and locks[name].holder else None
            for name in {*scene.snapshot.clusters, *names}
        },
        intents=intents,
        unreadable_intents=unreadable,
        now=now,
    )


def _with_times(read: Snapshot, now: float) -> Snapshot:
    """For how long tasks have been healthy or failed, as far as their agents' clocks agree with this one: for display.

    Who looks once has watched nothing, and would say of each task that it has yet to prove itself.
    """
    healthy, failed = {}, {}
    for task in read.tasks:
        host = read.statuses.get(task.host)
        status = host.tasks.get(task.id) if host else None
        if status is None or status.issue != task.issue or not status.since:
            continue
        if status.healthy and task.host in read.present:
            healthy[task.id] = max(0.0, now - status.since)
        elif status.phase in (Phase.FAILED, Phase.REJECTED, Phase.COMPLETE):
            failed[task.id] = max(0.0, now - status.since)
    return msgspec.structs.replace(read, healthy_s=healthy, failed_s=failed)


def _intents(store: Store) -> tuple[dict[str, SourceIntent], dict[str, str]]:
    """What operators said, by source; and why that can't be read, where it can't."""
    intents, unreadable = {}, {}
    for entry in store.list(keys.SOURCE_INTENTS).entries:
        name = entry.key.removeprefix(keys.SOURCE_INTENTS)
        try:
            intents[name] = decode(entry.value, SourceIntent, entry.key)
        except Undecodable as error:
            unreadable[name] = str(error)
    return intents, unreadable
