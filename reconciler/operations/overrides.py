"""What operators change by hand on top of what is declared: scale, stop, restart, promote, pause, drain and back.

Called by the commands of these names. Each writes one key by compare-and-set (rule 14), so ``config/`` stays what git
says; schedulers lay it over ``config/``. Nothing is locked: it works while sync or git are away.
"""

from typing import Final

import msgspec

from reconciler.errors import RevisionRefused, UsageError
from reconciler.model import keys
from reconciler.model.codec import decode, digest
from reconciler.model.manifests import Cluster, Host, Service, TaskDefinition
from reconciler.model.overrides import (
    ClusterOverride,
    Drained,
    HostOverride,
    Paused,
    Restarted,
    Scaled,
    ServiceOverride,
    Verdict,
)
from reconciler.model.task import ClusterHead, RolloutPhase
from reconciler.operations import override_records
from reconciler.store.interface import Store

OURS: Final = "default"
_OPEN: Final = (RolloutPhase.CANARY, RolloutPhase.ROLLING)
_ENDED: Final = (RolloutPhase.REVERTING, RolloutPhase.REVERTED, RolloutPhase.FAILED)


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """Who says it, why, when, and until when (seconds since 1970; 0: no end of its own)."""

    by: str
    reason: str = ""
    now: float
    until: float = 0.0


class Overridden(msgspec.Struct, frozen=True, kw_only=True):
    """What a command did. ``field`` is empty where there is nothing that a manifest could say; ``before`` is what the
    manifest says of it, ``after`` what counts now. ``key`` is the object's, ``managed_by`` its source.
    """

    object: str
    what: str
    key: str = ""
    managed_by: str | None = None
    field: str = ""
    before: int | bool = 0
    after: int | bool = 0
    until: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether another value counts than the manifest's."""
        return bool(self.field) and self.before != self.after


def scale(store: Store, name: str, desired: int, said: Said) -> Overridden:
    """Run another number of tasks of a service than its manifest says.

    Raises:
        UsageError: there is no such service, or it has no number of tasks.
        RevisionRefused: the number is below its ``min`` or above its ``max``, or is 0.
    """
    service = override_records.service(store, name)
    if service.kind == "system":
        raise UsageError(
            f"service {name} runs one task on each host that can run it",
            hint="`reconciler drain HOST` keeps it off a host; its manifest's placement says which hosts can run it.",
        )
    low, high = service.min or 0, service.max
    if desired == 0:
        raise RevisionRefused(f"0 tasks stop service {name}", hint=f"`reconciler stop {name}` does that.")
    if desired < low:
        raise RevisionRefused(
            f"service {name} has min: {low}, so it can't be scaled to {desired}",
            hint=f"Lower min to {desired} in its manifest first; nothing else in it has to change.",
        )
    if high is not None and desired > high:
        raise RevisionRefused(
            f"service {name} has max: {high}, so it can't be scaled to {desired}",
            hint=f"Raise max to {desired} in its manifest first; nothing else in it has to change.",
        )
    return _scaled(store, service, desired, said, f"{desired} tasks are desired")


def stop(store: Store, name: str, said: Said) -> Overridden:
    """Stop all tasks of a service.

    Raises:
        UsageError: there is no such service.
    """
    return _scaled(store, override_records.service(store, name), 0, said, "all of its tasks stop")


def start(store: Store, name: str) -> Overridden:
    """Take back what ``scale`` or ``stop`` said.

    Raises:
        UsageError: there is no such service.
        RevisionRefused: nothing was said.
    """
    service = override_records.service(store, name)

    def change(override: ServiceOverride) -> ServiceOverride:
        if override.scaled is None:
            raise RevisionRefused(f"service {name} is neither stopped nor scaled: its manifest counts")
        return msgspec.structs.replace(override, scaled=None)

    override_records.of_service(store, name, change)
    return _about(store, service, service.desired, f"{service.desired} tasks are desired, as in its manifest")


