"""Manifests out of a git repository, read from objects at a commit. The only file that imports ``git``.

There is no work tree: nothing is checked out, no link is followed, no submodule is entered, no filter or hook runs.
Contents come through one ``git cat-file --batch`` process. Folders that did not change between two commits (the same
tree) are not read again, so that the cost of a commit is that of its changes.
"""

import configparser
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import msgspec

from reconciler.errors import SourceError, UntrustedRevision, UsageError
from reconciler.manifests import git_log
from reconciler.manifests.find import is_read_path
from reconciler.manifests.git_log import LastChanges
from reconciler.manifests.git_mirror import GitMirror
from reconciler.manifests.git_remote import GitRemote, redact
from reconciler.manifests.git_signatures import Signers
from reconciler.manifests.source import MAX_FILE_BYTES, Commit, Revision, shown
from reconciler.model.locations import in_environment

if TYPE_CHECKING:
    import git

MAX_DEPTH: Final = 100
MAX_ENTRIES: Final = 1_000_000
"""A tree may hold the same tree many times over, so a small repository can name more files than anybody could read."""
FETCH_TIMEOUT_S: Final = 120.0
MOST_NAMED: Final = 50
"""So many files are named to git when it looks for their commits; for more it walks through all of the path."""

_TREE: Final = 0o040000
_LINK: Final = 0o120000
_SUBMODULE: Final = 0o160000
_KIND: Final = 0o170000


class _Broken(Exception):
    """The copy lacks an object, or holds something else in its place."""


