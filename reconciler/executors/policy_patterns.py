"""How the lists of a host's policy are compared with images, URLs and paths. Pure; called by ``host_policy``."""

import posixpath
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

from reconciler.model.host_policy import ANY
from reconciler.model.secrets import SOURCE_KINDS, Place

RealPath: TypeAlias = Callable[[str], str]
"""Where a path of the host really leads. Only the host itself can say it; elsewhere ``normalised`` stands for it."""

_IMAGE_ID: Final = re.compile(r"(sha256:)?[0-9a-f]{1,64}")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ENGINE_SOCKETS: Final = ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")


def image_matches(image: str, pattern: str) -> bool:
    """Whether an image is one that ``pattern`` stands for: ``*`` within one part of its name, ``**`` for any parts.

    Both are read as docker reads names: ``nginx`` is ``docker.io/library/nginx``. A pattern without tag and digest
    takes every one. A tag says nothing of an image that is named by its digest.
    """
    if pattern == ANY:
        return True
    if _IMAGE_ID.fullmatch(image):  # an engine takes it for the id of any image that it has
        return False
    name, tag, digest = _image_parts(image)
    wanted, wanted_tag, wanted_digest = _image_parts(pattern)
    if not re.fullmatch(_name_expression(wanted), name):
        return False
    if wanted_digest:
        return fnmatchcase(digest, wanted_digest)
    return not wanted_tag or (not digest and fnmatchcase(tag or "latest", wanted_tag))


def _image_parts(text: str) -> tuple[str, str, str]:
    """The full name, the tag and the digest of an image or a pattern; what it does not say is empty."""
    rest, _, digest = text.partition("@")
    folder, slash, last = rest.rpartition("/")
    last, _, tag = last.partition(":")
    name = f"{folder}{slash}{last}"
    registry, slash, path = name.partition("/")
    if not slash:
        name = name if name == "**" else f"docker.io/library/{name}"
    elif registry in ("docker.io", "index.docker.io"):
        name = f"docker.io/{path}" if "/" in path or path == "**" else f"docker.io/library/{path}"
    elif not (set(registry) & set(".:*") or registry == "localhost"):
        name = f"docker.io/{name}"
    return name, tag, digest


def _name_expression(pattern: str) -> str:
    pieces = re.split(r"(\*\*|\*)", pattern)
    return "".join({"**": ".*", "*": "[^/]*"}.get(piece, re.escape(piece)) for piece in pieces)


def place_matches(place: Place, pattern: str) -> bool:
    """Whether ``pattern`` (``kv:web/*``) stands for where a value is; ``*`` and ``**`` are as for images."""
    kind, _, name = pattern.partition(":")
    return pattern == ANY or (kind == place.kind and bool(re.fullmatch(_name_expression(name), place.name)))


def is_place(text: str) -> bool:
    """Whether ``text`` can stand for places of values."""
    kind, _, name = text.partition(":")
    return text == ANY or (kind in SOURCE_KINDS and bool(name))


def origin_matches(url: str, origin: str, real: RealPath) -> bool:
    """Whether a URL is at ``origin``: the same scheme, host and port, and a path at or below it."""
    if origin == ANY:
        return True
    try:
        asked, allowed = urlsplit(url), urlsplit(origin)
        same = _place(asked.scheme, asked.hostname, asked.port) == _place(
            allowed.scheme, allowed.hostname, allowed.port
        )
    except ValueError:  # no URL
        return False
    path, folder = unquote(asked.path), unquote(allowed.path)
    if "\0" in path:
        return False
    if asked.scheme == "file":
        path, folder = real(path), real(folder)
    return same and ".." not in path.split("/") and "\\" not in path and is_below(path or "/", folder or "/")


def is_origin(text: str) -> bool:
    """Whether ``text`` can be an origin."""
    if text == ANY:
        return True
    try:
        parts = urlsplit(text)
        _ = parts.port  # only looked at when asked for
    except ValueError:
        return False
    return bool(parts.scheme) and "\0" not in unquote(parts.path)


def _place(scheme: str, host: str | None, port: int | None) -> tuple[str, str, int]:
    return scheme.lower(), (host or "").lower(), port or _DEFAULT_PORTS.get(scheme.lower(), 0)


def is_below(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or something in it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def normalised(path: str) -> str:
    """``path`` without ``.``, ``..`` and doubled slashes, as far as names alone can say; ``/var/run`` is ``/run``."""
    plain = posixpath.normpath(f"/{path.lstrip('/')}")
    return plain.removeprefix("/var") if is_below(plain, "/var/run") else plain


def is_socket(path: str) -> bool:
    """Whether a path is called as an engine's socket is."""
    return posixpath.basename(path) in {posixpath.basename(socket) for socket in _ENGINE_SOCKETS}


def reaches_engine(path: str, listed: Sequence[str]) -> bool:
    """Whether an engine's socket, which is the whole host, is at ``path`` or below it, and is not listed by itself."""
    sockets = [path] if is_socket(path) else [socket for socket in _ENGINE_SOCKETS if is_below(socket, path)]
    return any(socket not in listed for socket in sockets)