def restart(store: Store, name: str, said: Said) -> Overridden:
    """Have every task of a service replaced, as in a rollout.

    Raises:
        UsageError: there is no such service.
    """
    service = override_records.service(store, name)
    clusters = override_records.clusters_of(store, name)
    issued = {}
    for cluster in clusters:
        entry = store.get(keys.cluster_head(cluster.name))
        if entry is not None:
            issued[cluster.name] = decode(entry.value, ClusterHead, entry.key).seq
    restarted = Restarted(issued=issued, by=said.by, reason=said.reason, since=said.now)
    override_records.of_service(store, name, lambda override: msgspec.structs.replace(override, restarted=restarted))
    return Overridden(
        object=f"service {name}",
        what="all of it is done once more"
        if service.kind == "batch"
        else "each task is replaced by a new one, health first, as in a rollout",
        key=keys.service(name),
        managed_by=service.managed_by,
        warnings=_warnings(clusters, name),
    )


def decide(store: Store, name: str, *, promote: bool, said: Said) -> Overridden:
    """Say of a service's rollout that it goes on (or is tried again), or that it goes back.

    Raises:
        UsageError: there is no such service, or its task definition is missing.
        RevisionRefused: there is no rollout of which that could be said.
    """
    service = override_records.service(store, name)
    key = keys.task_definition(service.task_name, service.task_version)
    entry = store.get(key)
    if entry is None:
        raise UsageError(
            f"service {name} runs version {service.task_version} of {service.task_name}, which is not stored"
        )
    target = digest(decode(entry.value, TaskDefinition, key))
    clusters = override_records.clusters_of(store, name)
    phases = [each.phase for each in override_records.rollouts(store, clusters, name) if each.target_digest == target]
    wanted = (RolloutPhase.CANARY, *_ENDED) if promote else _OPEN
    if not any(phase in wanted for phase in phases):
        what = "waits to be promoted, or was given up" if promote else "is under way"
        stands = f"it is {', '.join(sorted(set(phases)))}" if phases else "no scheduler has begun it"
        raise RevisionRefused(f"no rollout of service {name} to version {service.task_version} {what}: {stands}")
    verdict = Verdict(
        promote=promote,
        target_version=service.task_version,
        target_digest=target,
        by=said.by,
        reason=said.reason,
        since=said.now,
    )
    override_records.of_service(store, name, lambda override: msgspec.structs.replace(override, verdict=verdict))
    what = f"version {service.task_version} {'goes on to all tasks' if promote else 'is taken back'}"
    return Overridden(
        object=f"service {name}",
        what=what,
        key=keys.service(name),
        managed_by=service.managed_by,
        warnings=_warnings(clusters, name),
    )


def pause(store: Store, cluster: str, said: Said) -> Overridden:
    """Pull the emergency brake of a cluster, or of all (``keys.EVERY``).

    Raises:
        UsageError: there is no such cluster.
    """
    if cluster != keys.EVERY:
        override_records.declared(store, keys.CLUSTERS, cluster, Cluster, "cluster")
    paused = Paused(by=said.by, reason=said.reason, since=said.now, until=said.until)
    override_records.of_cluster(store, cluster, lambda override: msgspec.structs.replace(override, paused=paused))
    return Overridden(
        object=_all_or(cluster),
        what="nothing is started, stopped or moved but what replaces the dead",
        until=said.until,
    )


def unpause(store: Store, cluster: str, now: float) -> Overridden:
    """Release the emergency brake.

    Raises:
        RevisionRefused: it is not pulled, or only that of all clusters is.
    """

    def change(override: ClusterOverride) -> ClusterOverride:
        if override.pause(now) is None:
            entry = store.get(keys.cluster_override(keys.EVERY)) if cluster != keys.EVERY else None
            every = decode(entry.value, ClusterOverride, entry.key).pause(now) if entry else None
            hint = f"All clusters are, by {every.by}: `reconciler unpause --all`." if every else None
            raise RevisionRefused(f"{_all_or(cluster)} is not paused", hint=hint)
        return msgspec.structs.replace(override, paused=None)

    override_records.of_cluster(store, cluster, change)
    return Overridden(object=_all_or(cluster), what="is scheduled again")


