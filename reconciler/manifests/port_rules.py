"""Fixed ports that need more hosts than are declared. Pure; called by ``references``.

A fixed port can be had once on each host. Hosts need not be declared, so these are warnings; whoever declares hosts
enough gets none.
"""

from collections.abc import Iterator, Sequence

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.index import Index
from reconciler.manifests.problem import Problem, problem
from reconciler.model import ports
from reconciler.model.manifests import Cluster, Service


class _Use(msgspec.Struct, frozen=True):
    """A service that needs a fixed port in a cluster."""

    cluster: str
    service: Service
    entry: Entry
    port: int

    @property
    def hosts_needed(self) -> int:
        """One for each task, and a spare one if a task must be replaced before it stops."""
        spare = 1 if self.service.min_healthy >= self.service.desired else 0
        return self.service.desired + spare


def port_problems(entries: Sequence[Entry], index: Index) -> Iterator[Problem]:
    """The warnings about fixed ports."""
    by_port: dict[int, list[_Use]] = {}
    for use in _uses(entries, index):
        by_port.setdefault(use.port, []).append(use)
    spread: set[tuple[str, str]] = set()
    for uses in by_port.values():
        for use in uses:
            in_cluster = (use.cluster, use.service.name)
            if in_cluster not in spread and use.hosts_needed > max(1, len(index.usable_hosts)):
                spread.add(in_cluster)  # once, however many ports it has
                yield _needs_hosts(use)
        yield from _clashes(uses, len(index.usable_hosts))


def _uses(entries: Sequence[Entry], index: Index) -> Iterator[_Use]:
    clusters = [entry.object for entry in entries if isinstance(entry.object, Cluster)]
    clusters_of: dict[str, list[str]] = {}
    for cluster in clusters:
        for service in cluster.services:
            clusters_of.setdefault(service, []).append(cluster.name)
    for entry in entries:
        service_object = entry.object
        if not isinstance(service_object, Service) or service_object.desired == 0:
            continue
        definition = index.definitions.get((service_object.task_name, service_object.task_version))
        for port in ports.fixed(definition) if definition is not None else ():
            for cluster_name in dict.fromkeys(clusters_of.get(service_object.name, [])):
                yield _Use(cluster_name, service_object, entry, port)


def _needs_hosts(use: _Use) -> Problem:
    service = use.service
    message = f"{use.entry.label} needs {use.hosts_needed} hosts, because a host has the fixed port {use.port} once"
    hint = "use provide_port"
    if use.hosts_needed > service.desired:
        message += " and a new task must start before an old one stops"
        hint += f", or set min: {service.desired - 1} to stop one first"
    node = use.entry.node.fields["desired"]
    return problem(
        rules.FIXED_PORT_SPREAD,
        node.file or use.entry.file,
        node.line,
        node.column,
        message,
        f"{hint}, or declare hosts enough",
    )


def _clashes(uses: Sequence[_Use], usable_hosts: int) -> Iterator[Problem]:
    wanted = sum(use.service.desired for use in uses)
    if wanted <= usable_hosts:
        return
    first = uses[0]
    for use in uses[1:]:
        if use.service.name == first.service.name:
            message = f"{use.entry.label} is in the clusters {first.cluster!r} and {use.cluster!r}, but its fixed port "
            message += f"{use.port} can be had once on a host"
        else:
            message = (
                f"{use.entry.label} needs the fixed port {use.port} like {first.entry.label} ({first.entry.place}), "
            )
            message += "so they can never share a host"
        node = use.entry.node.fields["task_name"]
        yield problem(rules.FIXED_PORT_CLASH, node.file or use.entry.file, node.line, node.column, message)
