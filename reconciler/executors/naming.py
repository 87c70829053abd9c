"""The marks by which executors find again what they made: the variables in a process's environment, and one name.

Labels of docker containers are in ``docker_config``, which is the only one that needs them.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from reconciler.executors.interface import Owner, Ref, Spec

STORE: Final = "RECONCILER_STORE_ID"
MACHINE: Final = "RECONCILER_MACHINE"
TASK: Final = "RECONCILER_TASK_ID"
ISSUE: Final = "RECONCILER_ISSUE"
CONTAINER: Final = "RECONCILER_CONTAINER"
DIGEST: Final = "RECONCILER_DIGEST"
ATTEMPT: Final = "RECONCILER_ATTEMPT"
VALUES: Final = "RECONCILER_VALUES"
ROLE: Final = "RECONCILER_ROLE"
"""Absent: the task itself. ``check`` or ``stop``: beside the task; ends with it, but is no sign of its life."""

_LONGEST_READABLE: Final = 200


class Marks(msgspec.Struct, frozen=True):
    """What the environment of a marked process says of it; ``values`` is the fingerprint of its ``Values``."""

    owner: Owner
    ref: Ref
    digest: str
    attempt: int
    role: str = ""
    values: str = ""


def instance_name(owner: Owner, ref: Ref) -> str:
    """A name that people can read and nobody else has: of a docker container, or of a folder.

    Two stores may well issue a task of the same id, so the end is a hash of everything.
    """
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{ref.task_id}.{ref.issue}.{ref.container}")[:_LONGEST_READABLE]
    whole = "\0".join((owner.store_id, owner.machine, ref.task_id, str(ref.issue), ref.container))
    return f"{readable}.{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def owner_name(owner: Owner) -> str:
    """A name for what one owner keeps among others: of a folder."""
    return hashlib.sha256(f"{owner.store_id}\0{owner.machine}".encode()).hexdigest()[:16]


def marks_of(spec: Spec, owner: Owner) -> Marks:
    """The marks of what will be started for ``spec``."""
    return Marks(owner, spec.ref, spec.digest, spec.attempt, values=spec.values.fingerprint)


def to_environment(marks: Marks) -> dict[str, str]:
    """``marks`` as environment variables."""
    variables = {
        STORE: marks.owner.store_id,
        MACHINE: marks.owner.machine,
        TASK: marks.ref.task_id,
        ISSUE: str(marks.ref.issue),
        CONTAINER: marks.ref.container,
        DIGEST: marks.digest,
        ATTEMPT: str(marks.attempt),
    }
    more = {ROLE: marks.role, VALUES: marks.values}
    return variables | {name: value for name, value in more.items() if value}


def from_environment(environment: Mapping[str, str]) -> Marks | None:
    """The marks in an environment; None unless all of them are there and make sense."""
    try:
        return Marks(
            Owner(environment[STORE], environment[MACHINE]),
            Ref(environment[TASK], int(environment[ISSUE]), environment[CONTAINER]),
            environment[DIGEST],
            int(environment[ATTEMPT]),
            environment.get(ROLE, ""),
            environment.get(VALUES, ""),
        )
    except (KeyError, ValueError):
        return None
