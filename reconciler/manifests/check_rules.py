"""What the checks of a task definition must keep that the schema cannot say. Pure; called by ``object_rules``."""

from collections.abc import Iterator
from typing import Final

from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem, problem_at
from reconciler.manifests.rules import Rule
from reconciler.model.durations import format_duration, parse_duration
from reconciler.model.manifests import CHECK_KINDS, BashContainer, Check, TaskDefinition
from reconciler.model.names import env_name

SHORTEST_S: Final = 0.1
LONGEST_S: Final = 24 * 3600.0
"""Of the durations of a check; outside of them it is a mistake for sure, and costly for the host or never run."""

_ONLY_HTTP: Final = ("method", "header", "tls_skip_verify")
_NOT_TTL: Final = ("interval", "timeout")


def check_problems(definition: TaskDefinition, entry: Entry) -> Iterator[Problem]:
    """The problems with a definition's checks."""
    nodes = entry.node.fields["checks"].items if definition.checks else []
    names: dict[str, int] = {}
    for position, (check, node) in enumerate(zip(definition.checks, nodes, strict=True)):
        who = f"{entry.label}: check {check.name!r}" if check.name else f"{entry.label}: checks[{position}]"
        if check.name is not None:
            if check.name in names:
                message = f"{who} has the name of another one, first in line {names[check.name]}"
                yield _at(node.fields["name"], rules.DUPLICATE_NAME, message)
            names.setdefault(check.name, node.line)
        yield from _port(definition, check, node, who)
        yield from _container(definition, check, node, who)
        yield from _durations(check, node, who)
        yield from _without_effect(check, node, who)


def kind_of(check: Check) -> str:
    """Which of the four kinds the check is."""
    return next(kind for kind in CHECK_KINDS if getattr(check, kind) is not None)


def _port(definition: TaskDefinition, check: Check, node: Node, who: str) -> Iterator[Problem]:
    kind = kind_of(check)
    field = "port" if check.port else "add_provided_port"
    if not (check.port or check.add_provided_port):
        if check.tcp is not None and not _has_port(check.tcp):
            message, hint = f"{who} says no port to connect to", "write host:port, or set add_provided_port: true"
            yield _at(node.fields["tcp"], rules.CHECK_WITHOUT_PORT, message, hint)
        return
    at = node.fields[field]
    if kind not in {"http", "tcp"}:
        message = f"{who} is a {kind} check, which {field} can add nothing to"
        variable = f"RECONCILER_PORT_{env_name(check.port)}" if check.port else "PORT"
        yield _at(at, rules.CHECK_WITHOUT_PORT, message, f"remove {field}: the port is in ${variable}")
    elif check.port:
        yield from _named_port(definition, check.port, at, who)
    elif not (definition.provide_port or definition.port):
        message = f"{who} has add_provided_port, but the task has no {'unnamed ' if definition.ports else ''}port"
        hint = "set provide_port: true (or port) on the task definition"
        if definition.ports:
            hint += f", or name one here: port: {definition.ports[0].name}"
        yield _at(at, rules.CHECK_WITHOUT_PORT, message, hint)
    if _has_port(check.tcp if check.tcp is not None else _authority(check.http or "")):
        message = f"{who} has {field}, but its {kind} has a port already"
        yield _at(at, rules.CHECK_WITHOUT_PORT, message, f"take the port out of {kind}, or remove {field}")


def _named_port(definition: TaskDefinition, name: str, at: Node, who: str) -> Iterator[Problem]:
    found = next((each for each in definition.ports if each.name == name), None)
    if found is None:
        there = ", ".join(each.name for each in definition.ports)
        hint = f"its ports are {there}" if there else "declare it in ports of the task definition"
        yield _at(at, rules.CHECK_WITHOUT_PORT, f"{who} is of port {name!r}, which the task does not have", hint)
    elif found.protocol != "tcp":
        message = f"{who} is of port {name!r}, which is one of {found.protocol.upper()}"
        yield _at(at, rules.CHECK_WITHOUT_PORT, message, "check it with a script, or let the task report with ttl")


def _authority(url: str) -> str:
    """The host and port in a URL."""
    rest = url.split("://", 1)[-1]
    for end in "/?#":
        rest = rest.split(end, 1)[0]
    return rest.rsplit("@", 1)[-1]


def _has_port(address: str) -> bool:
    return ":" in address.rsplit("]", 1)[-1]


def _container(definition: TaskDefinition, check: Check, node: Node, who: str) -> Iterator[Problem]:
    if check.container is None:
        return
    at = node.fields["container"]
    if check.script is None:
        message = f"{who} names a container, but only a script runs in one"
        yield _at(at, rules.CHECK_CONTAINER, message, "remove container")
        return
    docker = [other.name for other in definition.containers if not isinstance(other, BashContainer)]
    if check.container in docker:
        return
    others = [other.name for other in definition.containers]
    if check.container in others:
        message = f"{who} names the container {check.container!r}, which is not a docker container"
        hint = "remove container: the script then runs on the host, beside the processes"
    else:
        message = f"{who} names the container {check.container!r}, which the task does not have"
        hint = f"its docker containers are {', '.join(docker)}" if docker else "remove container"
    yield _at(at, rules.CHECK_CONTAINER, message, hint)


def _durations(check: Check, node: Node, who: str) -> Iterator[Problem]:
    for field in ("interval", "timeout", "ttl"):
        text = getattr(check, field)
        if text is not None and not SHORTEST_S <= parse_duration(text) <= LONGEST_S:
            allowed = f"from {format_duration(SHORTEST_S)} to {format_duration(LONGEST_S)}"
            message = f"{who}: {field} is {text}, but must be {allowed}"
            yield _at(node.fields[field], rules.OUT_OF_RANGE, message, f"write a duration {allowed}")


def _without_effect(check: Check, node: Node, who: str) -> Iterator[Problem]:
    kind = kind_of(check)
    fields = _NOT_TTL if kind == "ttl" else ()
    for field in (*fields, *(() if kind == "http" else _ONLY_HTTP)):
        if getattr(check, field):
            yield _at(
                node.fields[field], rules.NO_EFFECT, f"{who}: {field} does nothing in a {kind} check", "remove it"
            )


def _at(node: Node, rule: Rule, message: str, hint: str | None = None) -> Problem:
    return problem_at(rule, node, message, hint)
