"""Names and the ids made of them. Nothing here ever takes an id apart: the fields are in the record."""

import re
from typing import Final

# The tail keeps Python's "$" from accepting a trailing newline; the schemas use the same pattern.
NAME_PATTERN: Final = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$(?!\n)"
_NAME = re.compile(NAME_PATTERN)

BY_ID: Final = "_"
"""The pseudo host under which every task stands by its id; so no host may be called that."""


def is_name(text: str) -> bool:
    """Whether ``text`` may name a cluster, service, task definition or host (no ``/``, never ``_``)."""
    return _NAME.match(text) is not None


def task_id(cluster: str, service: str, version: int, instance: int) -> str:
    """``<cluster>-<service>-<version>-<instance>``, as the specification writes it."""
    return f"{cluster}-{service}-{version}-{instance}"


def discovery_name(cluster: str, service: str) -> str:
    """The name under which a service's tasks are found in Consul unless it says another."""
    return f"{cluster}-{service}"


def port_name(discovery: str, port: str) -> str:
    """The name under which a named port of a service's tasks is found in Consul."""
    return f"{discovery}-{port}"


def port_id(task: str, port: str) -> str:
    """The id of the service, and of its check, that stands in Consul for a named port of a task."""
    return f"{task}:{port}"


def check_id(task: str, position: int) -> str:
    """The id of a task's check, by its position in the definition (0-based)."""
    return f"{task}:{position}"


def env_name(text: str) -> str:
    """``text`` as the tail of an environment variable: upper case, everything else an underscore."""
    return re.sub(r"[^A-Z0-9]", "_", text.upper())
