"""What is declared, with what operators changed by hand laid over it (rule 14). Pure; ``snapshot`` and queries ask.

An override counts while its manifest says what it said then, and until its time.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from reconciler.model import keys
from reconciler.model.manifests import Host, Service
from reconciler.model.overrides import (
    ClusterOverride,
    Drained,
    HostOverride,
    Paused,
    Rebalanced,
    Scaled,
    ServiceOverride,
)
from reconciler.model.task import Task


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """All of them as read, by name; ``now`` is the wall time of the reading, by which they end."""

    services: Mapping[str, ServiceOverride] = {}
    hosts: Mapping[str, HostOverride] = {}
    clusters: Mapping[str, ClusterOverride] = {}
    now: float = 0.0

    def scaled(self, service: Service) -> Scaled | None:
        """The override of its ``desired`` that is in force."""
        found = self.services.get(service.name)
        if found is None or found.scaled is None or not found.scaled.holds(service.desired, self.now):
            return None
        return found.scaled

    def service(self, service: Service) -> Service:
        """The service as it should run."""
        scaled = self.scaled(service)
        return service if scaled is None else msgspec.structs.replace(service, desired=scaled.desired)

    def restarted_at(self, service: str, cluster: str) -> int:
        """Tasks of this cluster that were issued up to this ``seq`` are to be replaced; 0: none."""
        found = self.services.get(service)
        return found.restarted.issued.get(cluster, 0) if found and found.restarted else 0

    def rebalanced(self, service: str) -> Rebalanced | None:
        """Which of its tasks an operator wants elsewhere."""
        found = self.services.get(service)
        return found.rebalanced if found else None

    def wants_elsewhere(self, task: Task) -> bool:
        """Whether that very issue is one of those."""
        said = self.rebalanced(task.service)
        return said is not None and said.tasks.get(task.id) == task.issue

    def drained(self, host: Host) -> Drained | None:
        """The override of its ``draining`` that is in force."""
        found = self.hosts.get(host.name)
        if found is None or found.drained is None or not found.drained.holds(host.draining, self.now):
            return None
        return found.drained

    def paused(self, cluster: str) -> Paused | None:
        """Why nothing of this cluster is changed voluntarily, if so: its own pause, or that of all."""
        for name in (cluster, keys.EVERY):
            found = self.clusters.get(name)
            if found is not None and (pause := found.pause(self.now)):
                return pause
        return None

    def next_end_s(self) -> float | None:
        """In how many seconds the next thing changes only because time passes."""
        return min((at - self.now for at in self._times() if at > self.now), default=None)

    def _times(self) -> Iterator[float]:
        for service in self.services.values():
            if service.scaled is not None:
                yield service.scaled.until
        for host in self.hosts.values():
            if host.drained is not None:
                yield host.drained.until
                yield host.drained.deadline
        for cluster in self.clusters.values():
            if cluster.paused is not None:
                yield cluster.paused.until


def overdue(overrides: Overrides, hosts: Mapping[str, Host]) -> AbstractSet[str]:
    """The hosts whose drain should be over by now."""
    return {
        name
        for name in overrides.hosts
        if (drained := overrides.drained(hosts.get(name, Host(name=name))))
        and drained.draining
        and drained.deadline
        and overrides.now >= drained.deadline
    }


def describe(said: Scaled | Paused | Drained | Rebalanced) -> str:
    """Who and why, for reasons: ``by anna (incident 12)``."""
    return f"by {said.by}" + (f" ({said.reason})" if said.reason else "")
