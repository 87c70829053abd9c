"""What the script declares at one time: the objects in ``config/*`` that the audits measure a scheduler by. Pure."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from reconciler.model.manifests import (
    BashContainer,
    BashExecutor,
    Check,
    Cluster,
    ConfigObject,
    Host,
    NamedPort,
    Service,
    TaskDefinition,
)
from reconciler.model.source_state import SourceCounts
from reconciler.model.task import Task


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """One revision. ``index`` is that of the transaction that wrote it; what comes after it should rest on it."""

    cluster: Cluster | None = None
    services: Mapping[str, Service] = {}
    definitions: Mapping[tuple[str, int], TaskDefinition] = {}
    hosts: Mapping[str, Host] = {}
    index: int = 0

    def service(self, name: str) -> Service | None:
        """A service that the cluster runs; None if it should have no tasks."""
        return self.services.get(name) if self.cluster and name in self.cluster.services else None

    def definition_of(self, task: Task) -> TaskDefinition | None:
        """The definition that a record names."""
        return self.definitions.get((task.task_name, task.task_version))

    def is_draining(self, host: str) -> bool:
        """Whether the operator wants it empty."""
        return host in self.hosts and self.hosts[host].draining

    def objects(self) -> Iterator[ConfigObject]:
        """All of it, in the order in which it should be written."""
        yield from self.definitions.values()
        yield from self.services.values()
        if self.cluster is not None:
            yield self.cluster
        yield from self.hosts.values()

    @property
    def counts(self) -> SourceCounts:
        """How many of each kind."""
        return SourceCounts(
            clusters=1 if self.cluster else 0,
            services=len(self.services),
            task_definitions=len(self.definitions),
            hosts=len(self.hosts),
        )

    def with_service(self, service: Service, *definitions: TaskDefinition) -> "Declared":
        """The same with a service added or changed, and with further definitions."""
        assert self.cluster is not None
        names = dict.fromkeys((*self.cluster.services, service.name))
        return msgspec.structs.replace(
            self,
            cluster=msgspec.structs.replace(self.cluster, services=tuple(names)),
            services={**self.services, service.name: service},
            definitions={**self.definitions, **_by_version(definitions)},
        )

    def without_service(self, name: str) -> "Declared":
        """The same without a service."""
        assert self.cluster is not None
        return msgspec.structs.replace(
            self,
            cluster=msgspec.structs.replace(
                self.cluster, services=tuple(each for each in self.cluster.services if each != name)
            ),
            services={each: service for each, service in self.services.items() if each != name},
        )

    def with_host(self, host: Host) -> "Declared":
        """The same with what an operator says of a host."""
        return msgspec.structs.replace(self, hosts={**self.hosts, host.name: host})

    def without_cluster(self) -> "Declared":
        """Only the definitions are left."""
        return Declared(definitions=self.definitions)


def _by_version(definitions: Sequence[TaskDefinition]) -> dict[tuple[str, int], TaskDefinition]:
    return {(each.name, each.version): each for each in definitions}


def definition(
    name: str,
    version: int = 1,
    *,
    memory: int = 0,
    cpu_units: int = 0,
    port: int = 0,
    provide_port: bool = False,
    ports: tuple[NamedPort, ...] = (),
) -> TaskDefinition:
    """A definition that nothing ever runs: the hosts only pretend."""
    return TaskDefinition(
        name=name,
        version=version,
        containers=(BashContainer(name="main", executor=BashExecutor(start=(f"echo {name} {version}",))),),
        checks=(Check(script=f"echo {name}", interval="1s"),),
        memory=memory,
        cpu_units=cpu_units,
        port=port,
        provide_port=provide_port,
        ports=ports,
    )


def service(name: str, desired: int, *, version: int = 1, least: int | None = None, most: int | None = None) -> Service:
    """A service whose definition has its own name."""
    return Service(name=name, task_name=name, task_version=version, desired=desired, min=least, max=most)
