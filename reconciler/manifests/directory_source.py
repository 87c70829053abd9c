"""Manifests out of a folder, as people and editors change it. The only file that imports ``watchdog``.

A revision is what stood still: it is handed out only when nothing changed for a moment before and while it was read, so
that a file that is half written, replaced by renaming, or one of thousands that a checkout changes, is never taken for
what somebody meant. Events only say "look again"; where none come (network file systems, too many watches), the folder
is looked at every second.
"""

import contextlib
import hashlib
import logging
import os
import threading
import time
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from reconciler.errors import SourceError
from reconciler.manifests.find import is_read_path
from reconciler.manifests.source import MAX_FILE_BYTES, Commit, Revision, shown
from reconciler.model.locations import in_environment

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)

_HARMLESS: Final = frozenset({"opened", "closed_no_write"})
"""Events that our own reading causes."""
_STILL_S: Final = 0.2
_GONE_S: Final = 1.0
"""Editors that replace a file may remove it first; one that is gone must stay gone for this long."""
_UNREST_S: Final = 30.0
_SCAN_S: Final = 5.0
_SCAN_WITHOUT_EVENTS_S: Final = 1.0
_WATCH_AGAIN_S: Final = 30.0


class _File(msgspec.Struct, frozen=True):
    """A file without its content; any write changes at least one of these."""

    path: str
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class _Scan(msgspec.Struct, frozen=True):
    """What stood in the folder at one look, by the name that is shown."""

    files: dict[str, _File]
    passed_over: tuple[str, ...]


