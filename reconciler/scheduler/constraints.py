"""What a service demands of a host's tags and attributes, and how it is said in words. Pure.

Called by ``filters`` for placing, by ``pools`` for whole classes of hosts, by ``misplaced`` for tasks that are there.
"""

from collections.abc import Sequence

from reconciler.model.manifests import Constraint
from reconciler.model.patterns import pattern
from reconciler.scheduler.cluster_view import HostView

TAG = "tag."
ATTRIBUTE = "attribute."


def value_of(host: HostView, key: str) -> str | None:
    """What a host has under a constraint's key; None: nothing."""
    if key.startswith(TAG):
        return host.config.tags.get(key[len(TAG) :])
    if key.startswith(ATTRIBUTE):
        return host.state.attributes.get(key[len(ATTRIBUTE) :]) if host.state else None
    return host.name


def holds(constraint: Constraint, value: str | None) -> bool:
    """Whether a value is what the constraint wants. What is not there fulfils ``!=`` alone."""
    if value is None:
        return constraint.operator == "!="
    match constraint.operator:
        case "=":
            return value == constraint.value
        case "!=":
            return value != constraint.value
        case "in":
            return value in constraint.values
        case "regex":
            found = pattern(constraint.value)
            return found is not None and found.matches(value)


def broken(host: HostView, constraints: Sequence[Constraint], *, certainly: bool = False) -> Constraint | None:
    """The first constraint that the host does not fulfil.

    ``certainly``: what its agent does not report (an older one, say) proves nothing; a tag that is not there does.
    """
    for constraint in constraints:
        value = value_of(host, constraint.key)
        if not holds(constraint, value) and not (certainly and value is None and constraint.key.startswith(ATTRIBUTE)):
            return constraint
    return None


def text(constraint: Constraint) -> str:
    """The constraint as people write it."""
    if constraint.operator == "in":
        return f"{constraint.key} in {', '.join(constraint.values) or 'nothing'}"
    return f"{constraint.key} {constraint.operator} {constraint.value or repr('')}"


def explain(host: HostView, constraint: Constraint) -> str:
    """Why the host does not fulfil it."""
    value = value_of(host, constraint.key)
    if value is not None:
        return f"{text(constraint)} wanted, it is {value or repr('')}"
    kind, _, name = constraint.key.partition(".")
    return f"{text(constraint)} wanted, it has no {kind} {name}"
