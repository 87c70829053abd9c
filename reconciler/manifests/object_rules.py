"""What one object must keep that its schema cannot say. Pure; called by ``load`` for each object of a file.

An object's own rules are checked once for a file's content; what objects must keep together is in ``references``.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from reconciler.manifests import rules
from reconciler.manifests.check_rules import check_problems
from reconciler.manifests.checks import FlagCheck
from reconciler.manifests.entries import Entry
from reconciler.manifests.flag_rules import flag_problems
from reconciler.manifests.named_port_rules import in_host_network, named_port_problems
from reconciler.manifests.nodes import Node
from reconciler.manifests.placement_rules import placement_problems
from reconciler.manifests.problem import Problem, problem_at
from reconciler.manifests.rollout_rules import rollout_problems
from reconciler.manifests.rules import Rule
from reconciler.model.codec import encode
from reconciler.model.manifests import (
    BashContainer,
    Cluster,
    Container,
    DockerContainer,
    Host,
    Service,
    TaskDefinition,
)
from reconciler.model.secrets import Wanted

MAX_OBJECT_BYTES: Final = 256 * 1024
"""Half of what Consul takes: a record beside it, and base64 in a transaction, need room as well."""


def object_problems(entry: Entry, docker_flags: FlagCheck | None = None) -> Iterator[Problem]:
    """The problems within one object; none for an object whose fields are wrong already.

    ``docker_flags`` says what is wrong with flags of docker; None: they are not looked at.
    """
    match entry.object:
        case None:
            return
        case Cluster() as cluster:
            yield from _cluster(cluster, entry)
        case Service() as service:
            yield from rollout_problems(service, entry)
            if service.placement is not None:
                yield from placement_problems(service.placement, entry)
        case TaskDefinition() as definition:
            yield from _definition(definition, entry)
            if docker_flags is not None:
                yield from flag_problems(definition, entry, docker_flags)
        case Host() as host:
            yield from _host(host, entry)
    size = len(encode(entry.object))
    if size > MAX_OBJECT_BYTES:
        limit = f"{MAX_OBJECT_BYTES // 1024} KB"
        yield _at(entry.node, rules.OBJECT_TOO_LARGE, f"{entry.label} is {size // 1024} KB large, more than {limit}")


def _cluster(cluster: Cluster, entry: Entry) -> Iterator[Problem]:
    if cluster.services:
        names = entry.node.fields["services"].items
        yield from _twice(names, list(cluster.services), f"{entry.label} lists the service")


def _host(host: Host, entry: Entry) -> Iterator[Problem]:
    if host.port_range and host.port_range[0] > host.port_range[1]:
        first, last = host.port_range
        message = f"{entry.label}: port_range begins with {first}, after its end {last}"
        yield _at(entry.node.fields["port_range"], rules.OUT_OF_RANGE, message, f"write [{last}, {first}]")


def _definition(definition: TaskDefinition, entry: Entry) -> Iterator[Problem]:
    containers = entry.node.fields["containers"].items
    names = [node.fields["name"] for node in containers]
    yield from _twice(
        names, [container.name for container in definition.containers], f"{entry.label} has the container"
    )
    mapped: list[str] = []
    for container, node in zip(definition.containers, containers, strict=True):
        if isinstance(container, DockerContainer):
            yield from _docker(definition, container, node.fields["executor"], entry, mapped)
        else:
            yield from _bash(container, node.fields["executor"], entry)
        yield from _from_host(container, node.fields["executor"], f"{entry.label}: container {container.name!r}")
    if definition.restart_after is not None and not definition.checks:
        message = f"{entry.label} has restart_after, and no check that could be critical"
        yield _at(entry.node.fields["restart_after"], rules.NO_EFFECT, message, "add a check, or remove restart_after")
    yield from named_port_problems(definition, entry)
    yield from check_problems(definition, entry)


def _bash(container: BashContainer, executor: Node, entry: Entry) -> Iterator[Problem]:
    """The rules of one bash container."""
    if _leads_out(container.executor.download_dir):
        message = f"{entry.label}: download_dir of container {container.name!r} leads out of the task's folder"
        hint = "write a folder below it, or one that begins with /"
        yield _at(executor.fields["download_dir"], rules.BAD_FORMAT, message, hint)
    if wrong := _wrong_url(container.executor.artifact):
        message = f"{entry.label}: artifact of container {container.name!r} is no URL: {wrong}"
        yield _at(executor.fields["artifact"], rules.BAD_FORMAT, message, "write it as a browser would take it")
    if container.executor.sha256 and not container.executor.artifact:
        message = f"{entry.label}: container {container.name!r} has a sha256, but no artifact that must have it"
        yield _at(executor.fields["sha256"], rules.NO_EFFECT, message, "name the artifact, or remove it")


def _docker(
    definition: TaskDefinition, container: DockerContainer, executor: Node, entry: Entry, mapped: list[str]
) -> Iterator[Problem]:
    """The rules of one docker container; ``mapped`` are the containers before it that map the task's port."""
    who = f"{entry.label}: container {container.name!r}"
    has_host_network = in_host_network(container)
    if has_host_network and container.executor.ports:
        message = f"{who} maps ports, which does nothing in the host's own network"
        yield _at(
            executor.fields["ports"], rules.HOST_NETWORK_WITH_CONTAINER_PORT, message, "remove ports or --net=host"
        )
    if not container.executor.container_port:
        return
    node = executor.fields["container_port"]
    if not (definition.provide_port or definition.port):
        message = f"{who} has a container_port, but the task has no port to map to it"
        yield _at(node, rules.CONTAINER_PORT_WITHOUT_PORT, message)
    if has_host_network:
        message = f"{who} has a container_port, which does nothing in the host's own network"
        yield _at(node, rules.HOST_NETWORK_WITH_CONTAINER_PORT, message)
    if mapped:
        message = f"{who} maps the task's port, which container {mapped[0]!r} maps already"
        yield _at(node, rules.CONTAINER_PORT_TWICE, message)
    mapped.append(container.name)


def _from_host(container: Container, node: Node, who: str) -> Iterator[Problem]:
    """The names under which a container is given values of the host: each once, and not in ``env`` beside."""
    executor = container.executor
    plain = {entry.partition("=")[0] for entry in executor.env}
    listed: dict[str, tuple[Wanted, ...]] = {"env_from": executor.env_from, "secrets": executor.secrets}
    for field, entries in listed.items():
        if not entries:
            continue
        nodes = [item.fields["name"] for item in node.fields[field].items]
        yield from _twice(nodes, [each.name for each in entries], f"{who} has in {field} the name")
        for each, at in zip(entries, nodes, strict=True):
            if field == "env_from" and each.name in plain:
                yield _at(at, rules.ENV_TWICE, f"{who} has {each.name} in env as well")


def _leads_out(folder: str) -> bool:
    path = PurePosixPath(folder)
    return not path.is_absolute() and ".." in path.parts


def _wrong_url(url: str) -> str | None:
    """Why nobody can tell the parts of a URL; None: they can."""
    try:
        _ = urlsplit(url).port  # only looked at when asked for
    except ValueError as error:
        return str(error)
    return None


def _twice(nodes: list[Node], names: list[str], what: str) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for node, name in zip(nodes, names, strict=True):
        if name in seen:
            yield _at(node, rules.DUPLICATE_NAME, f"{what} {name!r} a second time, first in line {seen[name]}")
        else:
            seen[name] = node.line


def _at(node: Node, rule: Rule, message: str, hint: str | None = None) -> Problem:
    return problem_at(rule, node, message, hint)
