"""Everything that is declared, issued and reported, read once; the questions in this package are asked of it.

It is the scheduler's own reading and the scheduler's own plan, so that what people are shown is what it acts on.
"""

from collections.abc import Mapping

import msgspec

from reconciler.model import keys
from reconciler.model.codec import decode
from reconciler.model.intents import SourceIntent
from reconciler.model.task import Task, TaskStatus
from reconciler.scheduler.observe import Observer
from reconciler.scheduler.plan import plan
from reconciler.scheduler.snapshot import Scene, Snapshot, clusters_of, view_of
from reconciler.scheduler.steps import Plan
from reconciler.store.interface import Store

OUR_SCHEDULER = "default"


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a store, and by cluster what its scheduler would do now.

    ``schedulers`` says by cluster what the holder of its lock wrote there; None when nobody holds it. ``intents``
    is what operators said about sources, ``now`` the wall time of the reading.
    """

    scene: Scene
    plans: Mapping[str, Plan]
    schedulers: Mapping[str, str | None]
    intents: Mapping[str, SourceIntent] = {}
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
    scene = Observer(store).read().scene
    names = clusters_of(scene.snapshot.clusters, scene.snapshot.heads, OUR_SCHEDULER)
    return Fleet(
        scene=scene,
        plans={name: plan(view_of(scene, name, OUR_SCHEDULER), now) for name in names},
        schedulers={
            name: locks[name].value.decode(errors="replace") if name in locks and locks[name].holder else None
            for name in {*scene.snapshot.clusters, *names}
        },
        intents={
            entry.key.removeprefix(keys.SOURCE_INTENTS): decode(entry.value, SourceIntent, entry.key)
            for entry in store.list(keys.SOURCE_INTENTS).entries
        },
        now=now,
    )
