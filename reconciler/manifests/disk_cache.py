"""What ``validate`` found in earlier runs, under the user's cache folder. Called by ``validate`` only.

Two things are remembered for each set of paths: the verdict on exactly these files, and what each file came to by
itself, so that after a change only the changed files are parsed. A hash of the content, of the checks and of the
program's own code decides whether they are the same: to read a small file takes no longer than to ask for its times,
which may lie. The cache may be deleted at any time, and what can't be read is not used. A few files are checked faster
than a cache is read, so they never touch it.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from reconciler.manifests.checks import Checks
from reconciler.manifests.verdict import Verdict

if TYPE_CHECKING:
    from reconciler.manifests.cache import ParseCache

WORTH_FILES: Final = 64
"""Fewer files are checked without a cache."""
MOST_CACHES: Final = 16
"""So many sets of paths are remembered; the oldest go."""


class _Remembered(msgspec.Struct, frozen=True, array_like=True):
    """``verdict`` and ``files`` (what each came to, by its key) are decoded only when they are needed."""

    asked: bytes
    verdict: msgspec.Raw
    files: msgspec.Raw


def judge(
    files: Sequence[tuple[str, bytes]], checks: Checks, folder: Path | None, environment: str | None = None
) -> Verdict:
    """The verdict on ``files`` (name, content), with the cache in ``folder``; None: without one.

    ``environment``: only that one of those that are declared.
    """
    if folder is None or len(files) < WORTH_FILES:
        return _judge(files, checks, {}, environment)[0]
    files = sorted(files)
    about = [_program(), checks.digest, (environment or "").encode(), *(name.encode() for name, _ in files)]
    place = folder / f"{_hash(about).hex()}.msgpack"
    asked = _hash([part for name, content in files for part in (name.encode(), content)])
    remembered = _read(place)
    if remembered is not None and remembered.asked == asked:
        with contextlib.suppress(msgspec.MsgspecError):
            return msgspec.msgpack.decode(remembered.verdict, type=Verdict)
    known: dict[bytes, bytes] = {}
    with contextlib.suppress(msgspec.MsgspecError):
        known = msgspec.msgpack.decode(remembered.files, type=dict[bytes, bytes]) if remembered else {}
    verdict, cache = _judge(files, checks, known, environment)
    _write(place, _Remembered(asked, _raw(verdict), _raw(cache.compact())))
    return verdict


def _judge(
    files: Sequence[tuple[str, bytes]], checks: Checks, known: dict[bytes, bytes], environment: str | None
) -> tuple[Verdict, "ParseCache"]:
    """The verdict, and what each file came to; what is ``known`` is not parsed, and much is parsed on all cores."""
    # a remembered verdict needs none of these, and is there sooner than they are
    from reconciler.manifests.across import verdict_across
    from reconciler.manifests.cache import ParseCache, key_of
    from reconciler.manifests.parallel import parse_all
    from reconciler.manifests.parsed import kind_of
    from reconciler.manifests.scope import parsed_alone

    alone = parsed_alone(files)
    kinds = {key_of(kind_of(name), content): (kind_of(name), content) for name, content in alone}
    missing = {key: file for key, file in kinds.items() if key not in known}
    cache = ParseCache(checks, known)
    if len(missing) >= WORTH_FILES:
        cache.take(dict(zip(missing, parse_all(list(missing.values()), checks), strict=True)))
    return verdict_across(files, cache, environment), cache


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


def _hash(parts: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _program() -> bytes:
    """Differs when the program, Python or a library does: also in a checkout, whose version stays the same."""
    package = Path(__file__).resolve().parents[1]
    folders = (package / "manifests", package / "model", package / "executors", package.parent / "schemas")
    stamps = [
        f"{entry.name} {entry.stat().st_size} {entry.stat().st_mtime_ns}"
        for folder in (*folders, package / "_schemas")
        if folder.is_dir()
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
        if entry.is_file()
    ]
    # the time of the folder of packages is another one after each installation
    packages = Path(msgspec.__file__).parents[1]
    about = [sys.version, str(package), str(packages.stat().st_mtime_ns)]
    return "\n".join([*about, *stamps]).encode()


def _read(place: Path) -> _Remembered | None:
    try:
        return msgspec.msgpack.decode(place.read_bytes(), type=_Remembered)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(place: Path, remembered: _Remembered) -> None:
    """Keep it if that is possible; nothing depends on it."""
    import tempfile

    with contextlib.suppress(OSError):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".", delete=False) as draft:
            draft.write(msgspec.msgpack.encode(remembered))
        Path(draft.name).replace(place)
        kept = sorted(place.parent.glob("*.msgpack"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in kept[MOST_CACHES:]:
            old.unlink(missing_ok=True)
