"""What the operator of a host lets tasks do there, and how a task's definition goes against it.

``schemas/host_policy.json`` says the same for editors. Who reads the file is ``manifests.host_policy_file``, who judges
by it ``executors.host_policy``.
"""

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from reconciler.model.fields import Object, Text

HostPath: TypeAlias = Annotated[str, Meta(pattern=r"^/[^\n]*$(?!\n)")]
FlagPattern: TypeAlias = Annotated[str, Meta(pattern=r"^--[a-z0-9-]+(=[^\n]*)?$(?!\n)")]

ANY: Final = "*"
OWN_USER: Final = "default"
"""How ``users`` writes the user of a container that names none: the image's, or the agent's for a process."""


class MountRule(Object, frozen=True, kw_only=True):
    """A folder of the host that containers may be given, with all that is below it; or one file."""

    path: HostPath
    read_only: bool = False


class HostPolicy(Object, frozen=True, kw_only=True):
    """All lists say what is allowed, but ``refused_flags``. Without a file the defaults hold."""

    executors: tuple[Literal["docker", "bash"], ...] = ("docker", "bash")
    images: tuple[Text, ...] = (ANY,)
    mounts: tuple[MountRule, ...] = ()
    users: tuple[Text, ...] = (ANY,)
    privileged: bool = False
    flags: tuple[FlagPattern, ...] = ()
    refused_flags: tuple[FlagPattern, ...] = ()
    artifacts: tuple[Text, ...] = (ANY,)
    secrets: tuple[Text, ...] = (ANY,)


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """What a task definition asks for and the policy does not allow.

    ``rule`` is a stable name, ``path`` where it stands in the definition, ``remedy`` what the host's operator may do.
    """

    rule: str
    path: tuple[str | int, ...]
    text: str
    remedy: str
