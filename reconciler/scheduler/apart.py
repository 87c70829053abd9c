"""Which services' tasks are kept off each other's hosts, whichever cluster they are in. Pure; for ``snapshot``."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from reconciler.model.manifests import Service


class Apart(msgspec.Struct, frozen=True):
    """By name of a service. ``beside``: whose tasks it is never placed beside. ``gives_way``: for which it moves.

    Placing looks both ways, whoever of the two said it. Where two are on one host already, the one that said it moves;
    if both did, the one whose name comes later. A service that is kept apart from itself has one task on a host.
    """

    beside: Mapping[str, tuple[str, ...]] = {}
    gives_way: Mapping[str, tuple[str, ...]] = {}


def apart(services: Iterable[Service]) -> Apart:
    """What the services declare, seen from both sides."""
    said: dict[str, set[str]] = {}
    for service in services:
        if service.placement and (service.placement.apart_from or service.placement.distinct_hosts):
            own = (service.name,) if service.placement.distinct_hosts else ()
            said[service.name] = {*service.placement.apart_from, *own}
    beside: dict[str, set[str]] = defaultdict(set)
    gives_way: dict[str, set[str]] = defaultdict(set)
    for name, others in said.items():
        for other in others:
            beside[name].add(other)
            beside[other].add(name)
            if not (name < other and name in said.get(other, ())):
                gives_way[name].add(other)
    return Apart(_sorted(beside), _sorted(gives_way))


def _sorted(names: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(others)) for name, others in names.items()}
