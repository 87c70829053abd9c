"""Which git server a repository is at, and how its API is reached, as far as the repository's URL tells. Pure."""

import re
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from reconciler.errors import UsageError
from reconciler.model.notifications import CommitStatus

_SCP: Final = re.compile(r"^(?:[^@/:]+@)?(\[[^\]/]+\]|[^/:\[]+):(?!//)(.+)$")
_KNOWN: Final = {
    "github.com": ("github", "https://api.github.com"),
    "ssh.github.com": ("github", "https://api.github.com"),
    "gitlab.com": ("gitlab", "https://gitlab.com/api/v4"),
    "altssh.gitlab.com": ("gitlab", "https://gitlab.com/api/v4"),
}
_LABELS: Final = {"github": "github", "gitlab": "gitlab", "gitea": "gitea", "forgejo": "gitea", "codeberg": "gitea"}
"""By a label of the host's name whose program it is likely to run."""
_API_PATHS: Final = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1"}
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Api(msgspec.Struct, frozen=True):
    """Where statuses are set: ``url`` is the beginning of the API, without a slash at its end."""

    provider: str
    url: str
    repository: str

    def statuses(self, revision: str) -> str:
        """The URL for the statuses of a commit."""
        if self.provider == "gitlab":
            return f"{self.url}/projects/{quote(self.repository, safe='')}/statuses/{revision}"
        return f"{self.url}/repos/{self.repository}/statuses/{revision}"


def api_of(settings: CommitStatus, remote: str) -> Api:
    """Where the statuses of a repository's commits are set; ``remote`` is its URL as git is given it.

    Raises:
        UsageError: that can't be told; says which field to write.
    """
    host, port, path = _parts(remote)
    provider = settings.provider if settings.provider != "auto" else _provider(settings.url, host)
    if not provider:
        raise _unclear(settings, "provider", f"whose API {host or remote} speaks", "github, gitlab or gitea")
    url = settings.url.rstrip("/") or _url(provider, host, port)
    if not url:
        raise _unclear(settings, "url", f"where the API for {remote} is", "such as https://git.example.com/api/v1")
    repository = settings.repository or path
    if not repository or (provider != "gitlab" and repository.count("/") != 1):
        raise _unclear(settings, "repository", f"what {remote} is called there", "owner/repository")
    if not is_private(url):
        raise UsageError(
            f"notifications: {settings.name}: the token would go to {url} where everybody can read it",
            hint="Begin url with https://; without TLS only this machine itself is spoken to.",
        )
    return Api(provider, url, repository)


def is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _provider(url: str, host: str) -> str:
    name = urlsplit(url).hostname or host
    if name in _KNOWN:
        return _KNOWN[name][0]
    if name.endswith(".ghe.com"):
        return "github"
    return next((_LABELS[label] for label in name.split(".") if label in _LABELS), "")


def _url(provider: str, host: str, port: str) -> str:
    if host in _KNOWN and _KNOWN[host][0] == provider:
        return _KNOWN[host][1]
    if host.endswith(".ghe.com") and provider == "github":
        return f"https://api.{host}"
    return f"https://{host}{port}{_API_PATHS[provider]}" if host else ""


def _parts(remote: str) -> tuple[str, str, str]:
    """Host, port of its web server (":8443", or empty) and path of a repository; empty for one on this machine."""
    parts = urlsplit(remote)
    if parts.scheme in ("https", "http", "ssh", "git"):
        try:
            number = parts.port
        except ValueError:
            number = None
        port = f":{number}" if number and parts.scheme == "https" else ""
        host = parts.hostname or ""
        return f"[{host}]" if ":" in host else host, port, _name(parts.path)
    scp = _SCP.match(remote) if not parts.scheme or "//" not in remote else None
    return (scp[1].lower(), "", _name(scp[2])) if scp and not remote.startswith("/") else ("", "", "")


def _name(path: str) -> str:
    return path.strip("/").removesuffix(".git")


def _unclear(settings: CommitStatus, field: str, what: str, example: str) -> UsageError:
    return UsageError(f"notifications: {settings.name}: nothing says {what}", hint=f"Write {field} in it: {example}.")
