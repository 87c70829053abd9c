"""Who may ask a daemon what over HTTP: one manner for all of them. ``http`` asks it before it reads a request's body.

On loopback everything is open unless a token is given. Elsewhere what is guarded needs the token, or a certificate of
the client CA; a server that has neither does not start there.
"""

import enum
import hmac
import ipaddress
import os
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from reconciler.errors import UsageError
from reconciler.runtime import secret

TOKEN_VARIABLE: Final = "RECONCILER_HTTP_TOKEN"  # noqa: S105 - the variable's name
_ANYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound


class Guard(enum.Enum):
    """Who may have a page."""

    TOKEN = "whoever has the token or a certificate"  # noqa: S105 - says so
    LOCAL = "those, and this machine itself: what its tasks report"
    OPEN = "whoever reaches it: health, metrics, and what has a signature of its own"


class Tls(msgspec.Struct, frozen=True):
    """Files in PEM: our certificate with those between it and its root, its key, and who signs those of clients."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For the server. Raises UsageError when a file is not what it should be."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(path) for path in (self.certificate, self.key, self.client_ca) if path is not None)
            raise UsageError(
                f"no TLS with {files}: {error}", hint="they are to be PEM files that this user may read"
            ) from error
        return context


class Access(msgspec.Struct, frozen=True):
    """What a server asks of those who call it."""

    token: bytes | None = None
    tls: Tls | None = None

    @property
    def guards(self) -> bool:
        """Whether guarded pages need anything at all."""
        return self.token is not None or (self.tls is not None and self.tls.client_ca is not None)

    def check_bind(self, host: str, port: int, guards: Iterable[Guard]) -> None:
        """Raises UsageError when guarded pages would be open to others than this machine."""
        if self.guards or is_loopback(host) or all(guard is Guard.OPEN for guard in guards):
            return
        raise UsageError(
            f"others than this machine reach {host or '*'}:{port}, and nothing says who may read logs there",
            hint=f"give a token (--http-token-file or {TOKEN_VARIABLE}), or TLS with --http-client-ca; "
            "or listen on 127.0.0.1",
        )

    def allows(self, guard: Guard, headers: Mapping[str, str], *, is_local: bool, has_certificate: bool) -> bool:
        """Whether a request may have a page. ``has_certificate``: one that the client CA signed."""
        if guard is Guard.OPEN or not self.guards or (guard is Guard.LOCAL and is_local):
            return True
        if self.token is None:
            return has_certificate
        scheme, _, given = (
            next((value for name, value in headers.items() if name.lower() == "authorization"), "")
        ).partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token)


def access(
    token_file: Path | None,
    certificate: Path | None,
    key: Path | None,
    client_ca: Path | None,
    environ: Mapping[str, str] = os.environ,
) -> Access:
    """What the options and the environment say.

    Raises:
        UsageError: they contradict each other, or the token can't be read.
    """
    token = secret.read("the token for HTTP", token_file, TOKEN_VARIABLE, environ)
    if certificate is None or key is None:
        if certificate or key or client_ca:
            raise UsageError("TLS needs both --http-cert and --http-key")
        return Access(token)
    return Access(token, Tls(certificate, key, client_ca))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_anywhere(host: str) -> bool:
    """Whether a server that binds this listens on all addresses."""
    return host in _ANYWHERE


def is_local(peer: str, own: str) -> bool:
    """Whether a connection comes from this machine: through loopback, or from the very address that it came to."""
    return is_loopback(peer) or peer == own


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
