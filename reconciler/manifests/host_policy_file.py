"""Reads a host's execution policy, with line and column of whatever is wrong in it.

The agent reads its own, ``validate --policy`` that of the hosts for which manifests are meant.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from reconciler.errors import UsageError
from reconciler.manifests.nodes import Node
from reconciler.manifests.problem import Problem
from reconciler.manifests.schema_files import schemas
from reconciler.manifests.yaml_reader import read
from reconciler.model.host_policy import HostPolicy, PolicyFault

SUFFIXES: Final = (".yml", ".yaml", ".json")


def read_host_policy(name: str, content: bytes, faults: Callable[[HostPolicy], Iterable[PolicyFault]]) -> HostPolicy:
    """The policy in a file; ``faults`` says what executors have against it.

    Raises:
        UsageError: it is none; says every problem with its place.
    """
    result = read(content, is_json=name.endswith(".json"))
    problems = list(result.problems)
    policy = HostPolicy()
    if not problems and len(result.documents) == 1:
        policy, problems = _checked(result.documents[0])
        if not problems:
            at = result.documents[0]
            wrong = [_said(name, _at(fault.path, at), fault.text) for fault in faults(policy)]
            if wrong:
                raise _refused(wrong)
    elif not problems:
        raise _refused([f"{name}:1:1: a policy is one document, and here are {len(result.documents)}"])
    if problems:
        raise _refused([_told(name, each) for each in problems])
    return policy


def _checked(document: Node) -> tuple[HostPolicy, list[Problem]]:
    try:
        return msgspec.convert(document.value, HostPolicy), []
    except msgspec.ValidationError:
        pass
    from reconciler.manifests.schema_words import explain
    from reconciler.manifests.validator import faults

    found = explain(faults("host_policy", document.value), document, schemas())
    return (HostPolicy() if found else msgspec.convert(document.value, HostPolicy)), found


def _at(path: tuple[str | int, ...], node: Node) -> Node:
    for part in path:
        node = node.items[part] if isinstance(part, int) else node.fields[part]
    return node


def _told(name: str, problem: Problem) -> str:
    """The rules of manifests have codes, which mean nothing here."""
    hint = f"; {problem.hint}" if problem.hint else ""
    return f"{name}:{problem.line}:{problem.column}: {problem.message}{hint}"


def _said(name: str, node: Node, text: str) -> str:
    return f"{name}:{node.line}:{node.column}: {text}"


def _refused(problems: list[str]) -> UsageError:
    return UsageError("\n".join(["the execution policy can't be used:", *problems]), hint="see docs/host-policy.md")
