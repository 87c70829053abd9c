"""What a request may hold; every store refuses the same things before it does anything.

A key that is malformed or named twice is a mistake in this program (``ValueError``), not something a user can mend;
a value that is too large is (``StoreTooLarge``).
"""

from collections.abc import Sequence

from reconciler.errors import StoreError, StoreTooLarge
from reconciler.store.interface import Acquire, Check, DeleteIf, Held, Limits, Operation, Put, PutIf, Release


class AnswerLost(StoreError):
    """A write whose answer never came: it may have happened or may still happen. ``commit`` answers ``Unknown``."""


def check_key(key: str) -> None:
    """A key is printable text in parts that are neither empty nor dots (a URL would lead to another key)."""
    if not key.isprintable() or not {"", ".", ".."}.isdisjoint(key.split("/")):
        raise ValueError(f"not a key: {key!r}")


def check_prefix(prefix: str) -> None:
    """A prefix is empty or ends with a slash (without one it would name its neighbours too)."""
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"a prefix ends with a slash: {prefix!r}")
    if prefix:
        check_key(prefix[:-1])


def check_commit(operations: Sequence[Operation], limits: Limits) -> None:
    """Refuse what no store carries out.

    Raises:
        StoreTooLarge: too many operations or bytes for one commit; names the key where one is to blame.
        ValueError: a key is malformed, or written twice.
    """
    written: set[str] = set()
    for operation in operations:
        check_key(operation.key)
        if not isinstance(operation, Check | Held):
            if operation.key in written:
                raise ValueError(f"{operation.key} is written twice in one commit")
            written.add(operation.key)
        if isinstance(operation, DeleteIf) and operation.index < 1:
            raise ValueError(f"{operation.key}: delete needs the index that was read")
        if isinstance(operation, Put | PutIf | Acquire | Release) and len(operation.value) > limits.value_bytes:
            raise StoreTooLarge(
                f"{operation.key}: its value has {len(operation.value)} bytes; the store takes {limits.value_bytes}",
                hint="Split the object, or move large content (files, scripts) out of it.",
            )
    if len(operations) > limits.operations:
        raise StoreTooLarge(f"{len(operations)} operations in one commit; the store takes {limits.operations}")
    total = sum(map(size_bytes, operations))
    if total > limits.commit_bytes:
        raise StoreTooLarge(f"{total} bytes in one commit; the store takes {limits.commit_bytes}")


def size_bytes(operation: Operation) -> int:
    """What an operation adds to a commit, in bytes of key and value."""
    key = len(operation.key.encode())
    return key + len(operation.value) if isinstance(operation, Put | PutIf | Acquire | Release) else key
