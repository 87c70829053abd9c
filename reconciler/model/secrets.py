"""Values that a container is given and that stand in no manifest: where they come from, and under which name.

A manifest names places only; the agent reads them on its host, right before a start. ``docs/secrets.md`` is for users.
"""

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from reconciler.model.fields import Object

# A part of a path begins with a letter, digit or underscore: so none is "..", empty, or a hidden file.
SecretPath: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$(?!\n)", max_length=256)
]
SecretName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)", max_length=128)]
VariableName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)", max_length=128)]

SOURCE_KINDS: Final = ("kv", "file", "agent_env")


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a value is: ``kind`` is one of ``SOURCE_KINDS``, ``name`` as a manifest gives it."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class FromHost(Object, frozen=True, kw_only=True):
    """A value that the agent reads; exactly one of ``kv``, ``file``, ``agent_env`` says where.

    ``optional``: where there is nothing, the container starts without it.
    """

    kv: SecretPath | None = None
    file: SecretPath | None = None
    agent_env: VariableName | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if sum(place is not None for place in (self.kv, self.file, self.agent_env)) != 1:
            raise ValueError("a value comes from exactly one of kv, file and agent_env")

    @property
    def place(self) -> Place:
        """Where it is."""
        return next(Place(kind, name) for kind in SOURCE_KINDS if (name := getattr(self, kind)) is not None)


class EnvFrom(FromHost, frozen=True, kw_only=True):
    """An environment variable ``name`` with such a value."""

    name: VariableName

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.name} ({self.place})"


class Secret(FromHost, frozen=True, kw_only=True):
    """A file ``name`` with such a value, for this container alone."""

    name: SecretName

    @property
    def label(self) -> str:
        """For people."""
        return f"secret {self.name} ({self.place})"


Wanted: TypeAlias = EnvFrom | Secret
