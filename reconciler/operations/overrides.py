"""What operators change by hand on top of what is declared: scale, stop, pause, drain and back.

Called by the commands of these names. Each writes one key by compare-and-set (rule 14), so ``config/`` stays what git
says; schedulers lay it over ``config/``. Nothing is locked: it works while sync or git are away.
"""

from typing import Final

import msgspec

from reconciler.errors import RevisionRefused, UsageError
from reconciler.model import keys
from reconciler.model.codec import decode
from reconciler.model.manifests import Cluster, Host, Service
from reconciler.model.overrides import (
    ClusterOverride,
    Drained,
    HostOverride,
    Paused,
    Scaled,
    ServiceOverride,
)
from reconciler.operations import override_records
from reconciler.scheduler.overrides import describe
from reconciler.store.interface import Store

OURS: Final = "default"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """Who says it, why, when, and until when (seconds since 1970; 0: no end of its own)."""

    by: str
    reason: str = ""
    now: float
    until: float = 0.0


class Overridden(msgspec.Struct, frozen=True, kw_only=True):
    """What a command did. ``field`` is empty where there is nothing that a manifest could say; ``before`` is what the
    manifest says of it, ``after`` what counts now. ``key`` is the object's, ``managed_by`` its source. ``deadline``: of
    a drain (seconds since 1970; 0: none). ``lasts``: until when it holds, in words, where no manifest ends it.
    """

    object: str
    what: str
    key: str = ""
    managed_by: str | None = None
    field: str = ""
    before: int | bool = 0
    after: int | bool = 0
    until: float = 0.0
    deadline: float = 0.0
    lasts: str = ""
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
    done = _scaled(store, service, desired, said, _are_desired(desired))
    scaled = msgspec.structs.replace(service, desired=desired)
    if service.kind != "service" or not scaled.min_healthy == desired == scaled.max_issued:
        return done
    warning = f"min, desired and max are all {desired} now, so no rollout, restart or drain moves a task of it"
    return msgspec.structs.replace(
        done, warnings=(*done.warnings, f"{warning}: raise max or lower min in its manifest")
    )


def stop(store: Store, name: str, said: Said) -> Overridden:
    """Stop all tasks of a service.

    Raises:
        UsageError: there is no such service.
    """
    return _scaled(store, override_records.service(store, name), 0, said, "all of its tasks stop")


def start(store: Store, name: str, now: float) -> Overridden:
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
    return _about(store, service, service.desired, f"{_are_desired(service.desired)}, as in its manifest", now)


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
        lasts=f"`reconciler unpause {_argument(cluster)}`",
    )


def unpause(store: Store, cluster: str, now: float) -> Overridden:
    """Release the emergency brake.

    Raises:
        RevisionRefused: it is not pulled, or only that of all clusters is.
    """

    def change(override: ClusterOverride) -> ClusterOverride:
        if override.pause(now) is None:
            others = override_records.pauses(store, now).items()
            hints = [f"{_all_or(name)}, by {each.by}: `reconciler unpause {_argument(name)}`" for name, each in others]
            what = "there is no pause of every cluster" if cluster == keys.EVERY else f"cluster {cluster} is not paused"
            raise RevisionRefused(what, hint=f"Paused is {'; '.join(hints)}." if hints else None)
        return msgspec.structs.replace(override, paused=None)

    override_records.of_cluster(store, cluster, change)
    return Overridden(object=_all_or(cluster), what="is scheduled again")


def drain(store: Store, name: str, said: Said, deadline: float = 0.0) -> Overridden:
    """Have a host emptied: what runs there is healthy elsewhere first, but for ``deadline`` (seconds since 1970).

    Raises:
        UsageError: there is no such host, or an ``undrain`` is taken back, which has no end of its own.
        RevisionRefused: its manifest says so already.
    """
    host = override_records.host(store, name)
    if host.draining and not deadline:
        already = f"host {name} drains already: its manifest says so"
        return _taken_back(store, host, said, already, "is emptied, as its manifest says")
    return _drained(store, host, draining=True, said=said, deadline=deadline)


def undrain(store: Store, name: str, said: Said) -> Overridden:
    """Have a host used again: takes a ``drain`` back, or overrides what the manifest says.

    Raises:
        UsageError: there is no such host, or a ``drain`` is taken back, which has no end of its own.
        RevisionRefused: it does not drain.
    """
    host = override_records.host(store, name)
    if host.draining:
        return _drained(store, host, draining=False, said=said)
    return _taken_back(store, host, said, f"host {name} does not drain", "takes tasks again")


