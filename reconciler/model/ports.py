"""Which ports of its host a task needs, which it is given, and where they lead. Scheduler and agent both ask here.

The unnamed port comes first, then the named ones in the order of the definition.
"""

from collections.abc import Iterable

import msgspec

from reconciler.model import publishing
from reconciler.model.task import Task
from reconciler.model.task_definition import Container, DockerContainer, NamedPort, TaskDefinition


class HostPort(msgspec.Struct, frozen=True):
    """A port of the host that somebody is to listen on. ``protocol``: ``tcp`` or ``udp``."""

    number: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"port {self.number}" if self.protocol == "tcp" else f"{self.protocol} port {self.number}"


class Publication(msgspec.Struct, frozen=True):
    """A port of the host that leads to one of a container."""

    host: HostPort
    container_port: int


def fixed(definition: TaskDefinition) -> tuple[int, ...]:
    """The ports that a task must have and no other, each once: one number may be both of TCP and of UDP."""
    return tuple(dict.fromkeys((*_own(definition), *_published(definition))))


def further(definition: TaskDefinition) -> tuple[tuple[int, int], ...]:
    """Those of them that only its containers know of: the first and last of each run."""
    runs: list[tuple[int, int]] = []
    for port in sorted(set(_published(definition)) - set(_own(definition))):
        if runs and runs[-1][1] == port - 1:
            runs[-1] = (runs[-1][0], port)
        else:
            runs.append((port, port))
    return tuple(runs)


def provided(definition: TaskDefinition) -> int:
    """How many ports the scheduler has to provide."""
    return int(definition.provide_port and not definition.port) + sum(not each.port for each in definition.ports)


def assigned(definition: TaskDefinition, given: Iterable[int]) -> tuple[int, dict[str, int]]:
    """The unnamed port (0: none) and the named ones of a task that is ``given`` as many ports as it needs provided."""
    rest = iter(given)
    unnamed = definition.port or (next(rest) if definition.provide_port else 0)
    return unnamed, {each.name: each.port or next(rest) for each in definition.ports}


def to_listen_on(definition: TaskDefinition, task: Task) -> tuple[HostPort, ...]:
    """The ports of its host that a task needs to be free when it starts."""
    unnamed = (HostPort(task.port),) if task.port else ()
    named = (HostPort(task.named_ports.get(each.name, 0), each.protocol) for each in definition.ports)
    return (*unnamed, *(port for port in named if port.number))


def published(definition: TaskDefinition, task: Task, container: Container) -> tuple[Publication, ...]:
    """Which named ports of a task lead into that container."""
    return tuple(
        Publication(HostPort(number, each.protocol), each.container_port)
        for each in definition.ports
        if each.container_port
        and container_of(definition, each) == container.name
        and (number := task.named_ports.get(each.name, 0))
    )


def container_of(definition: TaskDefinition, port: NamedPort) -> str | None:
    """The docker container that a named port is of; None: it can't be told."""
    if port.container is not None:
        return port.container
    docker = [each.name for each in definition.containers if isinstance(each, DockerContainer)]
    return docker[0] if len(docker) == 1 else None


def _own(definition: TaskDefinition) -> tuple[int, ...]:
    return tuple(port for port in (definition.port, *(each.port for each in definition.ports)) if port)


def _published(definition: TaskDefinition) -> tuple[int, ...]:
    return tuple(port for each in definition.containers for port, _ in publishing.of_container(each))
