"""``state/*`` at one moment, from a single listing: no transaction is ever seen in half. Pure; the audits compare two.

All that one transaction writes has one index in Consul and in the embedded stores alike, and a later one a higher
index. That is what tells which writes belong together and what came first.
"""

from collections.abc import Mapping

import msgspec

from reconciler.model import codec, keys
from reconciler.model.task import ClusterHead, HostStatus, Task, TaskStatus
from reconciler.store.interface import Entry, Listing


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Records, head and statuses of one cluster and its hosts.

    ``by_id`` and ``by_host`` are the raw records; ``tasks`` are those of ``by_id`` that can be read. ``present`` are
    the hosts whose record is held. ``unreadable`` says by key why a record could not be read.
    """

    by_id: Mapping[str, Entry]
    by_host: Mapping[tuple[str, str], Entry]
    tasks: Mapping[str, Task]
    head: ClusterHead | None
    head_index: int
    placement_index: int
    rollouts_index: int
    statuses: Mapping[str, HostStatus]
    status_index: Mapping[str, int]
    present: frozenset[str]
    unreadable: Mapping[str, str]

    def of_service(self, service: str) -> list[Task]:
        """Its records, by what they say."""
        return [task for task in self.tasks.values() if task.service == service]

    def status_of(self, task: Task) -> TaskStatus | None:
        """What the task's host says of this issue."""
        status = self.statuses.get(task.host)
        found = status.tasks.get(task.id) if status else None
        return found if found and found.issue == task.issue else None

    def is_healthy(self, task: Task) -> bool:
        """Certainly healthy: the host is present and says so of this issue."""
        status = self.status_of(task)
        return task.host in self.present and status is not None and status.healthy

    def healthy(self, service: str) -> list[Task]:
        """The healthy tasks of a service."""
        return [task for task in self.of_service(service) if self.is_healthy(task)]

    @property
    def written(self) -> int:
        """The index of the scheduler's last write, as far as it left something."""
        indexes = [entry.index for entry in (*self.by_id.values(), *self.by_host.values())]
        return max([self.head_index, self.rollouts_index, *indexes])

    @property
    def schedule(self) -> tuple[object, ...]:
        """All that only a scheduler writes: equal when it has written nothing in between."""
        return (
            self.head_index,
            self.placement_index,
            self.rollouts_index,
            {entry.key: entry.index for entry in (*self.by_id.values(), *self.by_host.values())},
        )

    @property
    def records(self) -> set[tuple[str, int]]:
        """Id and issue of every task: equal when none was issued or withdrawn in between."""
        return {(task.id, task.issue) for task in self.tasks.values()}


def picture_of(listing: Listing, cluster: str) -> Picture:
    """What a listing of ``state/`` shows."""
    by_id: dict[str, Entry] = {}
    by_host: dict[tuple[str, str], Entry] = {}
    tasks: dict[str, Task] = {}
    statuses: dict[str, HostStatus] = {}
    status_index: dict[str, int] = {}
    unreadable: dict[str, str] = {}
    present = set()
    head, head_index, placement_index, rollouts_index = None, 0, 0, 0
    for entry in listing.entries:
        key = entry.key
        try:
            if key.startswith(keys.TASKS_BY_ID):
                by_id[key.removeprefix(keys.TASKS_BY_ID)] = entry
                tasks[key.removeprefix(keys.TASKS_BY_ID)] = codec.decode(entry.value, Task, key)
            elif keys.is_task_by_host(key):
                host, _, task_id = key.removeprefix(keys.TASKS).partition("/")
                by_host[host, task_id] = entry
            elif key == keys.cluster_head(cluster):
                head_index = entry.index
                head = codec.decode(entry.value, ClusterHead, key)
            elif key == keys.PLACEMENT:
                placement_index = entry.index
            elif key.startswith(keys.rollouts_of_cluster(cluster)):
                rollouts_index = max(rollouts_index, entry.index)
            elif key.startswith(keys.STATUSES):
                host = key.removeprefix(keys.STATUSES)
                statuses[host], status_index[host] = codec.decode(entry.value, HostStatus, key), entry.index
            elif key.startswith(keys.HOST_STATES) and entry.holder:
                present.add(key.removeprefix(keys.HOST_STATES))
        except codec.Undecodable as error:
            unreadable[key] = error.message
    return Picture(
        by_id=by_id,
        by_host=by_host,
        tasks=tasks,
        head=head,
        head_index=head_index,
        placement_index=placement_index,
        rollouts_index=rollouts_index,
        statuses=statuses,
        status_index=status_index,
        present=frozenset(present),
        unreadable=unreadable,
    )
