"""Reads a host's execution policy, with line and column of whatever is wrong in it.

The agent reads its own, ``validate --policy`` that of the hosts for which manifests are meant.
"""

from collections.abc import Callable, Iterable
from typing import Final

from reconciler.manifests.operator_file import Kind, read_operator_file
from reconciler.model.faults import Fault
from reconciler.model.host_policy import HostPolicy

SUFFIXES: Final = (".yml", ".yaml", ".json")
_KIND: Final = Kind("execution policy", "host_policy", "host-policy.md")


def read_host_policy(name: str, content: bytes, faults: Callable[[HostPolicy], Iterable[Fault]]) -> HostPolicy:
    """The policy in a file; ``faults`` says what executors have against it.

    Raises:
        UsageError: it is none; says every problem with its place.
    """
    return read_operator_file(name, content, HostPolicy, _KIND, faults)
