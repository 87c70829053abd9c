"""Which files are manifests: the one answer for folders, git trees and ``validate``.

``*.yml``, ``*.yaml`` and ``*.json``; hidden files and folders, and ``reconciler.yaml`` (see ``settings``), are none.
Symbolic links to folders are followed only as long as they stay inside the root.
"""

import os
from pathlib import Path
from typing import Final

from reconciler.manifests.settings import SETTINGS_NAME, is_settings_path

SUFFIXES: Final = (".yml", ".yaml", ".json")


def is_manifest_path(relative_path: str) -> bool:
    """Whether the file at this path under a root, written with slashes, is a manifest."""
    parts = relative_path.split("/")
    hidden = any(part.startswith(".") and part not in {".", ".."} for part in parts)
    return not hidden and parts[-1].lower().endswith(SUFFIXES) and parts[-1] != SETTINGS_NAME


def is_read_path(relative_path: str) -> bool:
    """Whether ``load`` wants the file at this path: a manifest, or the settings that stand beside some."""
    if is_settings_path(relative_path):
        return not any(part.startswith(".") for part in relative_path.split("/"))
    return is_manifest_path(relative_path)


def find_manifests(root: Path) -> list[str]:
    """The files under a folder that ``load`` wants, as sorted paths relative to it, written with slashes.

    Raises:
        OSError: a folder could not be read; a part is never returned as the whole.
    """
    real_root = root.resolve()
    found: list[str] = []
    pending: list[tuple[str, frozenset[Path]]] = [("", frozenset({real_root}))]
    while pending:
        folder, above = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                relative = f"{folder}{entry.name}"
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    inside = _folder_inside(Path(entry.path), real_root, above)
                    if inside is not None:
                        pending.append((f"{relative}/", above | {inside}))
                elif is_read_path(relative) and _file_inside(entry, real_root):
                    found.append(relative)
    return sorted(found)


def _folder_inside(folder: Path, real_root: Path, above: frozenset[Path]) -> Path | None:
    """Where a folder really is; None if that is outside of the root, or above itself (a loop of links)."""
    real = folder.resolve()
    return real if real.is_relative_to(real_root) and real not in above else None


def _file_inside(entry: "os.DirEntry[str]", real_root: Path) -> bool:
    """Whether it is a file whose content is inside the root (a link may point out of it)."""
    return entry.is_file() and (not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(real_root))
