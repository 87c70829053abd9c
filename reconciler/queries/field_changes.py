"""In which fields two stored objects differ, with both values. Pure; for ``plan``."""

from collections.abc import Iterator
from typing import Any

import msgspec

_OURS = "managed_by"


class FieldChange(msgspec.Struct, frozen=True):
    """``path`` is as in ``containers[0].executor.image``; None stands for what is not there."""

    path: str
    before: Any
    after: Any


def field_changes(before: bytes, after: bytes) -> tuple[FieldChange, ...]:
    """Every field with another value; none if one of them is not readable."""
    try:
        return tuple(_differences(msgspec.json.decode(before), msgspec.json.decode(after), ""))
    except (ValueError, msgspec.MsgspecError):
        return ()


def main_fields(value: bytes) -> tuple[FieldChange, ...]:
    """The plain fields of an object that is new."""
    try:
        fields = msgspec.json.decode(value)
    except (ValueError, msgspec.MsgspecError):
        return ()
    return tuple(
        FieldChange(name, None, field)
        for name, field in sorted(fields.items())
        if name not in {_OURS, "name"} and field not in (None, [], {}, "")
    )


def _differences(before: Any, after: Any, path: str) -> Iterator[FieldChange]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            if path or name != _OURS:
                yield from _differences(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    elif (
        isinstance(before, list) and isinstance(after, list) and any(isinstance(each, dict) for each in before + after)
    ):
        for position in range(max(len(before), len(after))):
            one = before[position] if position < len(before) else None
            other = after[position] if position < len(after) else None
            yield from _differences(one, other, f"{path}[{position}]")
    elif before != after:
        yield FieldChange(path, before, after)
