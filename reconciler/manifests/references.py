"""What objects must keep together, over all files: references that hold, nothing declared twice, no names that collide.

Pure; called by ``load`` on every load, because a change in one file can break another one. Fixed ports are in
``port_rules``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from reconciler.manifests import rules
from reconciler.manifests.discovery_rules import discovery_problems
from reconciler.manifests.entries import Entry, entry_key, label
from reconciler.manifests.field_names import closest
from reconciler.manifests.index import Index
from reconciler.manifests.nodes import Node
from reconciler.manifests.places import either
from reconciler.manifests.port_rules import port_problems
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.rules import Rule
from reconciler.model.manifests import Cluster, ConfigObject, Service
from reconciler.model.names import discovery_name


def reference_problems(
    entries: Sequence[Entry], known: Sequence[ConfigObject], maybe_declared: Callable[[str], bool]
) -> Iterator[Problem]:
    """The problems between objects.

    ``known`` objects are declared elsewhere. ``maybe_declared`` says whether a name stands in a file that could not be
    read: what is perhaps declared there is not called missing.
    """
    index = Index(entries, known)
    yield from _declared_twice(entries)
    for entry in entries:
        match entry.object:
            case Cluster() as cluster:
                yield from _services_of(cluster, entry, index, maybe_declared)
            case Service() as service:
                yield from _definition_of(service, entry, index, maybe_declared)
                yield from _apart_from(service, entry, index, maybe_declared)
                if service.name not in index.listed_services and not maybe_declared(service.name):
                    message = f"{entry.label} is in no cluster, so nothing runs it"
                    yield _at(entry, entry.node, rules.SERVICE_IN_NO_CLUSTER, message)
            case _:
                pass
    yield from _colliding_names(entries)
    yield from discovery_problems(entries, index)
    yield from port_problems(entries, index)


def _declared_twice(entries: Iterable[Entry]) -> Iterator[Problem]:
    first: dict[tuple[str, str, int | None], Entry] = {}
    for entry in entries:
        key = entry_key(entry)
        if key is None:
            continue
        if key in first:
            message = f"{entry.label} is declared here and in {first[key].place}"
            hint = "remove one of the two"
            if entry.kind == "task_definitions":
                hint += ", or give this one another version"
            yield _at(entry, entry.node, rules.DECLARED_TWICE, message, hint)
        else:
            first[key] = entry


def _services_of(
    cluster: Cluster, entry: Entry, index: Index, maybe_declared: Callable[[str], bool]
) -> Iterator[Problem]:
    for position, name in enumerate(cluster.services):
        if name not in index.services and not maybe_declared(name):
            message = f"{entry.label} lists the service {name!r}, which is not declared"
            guess = closest(name, index.services)
            hint = f"did you mean {guess}?" if guess else "declare the service, or take it out"
            yield _at(
                entry, entry.node.fields["services"].items[position], rules.CLUSTER_SERVICE_MISSING, message, hint
            )


def _definition_of(
    service: Service, entry: Entry, index: Index, maybe_declared: Callable[[str], bool]
) -> Iterator[Problem]:
    name, version = service.task_name, service.task_version
    versions = index.definition_versions.get(name)
    if maybe_declared(name):
        return
    if versions is None:
        message = f"{entry.label} runs the task definition {name!r}, which is not declared"
        guess = closest(name, index.definition_versions)
        hint = f"did you mean {guess}?" if guess else "declare it, or correct task_name"
        yield _at(entry, entry.node.fields["task_name"], rules.SERVICE_TASK_MISSING, message, hint)
    elif version not in versions and None not in versions:
        there = sorted(number for number in versions if number is not None)
        message = f"{entry.label} runs version {version} of the task definition {name!r}, which is not declared"
        shown = [str(number) for number in there[-10:]]
        hint = f"declared is version {shown[0]}" if len(there) == 1 else f"declared are the versions {either(shown)}"
        yield _at(entry, entry.node.fields["task_version"], rules.SERVICE_VERSION_MISSING, message, hint)


def _apart_from(
    service: Service, entry: Entry, index: Index, maybe_declared: Callable[[str], bool]
) -> Iterator[Problem]:
    for position, name in enumerate(service.placement.apart_from if service.placement else ()):
        if name not in index.services and not maybe_declared(name):
            message = f"{entry.label} is kept apart from the service {name!r}, which is not declared"
            guess = closest(name, index.services)
            hint = f"did you mean {guess}?" if guess else "declare the service, or take it out"
            node = entry.node.fields["placement"].fields["apart_from"].items[position]
            yield _at(entry, node, rules.APART_FROM_MISSING, message, hint)


def _colliding_names(entries: Sequence[Entry]) -> Iterator[Problem]:
    """Services that would be found under one name.

    A task id ends in two numbers, which hold no dash; so two ids are equal only when what stands before them is, which
    is the very name under which a service's tasks are found. Consul takes such names as equal whatever their case.
    """
    first: dict[str, tuple[Cluster, str, Entry]] = {}
    for entry in entries:
        if not isinstance(entry.object, Cluster):
            continue
        for position, service in enumerate(entry.object.services):
            name = discovery_name(entry.object.name, service)
            other = first.setdefault(name.lower(), (entry.object, service, entry))
            if (other[0].name, other[1]) == (entry.object.name, service):
                continue
            node = entry.node.fields["services"].items[position]
            pair = f"the service {service!r} in {entry.label} and {other[1]!r} in {label('clusters', other[0].name)}"
            if discovery_name(other[0].name, other[1]) == name:
                message = f"{pair} ({other[2].place}) would have tasks of the same ids: {name}-<version>-<instance>"
                yield _at(entry, node, rules.IDS_COLLIDE, message)
            else:
                message = f"{pair} ({other[2].place}) are one for Consul, which does not tell apart capital letters"
                yield _at(entry, node, rules.DISCOVERY_NAMES_COLLIDE, message)


def _at(entry: Entry, node: Node, rule: Rule, message: str, hint: str | None = None) -> Problem:
    return problem(rule, node.file or entry.file, node.line, node.column, message, hint)
