"""What a service says about how many tasks there are, and how it gets from one version to the next. Pure; called by
``object_rules``.
"""

from collections.abc import Iterator

from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem, problem_at
from reconciler.manifests.rules import Rule
from reconciler.model.manifests import Service


def rollout_problems(service: Service, entry: Entry) -> Iterator[Problem]:
    """The problems of one service's numbers and of its rollout block."""
    if service.kind == "service":
        yield from _counts(service, entry)
    else:
        yield from _without_effect(service, entry)
    policy, block = service.rollout, entry.node.fields.get("rollout")
    if policy is None or block is None:
        return
    if policy.healthy_after_s >= policy.deadline_s:
        message = f"{entry.label}: a task would count as healthy after {policy.healthy_after}, when the deadline of "
        message += f"{policy.deadline} is over"
        node = block.fields.get("deadline", block.fields["healthy_after"])
        yield _at(node, rules.DEADLINE_TOO_SHORT, message, "raise deadline, or lower healthy_after")
    if policy.order == "stop_first" and service.kind == "service" and service.min_healthy >= service.desired > 0:
        message = f"{entry.label}: order: stop_first does nothing while min is desired, {service.desired}"
        yield _at(block.fields["order"], rules.NO_EFFECT, message, f"set min: {service.desired - 1}, or remove order")


def _counts(service: Service, entry: Entry) -> Iterator[Problem]:
    low, wanted, high = service.min_healthy, service.desired, service.max_issued
    fields = entry.node.fields
    if low > wanted:
        message = f"{entry.label}: min is {low}, more than desired, which is {wanted}"
        yield _at(fields["min"], rules.COUNTS_OUT_OF_ORDER, message, "lower min or raise desired")
    if high < wanted:
        message = f"{entry.label}: max is {high}, less than desired, which is {wanted}"
        yield _at(fields["max"], rules.COUNTS_OUT_OF_ORDER, message, "raise max or lower desired")
    if low == wanted == high and wanted > 0:
        message = f"{entry.label} can never be updated: min, desired and max are all {wanted}"
        hint = f"set min: {wanted - 1} (stops one task first) or max: {wanted + 1} (starts one more first)"
        yield _at(fields["max"], rules.ROLLOUT_CANNOT_MOVE, message, hint)


def _without_effect(service: Service, entry: Entry) -> Iterator[Problem]:
    """What says nothing for a kind of service that has no such thing."""
    if service.max is not None and service.min is not None and service.min > service.max:
        message = f"{entry.label}: max is {service.max}, less than min, which is {service.min}"
        yield _at(entry.node.fields["max"], rules.COUNTS_OUT_OF_ORDER, message, "raise max or lower min")
    fields = entry.node.fields
    if service.kind == "batch" and service.min is not None:
        message = f"{entry.label}: min does nothing for a batch, whose tasks come to an end"
        yield _at(fields["min"], rules.NO_EFFECT, message, "remove it")
    if service.kind == "system" and service.desired > 1:
        message = f"{entry.label}: desired: {service.desired} means no more than 1: one task on each host"
        yield _at(fields["desired"], rules.NO_EFFECT, message, "write desired: 1 (0 switches it off)")
    block = fields.get("rollout")
    if block is None or service.rollout is None:
        return
    idle = {"canary": service.rollout.canary > 0}
    if service.kind == "batch":
        idle |= {name: name in block.fields for name in ("order", "healthy_after", "deadline", "on_failure")}
    for name, is_given in idle.items():
        if is_given and name in block.fields:
            message = f"{entry.label}: rollout.{name} does nothing for kind: {service.kind}"
            yield _at(block.fields[name], rules.NO_EFFECT, message, "remove it")


def _at(node: Node, rule: Rule, message: str, hint: str) -> Problem:
    return problem_at(rule, node, message, hint)
