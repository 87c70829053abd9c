"""Names under which tasks are found in Consul, and that two of them would have. Pure; called by ``references``."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.index import Index
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem, problem
from reconciler.model.manifests import Cluster, Service
from reconciler.model.names import discovery_name, port_name


class _Found(msgspec.Struct, frozen=True):
    """What is found under a name: a service in a cluster, or one of its named ports.

    ``entry`` is that of the service if it ``says`` the name, else that of the cluster, which lists it at ``position``.
    """

    cluster: str
    service: str
    port: str | None
    entry: Entry
    position: int
    says: bool
    task_name: str

    @property
    def node(self) -> Node:
        """Where the name is from."""
        fields = self.entry.node.fields
        return fields["discovery_name"] if self.says else fields["services"].items[self.position]

    @property
    def words(self) -> str:
        """For people."""
        service = f"the service {self.service!r} in cluster {self.cluster!r}"
        return service if self.port is None else f"port {self.port!r} of {service}"


def discovery_problems(entries: Sequence[Entry], index: Index) -> Iterator[Problem]:
    """Services and ports of services that would be found under one name.

    Services whose names collide because they say none have tasks of the same ids, which ``references`` says. Several
    versions of one thing side by side, in one cluster, may share a name on purpose. Consul takes names as equal
    whatever their case.
    """
    services = {entry.object.name: entry for entry in entries if isinstance(entry.object, Service)}
    first: dict[str, tuple[str, _Found]] = {}
    for name, found in sorted(_all_found(entries, services, index), key=lambda each: each[1].port is not None):
        other_name, other = first.setdefault(name.lower(), (name, found))
        if (other.cluster, other.service, other.port) == (found.cluster, found.service, found.port):
            continue
        if found.port is None and other.port is None and not (found.says or other.says):
            continue
        at = other if other.says and not found.says else found
        node = at.node
        if (other_name, other.port) != (name, found.port):
            message = f"{found.words} and {other.words} would both be found as {name}"
            yield problem(rules.DISCOVERY_NAMES_COLLIDE, at.entry.file, node.line, node.column, message)
        elif found.port is None and (other.cluster, other.task_name) != (found.cluster, found.task_name):
            message = f"{found.words} and {other.words} are both found as {name}: clients get either"
            yield problem(rules.DISCOVERY_NAME_SHARED, at.entry.file, node.line, node.column, message)


def _all_found(entries: Sequence[Entry], services: Mapping[str, Entry], index: Index) -> Iterator[tuple[str, _Found]]:
    """Every name, and what has it."""
    for entry in entries:
        if not isinstance(entry.object, Cluster):
            continue
        for position, service in enumerate(entry.object.services):
            declared = services.get(service)
            said = declared.object if declared and isinstance(declared.object, Service) else None
            own = said.discovery_name if said else None
            name = own or discovery_name(entry.object.name, service)
            at = declared if declared and own else entry
            task_name = said.task_name if said else ""
            found = _Found(entry.object.name, service, None, at, position, own is not None, task_name)
            yield name, found
            for port in _ports(said, index):
                yield port_name(name, port), msgspec.structs.replace(found, port=port)


def _ports(service: Service | None, index: Index) -> list[str]:
    definition = index.definitions.get((service.task_name, service.task_version)) if service else None
    return list(dict.fromkeys(port.name for port in definition.ports)) if definition else []
