"""Names under which tasks are found in Consul, and that two of them would have. Pure; called by ``references``."""

from collections.abc import Iterator, Sequence

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.index import Index
from reconciler.manifests.problem import Problem, problem
from reconciler.model.manifests import Cluster, Service
from reconciler.model.names import discovery_name, port_name


class _Found(msgspec.Struct, frozen=True):
    """What is found under a name: a service in a cluster, or one of its named ports."""

    cluster: str
    service: str
    port: str | None
    entry: Entry
    position: int

    @property
    def words(self) -> str:
        """For people."""
        service = f"the service {self.service!r} in cluster {self.cluster!r}"
        return service if self.port is None else f"port {self.port!r} of {service}"


def discovery_problems(entries: Sequence[Entry], index: Index) -> Iterator[Problem]:
    """Ports of services that would be found under the name of something else.

    Services whose own names collide have tasks of the same ids; ``references`` says that. Consul takes names as equal
    whatever their case.
    """
    services = {entry.object.name: entry.object for entry in entries if isinstance(entry.object, Service)}
    first: dict[str, _Found] = {}
    ports: list[tuple[str, _Found]] = []
    for entry in entries:
        if isinstance(entry.object, Cluster):
            for position, service in enumerate(entry.object.services):
                name = discovery_name(entry.object.name, service)
                first.setdefault(name.lower(), _Found(entry.object.name, service, None, entry, position))
                ports += [
                    (port_name(name, port), _Found(entry.object.name, service, port, entry, position))
                    for port in _ports(services.get(service), index)
                ]
    for name, found in ports:
        other = first.setdefault(name.lower(), found)
        if (other.cluster, other.service, other.port) != (found.cluster, found.service, found.port):
            node = found.entry.node.fields["services"].items[found.position]
            message = f"{found.words} and {other.words} would both be found as {name}"
            yield problem(rules.DISCOVERY_NAMES_COLLIDE, found.entry.file, node.line, node.column, message)


def _ports(service: Service | None, index: Index) -> list[str]:
    definition = index.definitions.get((service.task_name, service.task_version)) if service else None
    return list(dict.fromkeys(port.name for port in definition.ports)) if definition else []
