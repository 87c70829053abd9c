"""Where stored objects are written: ``state/provenance/<source>/<shard>``. Sync writes it, ``explain`` reads it.

Nothing is decided from it; when it is lost, sync makes it again.
"""

from typing import Final
from zlib import crc32

import msgspec

SHARDS: Final = 256
"""How many keys a source's records are spread over: each stays small, and one file's change writes one of them."""
MOST_OBJECTS: Final = 500
"""How many objects one record names; a file with more has several records."""


class DeclaredIn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A file, or a part of one, and what it declares: the line of each object, by its key below ``config/``.

    ``digest`` tells its content. ``commit`` is the last one that changed the file, ``author`` and ``subject`` are its;
    ``at`` is when it was made. Without a commit ``author`` is whoever applied the file, and ``at`` when; where git was
    not found to know either, both are empty. ``declared`` False: the objects are still stored, but no longer declared.
    ``values`` are objects that another file declares and that have values in this one (an overlay of an environment),
    with the line of the first.
    """

    file: str
    digest: str
    objects: dict[str, int]
    commit: str = ""
    author: str = ""
    subject: str = ""
    at: float = 0.0
    declared: bool = True
    values: dict[str, int] = {}


class ProvenanceShard(msgspec.Struct, frozen=True, kw_only=True):
    """The records of some of a source's files."""

    files: tuple[DeclaredIn, ...] = ()


def shard_of(file: str, part: int = 0) -> str:
    """The shard in which a file's record stands."""
    return f"{crc32(f'{part} {file}'.encode(errors='surrogateescape')) % SHARDS:02x}"
