"""Which files are manifests: the one answer for folders, git trees and ``validate``.

``*.yml``, ``*.yaml`` and ``*.json``; hidden files and folders, and ``reconciler.yaml`` (see ``settings``), are none.
Symbolic links to folders are followed only as long as they stay inside the root.
"""

import os
from pathlib import Path
from typing import Final

SUFFIXES: Final = (".yml", ".yaml", ".json")
SETTINGS_NAME: Final = "reconciler.yaml"
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""A larger file is no manifest that anybody reads."""


def is_manifest_path(relative_path: str) -> bool:
    """Whether the file at this path under a root, written with slashes, is a manifest."""
    parts = relative_path.split("/")
    hidden = any(part.startswith(".") and part not in {".", ".."} for part in parts)
    return not hidden and parts[-1].lower().endswith(SUFFIXES) and parts[-1] != SETTINGS_NAME


def is_settings_path(path: str) -> bool:
    """Whether the file holds settings."""
    return path.rpartition("/")[2] == SETTINGS_NAME


def is_read_path(relative_path: str) -> bool:
    """Whether ``load`` wants the file at this path: a manifest, or the settings that stand beside some."""
    if is_settings_path(relative_path):
        return not any(part.startswith(".") for part in relative_path.split("/"))
    return is_manifest_path(relative_path)


def find_manifests(root: Path) -> dict[str, str]:
    """The files under a folder that ``load`` wants, by paths relative to it, sorted: where each of them really is.

    Raises:
        OSError: a folder could not be read; a part is never returned as the whole.
    """
    real_root = root.resolve()
    found: dict[str, str] = {}
    pending: list[tuple[str, Path, frozenset[Path]]] = [("", real_root, frozenset({real_root}))]
    while pending:
        folder, real_folder, above = pending.pop()
        prefix = f"{str(real_folder).rstrip('/')}/"
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                relative = f"{folder}{entry.name}"
                if entry.is_dir():
                    inside = _folder_inside(Path(entry.path), real_root, above)
                    if inside is not None:
                        pending.append((f"{relative}/", inside, above | {inside}))
                elif is_read_path(entry.name) and entry.is_file():
                    real = prefix + entry.name if not entry.is_symlink() else _file_inside(entry.path, real_root)
                    if real is not None:
                        found[relative] = real
    return dict(sorted(found.items()))


def _folder_inside(folder: Path, real_root: Path, above: frozenset[Path]) -> Path | None:
    """Where a folder really is; None if that is outside of the root, or above itself (a loop of links)."""
    real = folder.resolve()
    return real if real.is_relative_to(real_root) and real not in above else None


def _file_inside(link: str, real_root: Path) -> str | None:
    """Where a linked file really is; None if that is outside of the root."""
    real = Path(link).resolve()
    return str(real) if real.is_relative_to(real_root) else None
