"""A bare copy of a repository in a cache folder, kept by the ``git`` program; used by ``git_source`` alone.

Every command runs without a terminal, without hooks, without a work tree, over plain transports only, in a process
group of its own that is ended when its time is over. The copy may be lost or broken at any time: it is made again,
and the old one is removed only when the new one is complete.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from reconciler.errors import SourceError
from reconciler.manifests.git_remote import SCHEMES, GitRemote, is_commit, redact
from reconciler.manifests.source import MAX_FILE_BYTES

TARGET: Final = "refs/reconciler/target"
"""What the copy calls the branch, tag or commit that is followed."""
_FETCH: Final = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--")
_LOCAL_TIMEOUT_S: Final = 60.0
_FIRST_TIME: Final = 5
"""How many times longer than later ones the first fetch of a repository may take."""
_GRACE_S: Final = 2.0
_POLLUTING: Final = re.compile(
    r"^GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|NAMESPACE|PREFIX|CONFIG|.*OBJECT_DIRECTOR.*)$"
)
"""What a hook that starts us has set, and what would lead git away from the copy."""

_HELPER: Final = (
    '!f() { test "$1" = get || exit 0; printf "username=%s\\n" "$RECONCILER_GIT_USERNAME"; '
    'test -z "${RECONCILER_GIT_PASSWORD+x}" || printf "password=%s\\n" "$RECONCILER_GIT_PASSWORD"; }; f'
)
_SETTINGS: Final = (
    ("protocol.ext.allow", "never"),
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("protocol.version", "2"),
    ("submodule.recurse", "false"),
    ("http.lowSpeedLimit", "100"),
    ("http.lowSpeedTime", "30"),
    # commits that a force push dropped stay, so that one can go back to them
    ("gc.pruneExpire", "never"),
    ("gc.autoDetach", "false"),
    # what is larger than any manifest is never held in memory as a whole
    ("core.bigFileThreshold", str(MAX_FILE_BYTES)),
)

_CORRUPT: Final = re.compile(
    r"corrupt|loose object|bad (object|signature|tree|index|config)|object file .* is empty|packfile \S+ |inflate"
    r"|sha1 mismatch|not a valid object|unresolved delta|did not send all necessary|Unable to create '.*\.lock'"
    r"|refs/reconciler/|unable to read (tree|[0-9a-f]{40})|missing (blob|tree|commit)|: not a git repository"
    r"|fatal: not a git repository",
    re.IGNORECASE,
)
_VARYING: Final = re.compile(r" after \d+ ms|\(pid \d+\)")
_NO_WORDS: Final = "fatal: Could not read from remote repository."
_DENIED: Final = re.compile(
    r"Authentication failed|could not read (Username|Password)|Permission denied"
    r"|terminal prompts disabled|error: 40[13]|access denied|dubious ownership",
    re.IGNORECASE,
)
_NO_SUCH_REF: Final = re.compile(r"couldn't find remote ref|not our ref|unadvertised object", re.IGNORECASE)
_NO_REPOSITORY: Final = re.compile(
    r"does not appear to be a git repository|repository .* (not found|does not exist)|error: 404|not exported",
    re.IGNORECASE,
)


class GitFailed(SourceError):
    """A git command failed; ``stderr`` is what it said."""

    def __init__(self, message: str, *, stderr: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.stderr = stderr


class GitMirror:
    """The copy of what one ``GitRemote`` names. Called by one thread; several processes may share a cache folder."""

    def __init__(self, remote: GitRemote, cache: Path, *, timeout_s: float) -> None:
        self._remote = remote
        self._timeout_s = timeout_s
        wanted = hashlib.sha256(f"{remote.url}\n{remote.refspec_from}".encode()).hexdigest()[:32]
        self.path = cache / f"{wanted}.git"
        self._cache = cache
        self._environment = _environment(remote)
        self._settings = _settings(remote)
        self._running: subprocess.Popen[str] | None = None
        self._closed = False

    def fetch(self) -> tuple[str | None, str]:
        """Bring the copy up to date. Returns the commit that was wanted before (None: nothing was), and now.

        Raises:
            SourceError: it could not be brought up to date.
        """
        with self._alone():
            if not (self.path / "HEAD").exists():
                self._make()
            before = self._target(self.path)
            pinned = self._remote.commit
            if pinned is not None and before == pinned:
                return before, pinned
            try:
                self._fetch_into(self.path)
            except GitFailed as failure:
                if not _CORRUPT.search(failure.stderr):
                    raise self._explained(failure) from failure
                self._make()
            now = self._target(self.path)
        if now is None:
            raise SourceError(f"{self._remote.wanted} of {redact(self._remote.url)} names no commit")
        return before, now

    def remake(self) -> None:
        """Make the copy anew, since it turned out to be broken."""
        with self._alone():
            self._make()

    def close(self) -> None:
        """End the command that runs, if one does; for good. Any thread."""
        self._closed = True
        running = self._running
        if running is not None:
            _end(running)

    def follows(self, commit: str, earlier: str) -> bool | None:
        """Whether ``commit`` is ``earlier`` or has it among its ancestors; None: nobody here knows ``earlier``."""
        if commit == earlier:
            return True
        if not is_commit(earlier) or not is_commit(commit):
            return None
        question = ("merge-base", "--is-ancestor", earlier, commit)
        answer = self._run(self.path, *question).returncode
        if answer not in {0, 1}:  # one of them is not here
            if not self.has(earlier) and not self._fetch_commit(earlier):
                return None
            answer = self._run(self.path, *question).returncode
        return answer == 0

    def has(self, commit: str) -> bool:
        """Whether the copy has a commit; the server is not asked."""
        return is_commit(commit) and self._run(self.path, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def verify_commit(
        self, commit: str, settings: Mapping[str, str], environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """What ``git verify-commit`` says of a commit, under these settings."""
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._run(self.path, *options, "verify-commit", "--raw", commit, environment=environment)

    def read(self, *arguments: str, take: Callable[[bytes], bool], timeout_s: float) -> None:
        """Hand the output of a git command to ``take`` as it comes, until that says True or the time is over."""
        with self._start(self.path, *arguments) as process:
            self._running = process
            timer = threading.Timer(timeout_s, _end, [process])
            timer.start()
            try:
                assert process.stdout is not None
                while (output := os.read(process.stdout.fileno(), 1 << 16)) and not take(output):
                    pass
            finally:
                timer.cancel()
                self._running = None
                _end(process)

    def _fetch_commit(self, commit: str) -> bool:
        """Ask the server for a commit that no branch needs to contain; False if it does not have it."""
        with self._alone():
            try:
                self._checked(self.path, *_FETCH, self._remote.url, commit, timeout_s=self._timeout_s)
            except GitFailed as failure:
                if _NO_SUCH_REF.search(failure.stderr):
                    return False
                raise self._explained(failure) from failure
        return self.has(commit)

    def _target(self, path: Path) -> str | None:
        result = self._run(path, "rev-parse", "--verify", "--quiet", f"{TARGET}^{{commit}}")
        return result.stdout.strip() if result.returncode == 0 else None

    def _make(self) -> None:
        fresh = Path(tempfile.mkdtemp(prefix="new-", suffix=".git", dir=self._cache))
        try:
            self._checked(fresh, "init", "--quiet", "--bare", "--template=", str(fresh))
            try:
                self._fetch_into(fresh, times=_FIRST_TIME)
            except GitFailed as failure:
                raise self._explained(failure) from failure
            if self.path.exists():
                broken = Path(tempfile.mkdtemp(prefix="old-", dir=self._cache))
                self.path.rename(broken / "broken.git")
                fresh.rename(self.path)
                shutil.rmtree(broken, ignore_errors=True)
            else:
                fresh.rename(self.path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _fetch_into(self, path: Path, times: int = 1) -> None:
        refspec = f"+{self._remote.refspec_from}:{TARGET}"
        self._checked(path, *_FETCH, self._remote.url, refspec, timeout_s=times * self._timeout_s)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process changes this copy meanwhile."""
        try:
            self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SourceError(
                f"the cache folder {self._cache} cannot be written: {error.strerror}", hint="Give another one."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise SourceError(f"the cache folder {self._cache}: {error}") from error
        finally:
            os.close(descriptor)

    def _checked(self, path: Path, *arguments: str, timeout_s: float = _LOCAL_TIMEOUT_S) -> str:
        result = self._run(path, *arguments, timeout_s=timeout_s)
        if result.returncode:
            said = redact(_last_words(result.stderr)) or f"git ended with {result.returncode}"
            raise GitFailed(f"git {arguments[0]}: {said}", stderr=result.stderr)
        return result.stdout

    def _run(
        self,
        path: Path,
        *arguments: str,
        timeout_s: float = _LOCAL_TIMEOUT_S,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.CompletedProcess[str]:
        with self._start(path, *arguments, environment=environment) as process:
            self._running = process
            try:
                stdout, stderr = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                _end_group(process)
                raise SourceError(
                    f"git {arguments[0]} of {redact(self._remote.url)} did not end within {timeout_s:g} s"
                ) from error
            except BaseException:
                _end_group(process)
                raise
            finally:
                self._running = None
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def _start(
        self, path: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})
    ) -> "subprocess.Popen[str]":
        if self._closed:
            raise SourceError(f"git {arguments[0]}: stopping")
        try:
            return subprocess.Popen(
                ["git", f"--git-dir={path}", *self._settings, *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**self._environment, **environment}, start_new_session=True, encoding="utf-8", errors="replace",
            )  # fmt: skip
        except FileNotFoundError as error:
            raise SourceError("there is no git on this machine", hint="Install git; it has to be on PATH.") from error

    def _explained(self, failure: GitFailed) -> SourceError:
        """What a failed fetch means, in words that stay the same while its cause does."""
        where, said = redact(self._remote.url), failure.message.partition(": ")[2]
        if "Host key verification failed" in failure.stderr:
            is_new = "IDENTIFICATION HAS CHANGED" not in failure.stderr
            return SourceError(
                f"{where}: the server's ssh key is {'not known' if is_new else 'another one than before'}",
                hint="Put it into ~/.ssh/known_hosts: `ssh-keyscan HOST` prints it; compare it with what the server's "
                "operator says first.",
            )
        if _DENIED.search(failure.stderr):
            return SourceError(
                f"{where}: access was denied ({said})",
                hint="Give git its credentials: an ssh key or agent, a credential helper, or .netrc; "
                "nothing is ever asked on a terminal.",
            )
        if _NO_SUCH_REF.search(failure.stderr):
            hint = "It is empty: commit something." if self._remote.refspec_from == "HEAD" else "Look at its spelling."
            return SourceError(f"{where} has no {self._remote.wanted}", hint=hint)
        if _NO_REPOSITORY.search(failure.stderr):
            return SourceError(f"{where} is no git repository, or it may not be seen ({said})")
        return SourceError(f"{where} could not be fetched: {said}")


