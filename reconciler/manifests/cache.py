"""Remembers what files came to by their content, so that an unchanged file is not parsed and checked again.

``load`` uses one; sync keeps it from revision to revision, ``validate`` keeps it on disk (see ``disk_cache``).
"""

import hashlib
from collections import deque
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from reconciler.manifests.checks import NO_CHECKS, Checks
from reconciler.manifests.parsed import FileKind, Parsed, Raw, from_bytes, kind_of, parse, parse_raw, to_bytes

Key: TypeAlias = bytes
"""A file's kind and the hash of its content."""


class ParseCache:
    """Give the same one to each ``load`` of a source. Only what the last loads used is kept.

    Not for several threads at once. ``known`` is what an earlier process found, in its compact form.
    """

    def __init__(self, checks: Checks = NO_CHECKS, known: Mapping[Key, bytes] | None = None) -> None:
        self.checks = checks
        self.known = dict(known or {})
        self._used: deque[dict[Key, Parsed]] = deque(maxlen=3)
        """By the load that goes on, last, and the two before it."""
        self._raw: deque[dict[tuple[str, bytes], Raw]] = deque(maxlen=3)
        """Likewise what was read for an environment to change."""
        self.parsed_files = 0
        """How many files had to be parsed so far."""

    def begin(self) -> None:
        """A load begins."""
        self._used.append({})
        self._raw.append({})

    def parse(self, name: str, content: bytes) -> Parsed:
        """What ``content`` comes to, in a file of this name."""
        kind = kind_of(name)
        key = key_of(kind, content)
        found = next((used[key] for used in self._used if key in used), None) or self._known(key)
        if found is None:
            found = parse(content, kind, self.checks)
            self.parsed_files += 1
        self._used[-1][key] = found
        return found

    def raw(self, name: str, content: bytes) -> Raw:
        """The file as it is written."""
        key = (name, hashlib.sha256(content).digest())
        found = next((used[key] for used in self._raw if key in used), None)
        if found is None:
            found = parse_raw(name, content)
            self.parsed_files += 1
        self._raw[-1][key] = found
        return found

    def take(self, found: dict[Key, Parsed]) -> None:
        """Take what was parsed elsewhere, as if the last load had used it."""
        self._used.append(found)

    def compact(self) -> dict[Key, bytes]:
        """What the last load used, in its compact form."""
        used = self._used[-1] if self._used else {}
        return {key: self.known.get(key) or to_bytes(parsed) for key, parsed in used.items()}

    def _known(self, key: Key) -> Parsed | None:
        compact = self.known.get(key)
        if compact is None:
            return None
        try:
            return from_bytes(compact)
        except (msgspec.MsgspecError, KeyError):
            del self.known[key]
            return None


def key_of(kind: FileKind, content: bytes) -> Key:
    """What a file is known by."""
    return bytes((kind,)) + hashlib.sha256(content).digest()
