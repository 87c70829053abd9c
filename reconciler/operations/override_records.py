"""The objects that overrides are about, and the one key that each command writes, for ``overrides``."""

import contextlib
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from reconciler.errors import StoreError, UsageError
from reconciler.model import keys
from reconciler.model.codec import Undecodable, decode, encode
from reconciler.model.manifests import Cluster, Host, Service
from reconciler.model.overrides import ClusterOverride, HostOverride, Paused, ServiceOverride
from reconciler.model.task import Rollout
from reconciler.store.interface import Committed, PutIf, Store

ATTEMPTS: Final = 10

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)


def service(store: Store, name: str) -> Service:
    return declared(store, keys.SERVICES, name, Service, "service")


def host(store: Store, name: str) -> Host:
    """The host's object; one that has reported itself needs none."""
    entry = store.get(keys.host(name))
    if entry is None and store.get(keys.host_state(name)) is not None:
        return Host(name=name)
    return declared(store, keys.HOSTS, name, Host, "host")


def declared(store: Store, prefix: str, name: str, kind: type[T], what: str) -> T:
    entry = store.get(prefix + name)
    if entry is not None:
        return decode(entry.value, kind, entry.key)
    places = (prefix, keys.HOST_STATES) if kind is Host else (prefix,)
    names = sorted({each.key.removeprefix(place) for place in places for each in store.list(place).entries})
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    raise UsageError(
        f"there is no {what} {name} in {store.url}", hint=f"There is {shown}." if names else f"There is no {what} yet."
    )


def clusters_of(store: Store, service: str) -> list[Cluster]:
    found = [decode(each.value, Cluster, each.key) for each in store.list(keys.CLUSTERS).entries]
    return [each for each in found if service in each.services]


def rollouts(store: Store, clusters: list[Cluster], service: str) -> list[Rollout]:
    entries = [store.get(keys.rollout(cluster.name, service)) for cluster in clusters]
    return [decode(entry.value, Rollout, entry.key) for entry in entries if entry is not None]


def pauses(store: Store, now: float) -> dict[str, Paused]:
    """The emergency brakes that are pulled, by cluster (``keys.EVERY``: of all).

    A record that can't be read is left out: this is asked to warn of brakes, often after something was written.
    """
    pulled = {}
    for entry in store.list(keys.CLUSTER_OVERRIDES).entries:
        with contextlib.suppress(Undecodable):
            each = decode(entry.value, ClusterOverride, entry.key)
            if pause := each.pause(now):
                pulled[each.cluster] = pause
    return pulled


def of_service(store: Store, name: str, change: Callable[[ServiceOverride], ServiceOverride]) -> None:
    _change(store, keys.service_override(name), ServiceOverride(service=name), change)


def of_host(store: Store, name: str, change: Callable[[HostOverride], HostOverride]) -> None:
    _change(store, keys.host_override(name), HostOverride(host=name), change)


def of_cluster(store: Store, name: str, change: Callable[[ClusterOverride], ClusterOverride]) -> None:
    _change(store, keys.cluster_override(name), ClusterOverride(cluster=name), change)


def _change(store: Store, key: str, nothing: R, change: Callable[[R], R]) -> None:
    for _ in range(ATTEMPTS):
        entry = store.get(key)
        value = encode(change(decode(entry.value, type(nothing), key) if entry else nothing))
        if entry is not None and entry.value == value:
            return
        if isinstance(store.commit([PutIf(key, value, entry.index if entry else 0)]), Committed):
            return
    raise StoreError(f"somebody else goes on writing {key}")