def _taken_back(store: Store, host: Host, said: Said, nothing_to_do: str, what: str) -> Overridden:
    """What an operator said of a host goes, and its manifest counts again."""

    def change(override: HostOverride) -> HostOverride:
        if override.drained is None or not override.drained.holds(host.draining, said.now):
            raise RevisionRefused(nothing_to_do)
        if said.until:
            taken = "drain" if override.drained.draining else "undrain"
            raise UsageError(
                f"this takes the `{taken}` by {override.drained.by} back, and nothing is kept that could end by itself",
                hint=f"Leave --until out, and say `reconciler {taken} {host.name}` again when it is time.",
            )
        return msgspec.structs.replace(override, drained=None)

    override_records.of_host(store, host.name, change)
    return Overridden(
        object=f"host {host.name}",
        what=what,
        key=keys.host(host.name),
        managed_by=host.managed_by,
        warnings=_not_kept(said),
    )


def _not_kept(said: Said) -> tuple[str, ...]:
    """What was said along with something of which no record is kept, since the manifest says it."""
    lost = " nor ".join(name for name, value in (("--until", said.until), ("--reason", said.reason)) if value)
    return (f"its manifest counts now, so nothing is kept, not {lost}",) if lost else ()


def _are_desired(count: int) -> str:
    return "1 task is desired" if count == 1 else f"{count} tasks are desired"


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
    done = _about(store, service, desired, what, said.now, said.until if scaled else 0.0)
    return done if scaled else msgspec.structs.replace(done, warnings=(*done.warnings, *_not_kept(said)))


def _about(store: Store, service: Service, desired: int, what: str, now: float, until: float = 0.0) -> Overridden:
    return Overridden(
        object=f"service {service.name}",
        what=what,
        key=keys.service(service.name),
        managed_by=service.managed_by,
        field="desired",
        before=service.desired,
        after=desired,
        until=until,
        warnings=warnings_of(store, override_records.clusters_of(store, service.name), service.name, now),
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
    before: Drained | None = None

    def change(override: HostOverride) -> HostOverride:
        nonlocal before
        before = override.drained
        return msgspec.structs.replace(override, drained=drained)

    override_records.of_host(store, host.name, change)
    paused = tuple(_is_paused(name, each) for name, each in override_records.pauses(store, said.now).items())
    return Overridden(
        object=f"host {host.name}",
        what="drains: what runs there moves, healthy elsewhere first" if draining else "takes tasks again",
        key=keys.host(host.name),
        managed_by=host.managed_by,
        field="draining",
        before=host.draining,
        after=draining,
        until=said.until,
        deadline=deadline,
        warnings=(*_no_deadline_now(before, drained), *paused),
    )


def _no_deadline_now(before: Drained | None, now: Drained) -> tuple[str, ...]:
    """What a drain that is said again without its deadline loses."""
    if before is None or not before.deadline or not now.draining or now.deadline:
        return ()
    return (f"the deadline that {before.by} gave it holds no more; with --deadline there is one again",)


def warnings_of(store: Store, clusters: list[Cluster], service: str, now: float) -> tuple[str, ...]:
    """What an operator should know of who will obey, and when."""
    if not clusters:
        return (f"service {service} is in no cluster, so nothing runs it",)
    others = (
        f"cluster {each.name} is served by scheduler {each.scheduler}; whether that obeys, only its makers know"
        for each in clusters
        if each.scheduler != OURS
    )
    mine = {keys.EVERY, *(each.name for each in clusters)}
    pauses = override_records.pauses(store, now).items()
    return (*others, *(_is_paused(name, each) for name, each in pauses if name in mine))


def stopped_by(store: Store, service: Service, now: float) -> tuple[str, ...]:
    """A warning if an operator has stopped the service."""
    entry = store.get(keys.service_override(service.name))
    scaled = decode(entry.value, ServiceOverride, entry.key).scaled if entry else None
    if scaled is None or scaled.desired or not scaled.holds(service.desired, now):
        return ()
    return (f"service {service.name} is stopped {describe(scaled)}, so nothing of it runs",)


def _is_paused(cluster: str, pause: Paused) -> str:
    what = f"{_all_or(cluster)} is paused {describe(pause)}"
    return f"{what}, so nothing comes of it until `reconciler unpause {_argument(cluster)}`"


def _argument(cluster: str) -> str:
    return "--all" if cluster == keys.EVERY else cluster


def _all_or(cluster: str) -> str:
    return "every cluster" if cluster == keys.EVERY else f"cluster {cluster}"
