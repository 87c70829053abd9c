"""``reconciler.yaml``: what is said of a folder of manifests as a whole. Pure; called by ``load``.

``ignore`` lists what is no manifest although its name looks like one: a pattern as in ``.gitignore``, for files and
folders below the one that the settings stand in. ``parameters`` and ``environments`` are read by ``environments``.
"""

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from reconciler.model.fields import Text
from reconciler.model.names import NAME_PATTERN

PARAMETER_MARK: Final = b"${"
"""A manifest without this has no parameters in it."""

EnvironmentName: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
ParameterName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$(?!\n)")]
ParameterValue: TypeAlias = str | int | float | bool


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that every environment has to say. ``enum`` empty: any value of the type."""

    type: Literal["string", "integer", "number", "boolean"]
    description: str = ""
    minimum: int | float | None = None
    maximum: int | float | None = None
    enum: tuple[ParameterValue, ...] = ()


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes the manifests those of one environment. ``overlay`` is a folder of patches; empty: none."""

    overlay: str = ""
    parameters: dict[ParameterName, ParameterValue] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file; ``schemas/settings.json`` says it for editors."""

    ignore: tuple[Text, ...] = ()
    parameters: dict[ParameterName, Parameter] = {}
    environments: dict[EnvironmentName, Environment] = {}


def ignored_names(names: Iterable[str], folder: str, patterns: Sequence[str]) -> Iterator[str]:
    """Those of ``names`` that the ``patterns`` of the settings in ``folder`` leave out."""
    prefix = "" if folder == "." else f"{folder}/"
    for name in names:
        if name.startswith(prefix) and any(_matches(name[len(prefix) :], pattern) for pattern in patterns):
            yield name


def _matches(path: str, pattern: str) -> bool:
    """With a slash before its end, a pattern is for the whole path, else for any part; one at its end: for folders."""
    parts = path.split("/")
    if pattern.endswith("/"):
        parts.pop()
    wanted = pattern.strip("/")
    if "/" in pattern.rstrip("/"):
        return any(fnmatchcase("/".join(parts[:length]), wanted) for length in range(1, len(parts) + 1))
    return any(fnmatchcase(part, wanted) for part in parts)
