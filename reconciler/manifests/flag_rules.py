"""Flags of ``docker run`` that an agent would refuse. Pure; called by ``object_rules``.

What the agent takes is known by the docker executor alone, which comes in as a function (see ``checks``).
"""

import re
from collections.abc import Callable, Iterator, Sequence

from reconciler.manifests import rules
from reconciler.manifests.entries import Entry
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem, problem_at
from reconciler.model.manifests import DockerContainer, TaskDefinition


def flag_problems(
    definition: TaskDefinition, entry: Entry, wrong_with: Callable[[Sequence[str]], list[str]]
) -> Iterator[Problem]:
    """What is wrong with the flags of a definition's docker containers."""
    nodes = entry.node.fields["containers"].items
    for container, node in zip(definition.containers, nodes, strict=True):
        if isinstance(container, DockerContainer) and container.executor.flags:
            listed = node.fields["executor"].fields["flags"]
            for sentence in wrong_with(container.executor.flags):
                at = _blamed(sentence, listed)
                message = f"{entry.label}: container {container.name!r}: {sentence}"
                yield problem_at(rules.DOCKER_FLAG, at, message)


def _blamed(sentence: str, listed: Node) -> Node:
    """The entry that a sentence is about: it begins with the flag, or with the whole entry in quotes."""
    first = re.split(r":? ", sentence, maxsplit=1)[0].strip("'\"")
    for item in listed.items:
        if (
            item.value == first
            or str(item.value).startswith((f"{first}=", f"{first} "))
            or sentence.startswith(repr(item.value))
        ):
            return item
    return listed
