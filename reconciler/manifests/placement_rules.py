"""What the constraints of one service must keep that the schema cannot say. Pure; called by ``object_rules``."""

from collections.abc import Iterator

from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem, problem_at
from reconciler.manifests.rules import Rule
from reconciler.model.manifests import Constraint, Placement
from reconciler.model.patterns import BadPattern, Pattern


def placement_problems(placement: Placement, entry: Entry) -> Iterator[Problem]:
    """The problems within a service's placement."""
    fields = entry.node.fields["placement"].fields
    for position, constraint in enumerate(placement.constraints):
        yield from _constraint(constraint, fields["constraints"].items[position], entry)


def _constraint(constraint: Constraint, node: Node, entry: Entry) -> Iterator[Problem]:
    who = f"{entry.label}: the constraint on {constraint.key}"
    fields = node.fields
    if constraint.operator == "in":
        if not constraint.values:
            at = fields.get("value", fields["operator"])
            yield _at(at, rules.CONSTRAINT_VALUES, f"{who} says in, but names no values", "write values: [a, b]")
        elif "value" in fields:
            message = f"{who} says in, which compares with values, and has a value as well"
            yield _at(fields["value"], rules.CONSTRAINT_VALUES, message, "add it to values, or remove it")
        return
    if "values" in fields:
        message = f"{who} has values, which only the operator in compares with"
        yield _at(fields["values"], rules.CONSTRAINT_VALUES, message, "write operator: in, or value instead")
    elif "value" not in fields:
        message = f"{who} says no value to compare with"
        yield _at(node, rules.CONSTRAINT_VALUES, message, "write value: and what it has to be")
    elif constraint.operator == "regex":
        try:
            Pattern(constraint.value)
        except BadPattern as error:
            message = f"{who} has the pattern {constraint.value!r}, which can't be used: {error}"
            yield _at(fields["value"], rules.BAD_PATTERN, message)


def _at(node: Node, rule: Rule, message: str, hint: str | None = None) -> Problem:
    return problem_at(rule, node, message, hint)
