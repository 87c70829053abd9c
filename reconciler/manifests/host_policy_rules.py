"""What the execution policies of hosts have against a definition, at its line. Pure; called for each object of a file.

Who judges is an executor's matter, and comes in as a function (see ``checks``).
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem, problem_at
from reconciler.model.host_policy import HostPolicy, Violation
from reconciler.model.manifests import TaskDefinition

Judge = Callable[[TaskDefinition, HostPolicy], list[Violation]]


class HostCheck(msgspec.Struct, frozen=True):
    """A policy, the file that it stands in, and who judges by it: the same in every process of one version."""

    file: str
    policy: HostPolicy
    judge: Judge


def host_policy_problems(checks: Sequence[HostCheck], entry: Entry) -> Iterator[Problem]:
    """What hosts with these policies would reject."""
    if not isinstance(entry.object, TaskDefinition):
        return
    for check in checks:
        for violation in check.judge(entry.object, check.policy):
            at = _at(violation.path, entry.node)
            message = f"{entry.label}: {violation.rule}: {violation.text}"
            yield problem_at(rules.HOST_POLICY, at, message, f"in {check.file}, {violation.remedy}")


def _at(path: tuple[str | int, ...], node: Node) -> Node:
    """The node at ``path``, or the last one on the way to a field that is not written."""
    for part in path:
        if isinstance(part, int):
            node = node.items[part]
        elif part in node.fields:
            node = node.fields[part]
        else:
            break
    return node