class _TooLarge(Exception):
    """An object that nobody would take for a manifest."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class _Folder(msgspec.Struct, frozen=True):
    """A tree and what was read of it: contents with their object ids by name."""

    tree: bytes
    files: dict[str, tuple[bytes, bytes]]
    folders: dict[str, "_Folder"]
    passed_over: tuple[str, ...]


class GitSource:
    """A branch, tag or commit of a repository, and the manifests under a path of it."""

    kind = "git"

    def __init__(
        self,
        name: str,
        remote: GitRemote,
        *,
        cache: Path,
        path: str = "",
        timeout_s: float = FETCH_TIMEOUT_S,
        signers: Sequence[Path] = (),
        environment: str | None = None,
    ) -> None:
        """``cache``: a folder for copies of repositories, shared by all sources and processes that like.

        ``signers``: only commits that somebody in these files has signed are handed out (see ``git_signatures``).

        Raises:
            UsageError: ``path`` is not one inside a repository.
        """
        self.name = name
        self.environment = environment
        self._remote = remote
        self._path = _path_inside(path)
        self._mirror = GitMirror(remote, cache, timeout_s=timeout_s)
        self._signers = Signers(signers)
        self._repo: git.Repo | None = None
        self._last: Revision | None = None
        self._refused: tuple[str, SourceError] | None = None
        self._root: _Folder | None = None
        self._looked_at = 0
        self._followed = ("", "", False)
        """The last answer of ``follows``, which never changes: one pass asks twice."""
        self._woken = threading.Event()
        self._closed = False

    @property
    def location(self) -> str:
        where = redact(self._remote.url)
        if self._remote.refspec_from != "HEAD":
            where += f" {self._remote.wanted}"
        return in_environment(f"{where} {self._path}/" if self._path else where, self.environment)

    def read(self) -> Revision:
        before, commit = self._mirror.fetch()
        if self._last is not None and self._last.id == commit:
            return self._last
        if self._refused is not None and self._refused[0] == commit:
            raise self._refused[1]
        refusal = self._refusal(commit)
        if refusal is not None:
            author, subject = self._author_and_subject(commit)
            raise UntrustedRevision(
                f"{self.location}: commit {commit[:12]} is not signed as it must be: {refusal}",
                hint=f"Sign it with a key that is in {self._signers}, or add its signer there.",
                revision=commit,
                author=author,
                subject=subject,
            )
        rewritten = before is not None and not self.follows(commit, before)
        try:
            self._last = self._revision_or_again(commit, rewritten=rewritten)
        except SourceError as error:
            self._refused = (commit, error)
            raise
        return self._last

    def at(self, revision: str) -> Revision | None:
        if self._last is not None and self._last.id == revision:
            return self._last
        if not self._mirror.has(revision):
            return None
        try:
            return None if self._refusal(revision) is not None else self._revision(revision, rewritten=False)
        except (_Broken, SourceError):
            return None

    def _refusal(self, commit: str) -> str | None:
        """Why a commit may not be handed out for want of a signature; None: it may."""
        return self._signers.refusal(self._mirror, commit) if self._signers else None

    def follows(self, revision: str, earlier: str) -> bool | None:
        if self._followed[:2] != (revision, earlier):
            answer = self._mirror.follows(revision, earlier)
            if answer is None:  # the server may have it later
                return None
            self._followed = (revision, earlier, answer)
        return self._followed[2]

    def last_changes(self, revision: str, files: Collection[str], timeout_s: float) -> Mapping[str, Commit]:
        changes = LastChanges(files)
        # names that had to be escaped for printing can't be given to git, and it takes only so many of them
        is_few = len(files) <= MOST_NAMED and not any("\\" in name for name in files)
        paths = sorted(files) if is_few else [self._path] if self._path else []
        self._mirror.read(*git_log.ARGUMENTS, revision, "--", *paths, take=changes.take, timeout_s=timeout_s)
        return changes.found

    def wait(self, timeout_s: float) -> bool:
        woken = self._woken.wait(timeout_s)
        if woken and not self._closed:
            self._woken.clear()
        return woken

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._closed = True
        self._woken.set()
        self._mirror.close()
        self._forget()

    def _forget(self) -> None:
        if self._repo is not None:
            self._repo.close()
            self._repo = None

    def _revision_or_again(self, commit: str, *, rewritten: bool) -> Revision:
        """The revision; from a new copy if this one is broken."""
        try:
            return self._revision(commit, rewritten=rewritten)
        except _Broken:
            self._forget()
            self._mirror.remake()
        try:
            return self._revision(commit, rewritten=rewritten)
        except _Broken as error:
            self._forget()
            raise SourceError(f"{self.location}: commit {commit[:12]} cannot be read: {error}") from error

    def _commit(self, commit_id: str) -> "git.Commit":
        import git

        if self._repo is None:
            self._repo = git.Repo(self._mirror.path, odbt=git.GitCmdObjectDB)
            self._repo.git.update_environment(
                GIT_DIR=str(self._mirror.path),
                GIT_OBJECT_DIRECTORY=str(self._mirror.path / "objects"),
                GIT_ALTERNATE_OBJECT_DIRECTORIES="",
                GIT_CONFIG_COUNT="1",
                GIT_CONFIG_KEY_0="core.bigFileThreshold",
                GIT_CONFIG_VALUE_0=str(MAX_FILE_BYTES),
            )
        return git.Commit(self._repo, bytes.fromhex(commit_id))

    def _author_and_subject(self, commit_id: str) -> tuple[str, str]:
        """Of a commit that nobody vouches for; empty if it is not well formed."""
        try:
            return _author_and_subject(self._commit(commit_id))
        except _git_failures():
            return "", ""

    def _revision(self, commit_id: str, *, rewritten: bool) -> Revision:
        try:
            self._looked_at = 0
            commit = self._commit(commit_id)
            root = self._folder(self._tree(commit), "", self._root)
            author, subject = _author_and_subject(commit)
            revision = Revision(
                id=commit_id,
                content=root.tree.hex(),
                files=dict(_flat(root, f"{self._path}/" if self._path else "")),
                author=author,
                subject=subject,
                committed_at=float(commit.committed_date),
                rewritten=rewritten,
                passed_over=tuple(_all_passed_over(root, f"{self._path}/" if self._path else "")),
            )
        except _git_failures() as error:
            raise _Broken(redact(str(error)) or type(error).__name__) from error
        self._root = root
        return revision

    def _tree(self, commit: "git.Commit") -> bytes:
        """The tree that the path names."""
        tree = commit.tree.binsha
        for part in PurePosixPath(self._path).parts:
            kinds = {name: (mode & _KIND, sha) for sha, mode, name in self._entries(tree)}
            kind, tree = kinds.get(part, (0, b""))
            if kind != _TREE:
                raise SourceError(
                    f"{self.location}: commit {commit.hexsha[:12]} has no folder {self._path}",
                    hint="Give the path of a folder of the repository itself; links and submodules are never followed.",
                )
        return tree

    def _folder(self, tree: bytes, path: str, before: _Folder | None) -> _Folder:
        """What stands in a tree; whatever is the same as ``before`` is not read again."""
        if before is not None and before.tree == tree:
            return before
        files: dict[str, tuple[bytes, bytes]] = {}
        folders: dict[str, _Folder] = {}
        passed_over = []
        if path.count("/") > MAX_DEPTH:
            raise SourceError(f"{self.location}: folders stand more than {MAX_DEPTH} deep in each other")
        for sha, mode, raw_name in self._entries(tree):
            name, kind = shown(raw_name), mode & _KIND
            self._looked_at += 1
            if self._looked_at > MAX_ENTRIES:
                raise SourceError(
                    f"{self.location}: more than {MAX_ENTRIES} files and folders",
                    hint="Give the path of the manifests.",
                )
            if name.startswith("."):
                continue
            if name in files or name in folders:
                raise SourceError(f"{self.location}: two entries of {path or '/'} are both shown as {name}")
            if kind == _LINK and is_read_path(name):
                raise SourceError(
                    f"{self.location}: {path}{name} is a symbolic link, and links are never followed",
                    hint="Commit the file itself in its place, or give the link another ending.",
                )
            if kind in {_LINK, _SUBMODULE}:
                passed_over.append(name)
            elif kind == _TREE:
                folders[name] = self._folder(sha, f"{path}{name}/", before and before.folders.get(name))
            elif is_read_path(name):
                old = before and before.files.get(name)
                files[name] = old if old and old[0] == sha else (sha, self._content(sha, path + name))
        return _Folder(tree, files, folders, tuple(passed_over))

    def _entries(self, tree: bytes) -> "list[tuple[bytes, int, str]]":
        from git.objects.fun import tree_entries_from_data

        return list(tree_entries_from_data(self._object(tree, b"tree")))

    def _content(self, blob: bytes, path: str) -> bytes:
        try:
            return self._object(blob, b"blob")
        except _TooLarge as error:
            raise SourceError(
                f"{self.location}: {path} has {error.size >> 20} MiB; a manifest may have {MAX_FILE_BYTES >> 20}",
                hint="If it is none, give it another ending or move it out of the path.",
            ) from error

    def _object(self, sha: bytes, kind: bytes) -> bytes:
        assert self._repo is not None
        stream = self._repo.odb.stream(sha)
        if kind == b"blob" and stream.size > MAX_FILE_BYTES:
            while stream.read(1 << 20):
                pass  # the process that hands out objects must be read to the end
            raise _TooLarge(stream.size)
        content: bytes = stream.read()
        if len(content) != stream.size or stream.type not in {kind, kind.decode()}:
            raise _Broken(f"object {sha.hex()} was cut short or is no {kind.decode()}")
        return content


def _git_failures() -> tuple[type[Exception], ...]:
    """In which ways GitPython says that an object is missing, cut short or of another kind."""
    import git

    return ValueError, OSError, AttributeError, IndexError, configparser.Error, git.GitError, git.ODBError


def _author_and_subject(commit: "git.Commit") -> tuple[str, str]:
    message = commit.message if isinstance(commit.message, str) else commit.message.decode("utf-8", "replace")
    return shown(commit.author.name or ""), shown(message.strip().partition("\n")[0])


def _flat(folder: _Folder, path: str) -> Iterator[tuple[str, bytes]]:
    """Every file of a folder and of those in it, by its path."""
    for name, (_, content) in folder.files.items():
        yield path + name, content
    for name, below in folder.folders.items():
        yield from _flat(below, f"{path}{name}/")


def _all_passed_over(folder: _Folder, path: str) -> Iterator[str]:
    for name in folder.passed_over:
        yield path + name
    for name, below in folder.folders.items():
        yield from _all_passed_over(below, f"{path}{name}/")


def _path_inside(path: str) -> str:
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts or not path.isprintable():
        raise UsageError(f"{path!r} is not a path inside a repository")
    return "/".join(parts)
