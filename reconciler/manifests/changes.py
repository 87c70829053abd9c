"""What changed since a revision, asked of git: for ``validate --changed-since`` and ``--base``.

A change touches a problem that stands on a line which was added or changed, and one that was not there before: what a
change breaks elsewhere is its problem too. Compared are the work tree, with files that git does not know yet, and the
commit from which the history went its own way, so that what others merged meanwhile does not count.
"""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from reconciler.errors import UsageError
from reconciler.manifests.find import is_read_path
from reconciler.manifests.problem import Problem

_HUNK = re.compile(rb"@@ -\S+ \+(\d+)(?:,(\d+))? @@")
_NUMBERS = re.compile(r"\b(lines?) \d+|:\d+\b")
_TIMEOUT_S: Final = 120


class Changes(msgspec.Struct, frozen=True):
    """``lines`` are those added or changed, by file name as given; None: the whole file. ``before`` is what the files
    held at ``base``: (name, content)."""

    base: str
    lines: dict[str, frozenset[int] | None]
    before: tuple[tuple[str, bytes], ...]


def changes_since(revision: str, paths: Sequence[str]) -> Changes:
    """What changed in the files and folders that were given.

    Raises:
        UsageError: there is no repository, or no such revision.
    """
    lines: dict[str, frozenset[int] | None] = {}
    before: dict[str, bytes] = {}
    base = ""
    for path in dict.fromkeys(paths):
        folder = path if Path(path).is_dir() else str(Path(path).parent)
        git = _Git(folder)
        base = git.base(revision)
        inside = "." if Path(path).is_dir() else Path(path).name
        lines |= {git.shown(name, path): changed for name, changed in git.changed(base, inside).items()}
        before |= {git.shown(name, path): content for name, content in git.before(base, inside).items()}
    return Changes(base, lines, tuple(before.items()))


def files_at(revision: str, paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """What the files and folders that were given held at a revision itself: (name, content).

    Raises:
        UsageError: there is no repository, or no such revision.
    """
    found: dict[str, bytes] = {}
    for path in dict.fromkeys(paths):
        is_folder = Path(path).is_dir()
        git = _Git(path if is_folder else str(Path(path).parent))
        held = git.before(git.commit(revision), "." if is_folder else Path(path).name)
        found |= {git.shown(name, path): content for name, content in held.items()}
    return list(found.items())


class _Git:
    """Asks git about one folder. Names are relative to it, as git is started there."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def shown(self, name: str, path: str) -> str:
        """A file's name as ``validate`` shows it."""
        return str(Path(path) / name) if Path(path).is_dir() else path

    def commit(self, revision: str) -> str:
        """The commit that a revision stands for."""
        commit = self.ask(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", may_fail=True
        )
        if not commit.strip():
            self.ask("rev-parse", "--git-dir")
            raise UsageError(
                f"there is no revision {revision} in the repository of {self.folder}",
                hint="fetch it: a CI's clone has often the last commit only (fetch-depth: 0 on GitHub)",
            )
        return commit.decode().strip()

    def base(self, revision: str) -> str:
        """The commit where the history parted from that of ``revision``."""
        commit = self.commit(revision)
        return self.ask("merge-base", commit, "HEAD", may_fail=True).decode().strip() or commit

    def changed(self, base: str, path: str) -> dict[str, frozenset[int] | None]:
        """The lines that were added or changed, by file."""
        options = ("--unified=0", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--relative")
        listed = self.ask("diff", "--name-only", "-z", "--no-renames", "--relative", base, "--", path)
        names = [os.fsdecode(name) for name in listed.split(b"\0") if name]
        # without context no line of a file's own text begins so
        parts = re.split(rb"^diff --git ", self.ask("diff", *options, base, "--", path), flags=re.MULTILINE)[1:]
        found: dict[str, frozenset[int] | None] = {
            name: frozenset(_lines(part)) for name, part in zip(names, parts, strict=True)
        }
        unknown = self.ask("ls-files", "--others", "--exclude-standard", "-z", "--", path).split(b"\0")
        return found | {os.fsdecode(name): None for name in unknown if name}

    def before(self, base: str, path: str) -> dict[str, bytes]:
        """The content of the manifests at ``base``."""
        listed = self.ask("ls-tree", "-r", "-z", base, "--", path).split(b"\0")
        blobs: dict[str, str] = {}
        for row in filter(None, listed):
            about, _, name = row.partition(b"\t")
            mode, kind, blob = about.decode().split(" ")
            shown = os.fsdecode(name)
            if kind == "blob" and mode != "120000" and (path != "." or is_read_path(shown)):
                blobs[shown] = blob
        answer = self.ask("cat-file", "--batch", stdin="\n".join(blobs.values()).encode() + b"\n") if blobs else b""
        contents: dict[str, bytes] = {}
        for shown in blobs:
            head, _, answer = answer.partition(b"\n")
            size = int(head.split(b" ")[2])
            contents[shown], answer = answer[:size], answer[size + 1 :]
        return contents

    def ask(self, *arguments: str | bytes, stdin: bytes = b"", may_fail: bool = False) -> bytes:
        """What git says; with ``may_fail`` nothing when it refuses."""
        try:
            done = subprocess.run(
                ["git", "--literal-pathspecs", *arguments],
                cwd=self.folder,
                input=stdin,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UsageError(
                f"git could not be asked about {self.folder}: {error}", hint="is git installed?"
            ) from error
        if done.returncode == 0:
            return done.stdout
        if may_fail:
            return b""
        why = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ")
        raise UsageError(
            f"git could not be asked about {self.folder}: {why}",
            hint="--changed-since and --base need manifests in a git repository",
        )


def _lines(diff: bytes) -> Iterator[int]:
    """The lines after the change that a diff without context adds; a deletion counts for the line that follows it."""
    for row in diff.split(b"\n"):
        found = _HUNK.match(row)
        if found:
            first, count = int(found[1]), int(found[2] or 1)
            yield from range(first, first + count) if count else (first, first + 1)


def touched(problems: Iterable[Problem], changes: Changes, before: Iterable[Problem]) -> list[Problem]:
    """The problems that the change touches; ``before`` are those of the files at the base."""
    there = Counter(map(_same, before))
    found: list[Problem] = []
    for problem in problems:
        identity = _same(problem)
        lines = changes.lines.get(problem.file, frozenset())
        is_new = there[identity] == 0
        there[identity] -= not is_new
        if is_new or lines is None or problem.line in lines:
            found.append(problem)
    return found


def _same(problem: Problem) -> tuple[str, str, str]:
    """What makes two problems the same one although lines moved."""
    return (problem.code, problem.file, _NUMBERS.sub("", problem.message))