def _environment(remote: GitRemote) -> dict[str, str]:
    """The environment of every git command: the user's own, less what points elsewhere, more what keeps it harmless."""
    environment = {name: value for name, value in os.environ.items() if not _POLLUTING.match(name)}
    if remote.login is not None:
        environment["RECONCILER_GIT_USERNAME"] = remote.login.username
        if remote.login.password is not None:
            environment["RECONCILER_GIT_PASSWORD"] = remote.login.password
    return environment | {
        "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "SSH_ASKPASS_REQUIRE": "never",
        "LC_ALL": "C",
    }


def _settings(remote: GitRemote) -> tuple[str, ...]:
    """git's settings for each command, as arguments; a login is only named, its words are in the environment."""
    settings = list(_SETTINGS)
    if remote.login is not None:
        settings.append((f"credential.{remote.login.origin}.helper", _HELPER))
    return tuple(part for key, value in settings for part in ("-c", f"{key}={value}"))


def _last_words(stderr: str) -> str:
    """The line that says why: the first ``fatal:`` or ``error:``, else the last one."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if _NO_WORDS in lines[1:]:
        lines = lines[: lines.index(_NO_WORDS)]  # what ssh said is before it, advice after
    for line in lines:
        if line.startswith(("fatal: ", "error: ", "ERROR: ", "remote: ERROR")):
            return _VARYING.sub("", line)
    return lines[-1] if lines else ""


def _end(process: "subprocess.Popen[str]") -> None:
    """Tell git and the helpers that it started to end, if they have not."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def _end_group(process: "subprocess.Popen[str]") -> None:
    """End git and the helpers that it started; it gets a moment to remove its lock files."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_GRACE_S)
            return
