"""How revisions are written for people. Pure."""

from typing import Final

_CHARACTERS: Final = 12


def short(revision: str) -> str:
    """``0a1b2c3d4e5f``, ``sha256:0a1b2c3d4e5f``: enough of a revision to know it by."""
    kind, colon, digits = revision.rpartition(":")
    return f"{kind}{colon}{digits[:_CHARACTERS]}"
