"""What the ports of a task definition must keep among themselves. Pure; called by ``object_rules``.

What services with fixed ports need of hosts is in ``port_rules``.
"""

from collections.abc import Iterator

from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem, problem_at
from reconciler.manifests.rules import Rule
from reconciler.model import publishing
from reconciler.model.manifests import DockerContainer, NamedPort, TaskDefinition


def named_port_problems(definition: TaskDefinition, entry: Entry) -> Iterator[Problem]:
    """The problems with a definition's ports, beside those of single docker containers."""
    nodes = entry.node.fields["ports"].items if definition.ports else []
    names: dict[str, int] = {}
    for port, node in zip(definition.ports, nodes, strict=True):
        who = f"{entry.label}: port {port.name!r}"
        if port.name in names:
            message = f"{who} has the name of another one, first in line {names[port.name]}"
            yield _at(node.fields["name"], rules.DUPLICATE_NAME, message)
        names.setdefault(port.name, node.line)
        yield from _container(definition, port, node, who)
    yield from _twice(definition, entry, nodes)


def in_host_network(container: DockerContainer) -> bool:
    """Whether the container has no network of its own."""
    return publishing.network(container.executor.flags) == "host"


def _container(definition: TaskDefinition, port: NamedPort, node: Node, who: str) -> Iterator[Problem]:
    """Where a port leads to inside."""
    docker = [each for each in definition.containers if isinstance(each, DockerContainer)]
    names = [each.name for each in docker]
    if port.container is not None and port.container not in names:
        has = f"its docker containers are {', '.join(names)}" if names else "remove container and container_port"
        yield _at(node.fields["container"], rules.PORT_CONTAINER, f"{who} is of no docker container of the task", has)
        return
    if not port.container_port:
        if port.container is not None:
            message = f"{who} does not say where it leads to in container {port.container!r}"
            yield _at(node.fields["container"], rules.PORT_CONTAINER, message, "set container_port")
        elif len(docker) == len(definition.containers) and not any(map(in_host_network, docker)):
            yield _at(node, rules.PORT_NOT_MAPPED, f"{who} leads into none of the task's containers")
        return
    at = node.fields["container_port"]
    if port.container is None and len(docker) != 1:
        message = f"{who} has a container_port, and the task has {len(docker) or 'no'} docker containers"
        hint = f"set container to one of {', '.join(names)}" if docker else "remove container_port"
        yield _at(at, rules.PORT_CONTAINER, message, hint)
        return
    of = next(each for each in docker if port.container in (None, each.name))
    if in_host_network(of):
        message = f"{who} has a container_port, which does nothing in the host's own network of container {of.name!r}"
        yield _at(at, rules.HOST_NETWORK_WITH_CONTAINER_PORT, message)


def _twice(definition: TaskDefinition, entry: Entry, nodes: list[Node]) -> Iterator[Problem]:
    """Ports of the host that one task would need twice."""
    wanted: dict[tuple[int, str], str] = {}
    if definition.port:
        wanted[definition.port, "tcp"] = "is its port"
    for container in definition.containers:
        for each in publishing.of_container(container):
            wanted.setdefault(each, f"container {container.name!r} maps")
    for port, node in zip(definition.ports, nodes, strict=True):
        if not port.port:
            continue
        if other := wanted.get((port.port, port.protocol)):
            message = f"{entry.label}: port {port.name!r} is {port.port}/{port.protocol}, which {other} already"
            yield _at(node.fields["port"], rules.PORT_TWICE, message)
        wanted.setdefault((port.port, port.protocol), f"port {port.name!r} is")


def _at(node: Node, rule: Rule, message: str, hint: str | None = None) -> Problem:
    return problem_at(rule, node, message, hint)
