"""Which git repository is meant, and what of it; refuses every URL and name that could make git do anything else.

Used by ``git_source`` and ``git_mirror``. A URL's password never stays in it: git hands URLs on in the arguments of
its own helper processes, where everybody on the machine can read them.
"""

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from reconciler.errors import UsageError

SCHEMES: Final = ("https", "http", "ssh", "git", "file")
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_HELPER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9+.-]*::")
_SCP = re.compile(r"^(?:[^@/:]+@)?(\[[^\]/]+\]|[^/:\[]+):(?!//)(.+)$")
_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/@\s'\"]*@")
_COMMIT = re.compile(r"^[0-9a-f]{40}$(?!\n)")
_NOT_IN_A_REF = re.compile(r"[\x00-\x20~^:?*\[\\\x7f]|\.\.|@\{|//|^[-/.]|/\.|[/.]$|\.lock(/|$)")


class Login(msgspec.Struct, frozen=True):
    """What a URL carried before its host. Has no text form, so that no log can show it."""

    origin: str
    """Scheme and host that it is for; no other host is ever given it."""
    username: str
    password: str | None

    def __repr__(self) -> str:
        return f"Login({self.origin!r}, ***)"


class GitRemote(msgspec.Struct, frozen=True, kw_only=True):
    """A repository, and the branch, tag or commit of it; none of them: what its HEAD names."""

    url: str
    """Without any password."""
    refspec_from: str
    """What is fetched: ``HEAD``, ``refs/heads/main``, ``refs/tags/v1`` or a commit."""
    login: Login | None = None

    @property
    def commit(self) -> str | None:
        """The commit, if one was named."""
        return self.refspec_from if _COMMIT.match(self.refspec_from) else None

    @property
    def wanted(self) -> str:
        """What is wanted of it, for people."""
        kind, _, name = self.refspec_from.removeprefix("refs/").partition("/")
        match kind:
            case "heads":
                return f"branch {name}"
            case "tags":
                return f"tag {name}"
            case "HEAD":
                return "HEAD"
        return f"commit {self.refspec_from[:12]}"


def git_remote(url: str, *, branch: str | None = None, tag: str | None = None, commit: str | None = None) -> GitRemote:
    """The repository at ``url`` and what is wanted of it.

    Raises:
        UsageError: a URL or name that git could take for something else, or more than one of branch, tag, commit.
    """
    if sum(name is not None for name in (branch, tag, commit)) > 1:
        raise UsageError("give one of a branch, a tag or a commit")
    if commit is not None:
        if not _COMMIT.match(commit):
            raise UsageError(f"{commit!r} is not a whole commit id", hint="Give all of its 40 hexadecimal digits.")
        wanted = commit
    elif branch is not None:
        wanted = "refs/heads/" + _ref_name(branch, "branch")
    elif tag is not None:
        wanted = "refs/tags/" + _ref_name(tag, "tag")
    else:
        wanted = "HEAD"
    clean, login = _check_url(url)
    return GitRemote(url=clean, refspec_from=wanted, login=login)


def is_commit(text: str) -> bool:
    """Whether ``text`` is a whole commit id."""
    return _COMMIT.match(text) is not None


def redact(text: str) -> str:
    """``text`` without what stands before the host in any URL."""
    return _USER_INFO.sub(r"\1***@", text)


def source_name_of(url: str) -> str:
    """What a source is called unless told otherwise: the repository's own name."""
    tail = re.split(r"[/:]", url.rstrip("/"))[-1].removesuffix(".git")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", tail).strip("-._")[:64].strip("-._") or "git"


def _ref_name(name: str, kind: str) -> str:
    if not name or _NOT_IN_A_REF.search(name) or name == "@":
        raise UsageError(f"{name!r} cannot be the name of a {kind}", hint=f"Give a {kind} as `git {kind}` lists it.")
    return name


def _check_url(url: str) -> tuple[str, Login | None]:
    shown = redact(url)
    if not url or url.startswith("-") or not url.isprintable() or url != url.strip():
        raise UsageError(f"{shown!r} is not the URL of a git repository")
    if _HELPER.match(url):
        raise UsageError(
            f"{shown!r} names a transport helper, which can run any command; it is refused",
            hint=f"Use one of {', '.join(SCHEMES)}, or a path.",
        )
    scheme = _SCHEME.match(url)
    if scheme is not None:
        return _check_scheme_url(url, shown)
    scp = _SCP.match(url)
    if scp is not None:
        if scp[1].startswith("-") or scp[2].startswith("-"):
            raise UsageError(f"{shown!r}: a host or path that begins with a dash is refused")
        return url, None
    return str(Path(url).expanduser().absolute()), None


def _check_scheme_url(url: str, shown: str) -> tuple[str, Login | None]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # the port is looked at, since asking for a bad one raises
    except ValueError as error:
        raise UsageError(f"{shown!r} is not the URL of a git repository: {error}") from error
    if parts.scheme not in SCHEMES:
        raise UsageError(f"{shown!r}: git repositories are read over {', '.join(SCHEMES)}")
    if (parts.scheme != "file" and not host) or host.startswith("-") or (parts.username or "").startswith("-"):
        raise UsageError(f"{shown!r} names no host that could be asked")
    if "@" not in parts.netloc:
        return url, None
    bare_host = parts.netloc.rpartition("@")[2]
    if parts.scheme == "ssh":
        # git ignores a password here; it goes only so that nothing shows it
        clean = urlunsplit(parts._replace(netloc=f"{parts.username}@{bare_host}" if parts.username else bare_host))
        return clean, None
    clean = urlunsplit(parts._replace(netloc=bare_host))
    if parts.scheme not in {"https", "http"}:
        return clean, None
    login = Login(
        origin=f"{parts.scheme}://{bare_host}",
        username=unquote(parts.username or ""),
        password=None if parts.password is None else unquote(parts.password),
    )
    return clean, login