def drain(store: Store, name: str, said: Said, deadline: float = 0.0) -> Overridden:
    """Have a host emptied: what runs there is healthy elsewhere first, but for ``deadline`` (seconds since 1970).

    Raises:
        UsageError: there is no such host.
    """
    host = override_records.host(store, name)
    if host.draining and not deadline:

        def change(override: HostOverride) -> HostOverride:
            if override.drained is None or not override.drained.holds(host.draining, said.now):
                raise RevisionRefused(f"host {name} drains already: its manifest says so")
            return msgspec.structs.replace(override, drained=None)

        override_records.of_host(store, name, change)
        return Overridden(
            object=f"host {name}",
            what="is emptied, as its manifest says",
            key=keys.host(name),
            managed_by=host.managed_by,
        )
    return _drained(store, host, draining=True, said=said, deadline=deadline)


def undrain(store: Store, name: str, said: Said) -> Overridden:
    """Have a host used again: takes a ``drain`` back, or overrides what the manifest says.

    Raises:
        UsageError: there is no such host.
        RevisionRefused: it does not drain.
    """
    host = override_records.host(store, name)
    if host.draining:
        return _drained(store, host, draining=False, said=said)

    def change(override: HostOverride) -> HostOverride:
        if override.drained is None or not override.drained.holds(host.draining, said.now):
            raise RevisionRefused(f"host {name} does not drain")
        return msgspec.structs.replace(override, drained=None)

    override_records.of_host(store, name, change)
    return Overridden(object=f"host {name}", what="takes tasks again", key=keys.host(name), managed_by=host.managed_by)


def _scaled(store: Store, service: Service, desired: int, said: Said, what: str) -> Overridden:
    scaled = None
    if desired != service.desired:
        scaled = Scaled(
            desired=desired,
            declared=service.desired,
            by=said.by,
            reason=said.reason,
            since=said.now,
            until=said.until,
        )
    override_records.of_service(store, service.name, lambda override: msgspec.structs.replace(override, scaled=scaled))
    return _about(store, service, desired, what, said.until if scaled else 0.0)


def _about(store: Store, service: Service, desired: int, what: str, until: float = 0.0) -> Overridden:
    return Overridden(
        object=f"service {service.name}",
        what=what,
        key=keys.service(service.name),
        managed_by=service.managed_by,
        field="desired",
        before=service.desired,
        after=desired,
        until=until,
        warnings=_warnings(override_records.clusters_of(store, service.name), service.name),
    )


def _drained(store: Store, host: Host, *, draining: bool, said: Said, deadline: float = 0.0) -> Overridden:
    drained = Drained(
        draining=draining,
        declared=host.draining,
        deadline=deadline,
        by=said.by,
        reason=said.reason,
        since=said.now,
        until=said.until,
    )
    override_records.of_host(store, host.name, lambda override: msgspec.structs.replace(override, drained=drained))
    return Overridden(
        object=f"host {host.name}",
        what="drains: what runs there moves, healthy elsewhere first" if draining else "takes tasks again",
        key=keys.host(host.name),
        managed_by=host.managed_by,
        field="draining",
        before=host.draining,
        after=draining,
        until=said.until,
    )


def _warnings(clusters: list[Cluster], service: str) -> tuple[str, ...]:
    if not clusters:
        return (f"service {service} is in no cluster, so nothing runs it",)
    return tuple(
        f"cluster {each.name} is served by scheduler {each.scheduler}; whether that obeys, only its makers know"
        for each in clusters
        if each.scheduler != OURS
    )


def _all_or(cluster: str) -> str:
    return "every cluster" if cluster == keys.EVERY else f"cluster {cluster}"
