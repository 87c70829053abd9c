"""Files that nothing needs any more: which of the kept downloads go, and how what is to go is deleted.

The executors call it from ``sweep``. A deletion may be cut at any line: what is left of it goes the next time.
"""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import msgspec

from reconciler.executors.interface import Keep, Swept

_GOING: Final = ".gone"
_REST_S: Final = 3600.0
"""What was used in this time is let be, however much there is: somebody may be about to use it again."""


class Kept(msgspec.Struct, frozen=True):
    """A download that is kept: when somebody last had a use for it (wall time), and its bytes on disk."""

    path: Path
    used_at: float
    size: int


def unneeded(kept: Collection[Kept], wanted: Collection[Path], now: float, keep: Keep) -> list[Kept]:
    """The downloads to delete, those first that were not used for the longest time. Never one that is ``wanted``."""
    over = sum(each.size for each in kept) - keep.download_bytes
    going: list[Kept] = []
    for each in sorted(kept, key=lambda each: (each.used_at, each.path)):
        unused_s = now - each.used_at
        if each.path in wanted or unused_s <= _REST_S:
            continue
        if unused_s > keep.downloads_s or over > 0 or each.path.suffix == _GOING:
            going.append(each)
            over -= each.size
    return going


def kept_in(folder: Path) -> list[Kept]:
    """What is kept there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return [Kept(path, path.stat().st_mtime, size_of(path)) for path in folder.iterdir()]
    return []


def is_unchanged(kept: Kept) -> bool:
    """Whether nobody has used it since it was looked at."""
    try:
        return kept.path.stat().st_mtime == kept.used_at
    except FileNotFoundError:
        return False


def note_use(path: Path) -> None:
    """Somebody has a use for this download."""
    with contextlib.suppress(OSError):
        os.utime(path)


def size_of(path: Path) -> int:
    """The bytes on disk of a file, or of a folder with all that is in it; links are not followed."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(Path(folder) / name).st_blocks * 512
    return total


def delete(path: Path) -> None:
    """Delete a folder so that nobody ever sees a part of it. Raises OSError."""
    going = path if path.suffix == _GOING else path.with_name(f"{path.name}{_GOING}")
    if going.exists() and going != path:
        shutil.rmtree(going)
    path.rename(going)
    shutil.rmtree(going)


def delete_old(paths: Iterable[Path], older_than: float) -> Swept:
    """Delete our own folders among ``paths`` that nobody changed since ``older_than`` (wall time). Raises OSError."""
    count = size = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found = path.lstat()
            if path.is_dir() and not path.is_symlink() and found.st_uid == os.geteuid() and found.st_mtime < older_than:
                size += size_of(path)
                shutil.rmtree(path)
                count += 1
    return Swept(count, size)
