"""What a file declares, object by object, before and after it is known to be right. Made by ``schema``, read by the
rules and by ``load``."""

from typing import Final

import msgspec

from reconciler.manifests.nodes import Node
from reconciler.model.manifests import Cluster, ConfigObject, Host, Service, TaskDefinition

KINDS: Final[dict[str, type[ConfigObject]]] = {
    "clusters": Cluster,
    "services": Service,
    "task_definitions": TaskDefinition,
    "hosts": Host,
}
SINGULAR: Final = {
    "clusters": "cluster",
    "services": "service",
    "task_definitions": "task definition",
    "hosts": "host",
}


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An object in a manifest. ``object`` is None when a rule of its fields is broken: it is declared, but not usable.

    ``name`` and ``version`` are as written, None if they are not what they must be. ``file`` is empty until ``load``
    knows it. ``values_in`` are the other files that its values stand in, and the first line there.
    """

    kind: str
    name: str | None
    version: int | None
    node: Node
    object: ConfigObject | None
    file: str = ""
    values_in: tuple[tuple[str, int], ...] = ()

    @property
    def label(self) -> str:
        """The object in words: ``task definition 'web' version 2``."""
        return label(self.kind, self.name, self.version)

    @property
    def place(self) -> str:
        """Where it is declared, for a message about another place."""
        return f"{self.file}:{self.node.line}"


def label(kind: str, name: str | None, version: int | None = None) -> str:
    """An object in words."""
    words = SINGULAR[kind]
    if name is not None:
        words += f" {name!r}"
    if version is not None:
        words += f" version {version}"
    return words


def entry_key(entry: Entry) -> tuple[str, str, int | None] | None:
    """What an object is known by; None if its name or version is not right."""
    if entry.name is None or (entry.kind == "task_definitions" and entry.version is None):
        return None
    return (entry.kind, entry.name, entry.version)


def entry_of(kind: str, node: Node, value: ConfigObject | None) -> Entry:
    """The entry for the object at ``node``; ``value`` None if it is not right."""
    fields = node.fields
    name = fields["name"].value if "name" in fields else None
    version = fields["version"].value if "version" in fields and kind == "task_definitions" else None
    return Entry(
        kind=kind,
        name=name if isinstance(name, str) else None,
        version=version if isinstance(version, int) and not isinstance(version, bool) else None,
        node=node,
        object=value,
    )