class DirectorySource:
    """The manifests under a folder."""

    kind = "directory"

    def __init__(self, name: str, folder: Path, *, environment: str | None = None, still_s: float = _STILL_S) -> None:
        self.name = name
        self.environment = environment
        self._root = folder.absolute()
        self._still_s = still_s
        self._last: tuple[_Scan, Revision] | None = None
        self._contents: dict[_File, bytes] = {}
        self._announced: object = None
        self._watch: _Watch | None = None
        self._events = threading.Event()
        self._events_come = True
        self._watch_again_at = 0.0
        self._woken = False
        self._closing = threading.Event()

    @property
    def location(self) -> str:
        return in_environment(str(self._root), self.environment)

    def read(self) -> Revision:
        try:
            return self._read()
        except OSError as error:
            raise SourceError(f"{error.filename or self._root} could not be read: {error.strerror or error}") from error

    def at(self, revision: str) -> Revision | None:
        return self._last[1] if self._last is not None and self._last[1].id == revision else None

    def follows(self, revision: str, earlier: str) -> bool | None:  # noqa: ARG002 - what is there now comes after all
        return True

    def last_changes(self, revision: str, files: Collection[str], timeout_s: float) -> Mapping[str, Commit]:  # noqa: ARG002 - there are none
        return {}

    def wait(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not self._closing.is_set():
            self._watch_root()
            left_s = deadline - time.monotonic()
            every_s = _SCAN_S if self._events_come else _SCAN_WITHOUT_EVENTS_S
            told = self._events.wait(max(0.0, min(left_s, every_s)))
            self._wait_for_quiet()
            if self._woken:
                self._woken = False
                return True
            now = self._look()
            if now != self._announced:
                if not told and self._announced is not None and self._events_come:
                    log.info("%s: changes come without events here; looking every second instead", self._root)
                    self._events_come = False
                self._announced = now
                return True
            if left_s <= 0:
                return False
        return True

    def wake(self) -> None:
        self._woken = True
        self._events.set()

    def close(self) -> None:
        self._closing.set()
        self._events.set()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()

    def _read(self) -> Revision:
        scan = self._scan()
        if self._last is not None and scan == self._last[0]:
            return self._last[1]
        deadline = time.monotonic() + _UNREST_S
        while True:
            still_s = self._still_s
            if self._last is not None and self._last[0].files.keys() - scan.files.keys():
                still_s = max(still_s, _GONE_S)
            if self._closing.wait(still_s):
                raise SourceError(f"{self._root}: stopping")
            before, contents, scan = scan, {}, self._scan()
            if scan == before:
                with contextlib.suppress(FileNotFoundError):
                    contents = {name: self._content(file) for name, file in scan.files.items()}
                    scan = self._scan()
                    if scan == before:
                        return self._keep(scan, contents)
            if time.monotonic() > deadline:
                raise SourceError(
                    f"{self._root} has kept changing for {_UNREST_S:g} s; it is read when it stands still"
                )

    def _keep(self, scan: _Scan, contents: dict[str, bytes]) -> Revision:
        digest = hashlib.sha256()
        for name, content in sorted(contents.items()):
            digest.update(f"{len(name.encode())} {len(content)} {name}".encode() + content)
        revision_id = f"sha256:{digest.hexdigest()[:40]}"
        self._contents = {scan.files[name]: content for name, content in contents.items()}
        if self._last is None or self._last[1].id != revision_id:
            revision = Revision(id=revision_id, content=revision_id, files=contents, passed_over=scan.passed_over)
        else:
            revision = self._last[1]
        self._last = (scan, revision)
        return revision

    def _content(self, file: _File) -> bytes:
        # it stood still before it was read the first time, so a later write has a later stamp
        known = self._contents.get(file)
        return (self._root / file.path).read_bytes() if known is None else known

    def _scan(self) -> _Scan:
        """All manifests under the folder; links are followed as long as they stay inside.

        Raises:
            SourceError, OSError: not everything can be seen.
        """
        root = os.path.realpath(self._root, strict=True)
        files: dict[str, _File] = {}
        passed_over: list[str] = []
        pending: list[tuple[str, frozenset[str]]] = [("", frozenset({root}))]
        while pending:
            folder, above = pending.pop()
            with os.scandir(self._root / folder) as entries:
                for entry in entries:
                    path = folder + entry.name
                    if entry.name.startswith("."):
                        continue
                    real = os.path.realpath(entry.path) if entry.is_symlink() else ""
                    inside = not real or Path(real).is_relative_to(root)
                    if entry.is_dir():
                        target = real or os.path.realpath(entry.path)
                        if inside and target not in above:
                            pending.append((f"{path}/", above | {target}))
                        else:
                            passed_over.append(shown(path))
                    elif is_read_path(path):
                        self._add(files, path, entry, inside=inside)
        return _Scan(dict(sorted(files.items())), tuple(sorted(passed_over)))

    def _add(self, files: dict[str, _File], path: str, entry: "os.DirEntry[str]", *, inside: bool) -> None:
        name = shown(path)
        if not inside or (entry.is_symlink() and not entry.is_file()):
            raise SourceError(
                f"{self._root / name} is a link {'to no file' if inside else 'that leads out of the folder'}",
                hint="Put the file itself in its place, or give the link another ending.",
            )
        if not entry.is_file():
            return
        if name in files:
            raise SourceError(f"{self._root}: two files are both shown as {name}")
        stat = entry.stat()
        if stat.st_size > MAX_FILE_BYTES:
            raise SourceError(
                f"{self._root / name} has {stat.st_size >> 20} MiB; a manifest may have {MAX_FILE_BYTES >> 20}",
                hint="If it is none, give it another ending or move it out of the folder.",
            )
        files[name] = _File(path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    def _look(self) -> object:
        """A value that changes when the folder does; an error is one too."""
        try:
            return self._scan()
        except (SourceError, OSError) as error:
            return str(error)

    def _wait_for_quiet(self) -> None:
        """Until no event came for a moment, but not for ever."""
        deadline = time.monotonic() + _UNREST_S
        while self._events.is_set() and not self._closing.is_set() and time.monotonic() < deadline:
            self._events.clear()
            if self._woken:
                return
            self._events.wait(self._still_s / 2)

    def _watch_root(self) -> None:
        """Have events for the folder that is there now; without them the folder is looked at more often."""
        try:
            stat = self._root.stat()
        except OSError:
            return
        identity = (stat.st_dev, stat.st_ino)
        if self._watch is not None and self._watch.identity == identity and self._watch.alive:
            return
        if time.monotonic() < self._watch_again_at:
            return
        self._watch_again_at = time.monotonic() + _WATCH_AGAIN_S
        if self._watch is not None:
            self._watch.stop()
        try:
            self._watch = _Watch(self._root.resolve(), identity, self._events)
            self._events_come = True
        except OSError as error:
            log.info("%s: no events for changes (%s); looking every second instead", self._root, error)
            self._watch, self._events_come = None, False


class _Watch:
    """Sets ``events`` when something under a folder may have changed."""

    def __init__(self, root: Path, identity: tuple[int, int], events: threading.Event) -> None:
        from watchdog.events import FileSystemEvent, FileSystemEventHandler
        from watchdog.observers import Observer

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                if event.event_type in _HARMLESS:
                    return
                paths = [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path]
                if not all(_hidden(path, root) for path in paths):
                    events.set()

        # said of a folder within a new one that it hears of twice; it is watched all the same
        warnings.filterwarnings("ignore", message="Callback with id .* already exists", category=RuntimeWarning)
        self.identity = identity
        self._observer: BaseObserver = Observer()
        self._observer.schedule(Handler(), str(root), recursive=True)
        self._observer.start()

    @property
    def alive(self) -> bool:
        """Whether events still come."""
        return self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def stop(self) -> None:
        self._observer.stop()
        self._observer.join(5)


def _hidden(path: str, root: Path) -> bool:
    relative = os.path.relpath(path, root)
    return any(part.startswith(".") and part not in {".", ".."} for part in relative.split("/"))


def source_name_of(folder: Path) -> str:
    """What a source is called unless told otherwise: the folder's own name."""
    name = "".join(
        char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in folder.absolute().name
    )
    return name.strip("-._")[:64].strip("-._") or "directory"
