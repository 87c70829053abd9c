"""Where a source is read, for people, with the environment that is meant there."""

from typing import Final

_ENVIRONMENT: Final = " environment "


def in_environment(location: str, environment: str | None) -> str:
    """A location, and the environment that is meant there."""
    return location if environment is None else f"{location}{_ENVIRONMENT}{environment}"


def environment_of(location: str) -> str | None:
    """The environment that is meant at a location; None: none is."""
    _, mark, name = location.rpartition(_ENVIRONMENT)
    return name if mark else None
