"""Canonical JSON: the same value is the same bytes, whoever writes it; so stored values compare as bytes.

Fixed defaults are filled in (a program in any language can use a value without our code); absent optional fields are
``null``; keys are sorted.
"""

import hashlib
from typing import Any, TypeVar

import msgspec

from reconciler.errors import ReconcilerError
from reconciler.model.manifests import TaskDefinition

T = TypeVar("T")


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
    """What a definition's content comes to, whoever manages it: 32 hexadecimal digits of SHA-256."""
    content = msgspec.structs.replace(definition, managed_by=None)
    return hashlib.sha256(encode(content)).hexdigest()[:32]


def to_builtins(value: Any) -> Any:
    """``value`` as plain dicts, lists, strings and numbers, for ``--format json``."""
    return msgspec.to_builtins(value)
