"""Everything that is declared, issued and reported, read once; the questions in this package are asked of it."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from reconciler.model import codec, keys
from reconciler.model.manifests import Cluster, Host, Service, TaskDefinition
from reconciler.model.task import ClusterHead, HostState, HostStatus, Rollout, SourceState, Task, TaskStatus
from reconciler.store.interface import Entry, Store

T = TypeVar("T")


class PresentHost(msgspec.Struct, frozen=True):
    """A host's own record, and whether its agent is alive (a session holds the record)."""

    state: HostState
    present: bool


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a store, for display: each listing in it is consistent, but they are not one transaction."""

    clusters: dict[str, Cluster]
    services: dict[str, Service]
    definitions: dict[tuple[str, int], TaskDefinition]
    host_configs: dict[str, Host]
    tasks: tuple[Task, ...]
    hosts: dict[str, PresentHost]
    statuses: dict[str, HostStatus]
    heads: dict[str, ClusterHead]
    rollouts: dict[tuple[str, str], Rollout]
    sources: dict[str, SourceState]
    schedulers: dict[str, str | None]
    """By cluster, what the holder of its lock wrote there; None when nobody holds it."""

    def status_of(self, task: Task) -> TaskStatus | None:
        """What the task's host says of it; None if it says nothing of this issue."""
        host = self.statuses.get(task.host)
        status = host.tasks.get(task.id) if host else None
        return status if status and status.issue == task.issue else None

    def is_present(self, host: str) -> bool:
        """Whether the host's agent is alive."""
        return host in self.hosts and self.hosts[host].present


def read(store: Store) -> Fleet:
    """Read all of ``config/`` and ``state/``."""
    config = store.list(keys.CONFIG).entries
    state = store.list(keys.STATE).entries
    locks = store.list(keys.SCHEDULER_LOCKS).entries
    clusters = _under(config, keys.CLUSTERS, Cluster)
    services = _under(config, keys.SERVICES, Service)
    definitions = _under(config, keys.TASK_DEFINITIONS, TaskDefinition)
    host_configs = _under(config, keys.HOSTS, Host)
    held = {entry.key: entry.holder is not None for entry in state}
    hosts = _under(state, keys.HOST_STATES, HostState)
    return Fleet(
        clusters={cluster.name: cluster for cluster in clusters},
        services={service.name: service for service in services},
        definitions={(definition.name, definition.version): definition for definition in definitions},
        host_configs={host.name: host for host in host_configs},
        tasks=tuple(_under(state, keys.TASKS_BY_ID, Task)),
        hosts={host.host: PresentHost(host, held[keys.host_state(host.host)]) for host in hosts},
        statuses={status.host: status for status in _under(state, keys.STATUSES, HostStatus)},
        heads={head.cluster: head for head in _under(state, keys.CLUSTER_HEADS, ClusterHead)},
        rollouts={(rollout.cluster, rollout.service): rollout for rollout in _under(state, keys.ROLLOUTS, Rollout)},
        sources={source.source: source for source in _under(state, keys.SOURCES, SourceState)},
        schedulers={
            entry.key.removeprefix(keys.SCHEDULER_LOCKS): entry.value.decode(errors="replace") if entry.holder else None
            for entry in locks
        },
    )


def _under(entries: Iterable[Entry], prefix: str, kind: type[T]) -> list[T]:
    return [codec.decode(entry.value, kind, entry.key) for entry in entries if entry.key.startswith(prefix)]
