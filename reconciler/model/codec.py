"""Canonical JSON: the same value is the same bytes, whoever writes it; so stored values compare as bytes.

Fixed defaults are filled in (a program in any language can use a value without our code); absent optional fields are
``null``; keys are sorted.
"""

import hashlib
from typing import Any, Final, TypeVar

import msgspec

from reconciler.errors import ReconcilerError
from reconciler.model.manifests import TaskDefinition

T = TypeVar("T")

_NESTED: Final = frozenset({dict, list, tuple})


class Undecodable(ReconcilerError):
    """A stored value is not what its key says; whoever wrote it, nothing is concluded from it."""


def encode(value: msgspec.Struct) -> bytes:
    """``value`` as canonical JSON."""
    return msgspec.json.encode(value, order="sorted")


def decode(raw: bytes, kind: type[T], key: str = "") -> T:
    """The object of type ``kind`` in ``raw``.

    Raises:
        Undecodable: it isn't one; names the key and the field.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Undecodable(f"{key or 'a value'} in the store is not a {kind.__name__}: {error}") from error


def digest(definition: TaskDefinition) -> str:
    """What a definition's content comes to, whoever manages it: 32 hexadecimal digits of SHA-256.

    Members that say nothing (null, false, 0, and what is empty) are left out, so that a field added later changes the
    digest, and with it running tasks, of those definitions only that use it.
    """
    content = _said(msgspec.to_builtins(msgspec.structs.replace(definition, managed_by=None)))
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:32]


def _said(value: Any) -> Any:
    """A JSON value without the members of its objects that say nothing; those of lists all stay."""
    if isinstance(value, dict):
        # most members say nothing; most others are texts and numbers, which are taken as they are
        said = {name: _said(each) if type(each) in _NESTED else each for name, each in value.items() if each}
        return {name: each for name, each in said.items() if each}
    return [_said(each) if type(each) in _NESTED else each for each in value]


def to_builtins(value: Any) -> Any:
    """``value`` as plain dicts, lists, strings and numbers, for ``--format json``."""
    return msgspec.to_builtins(value)
