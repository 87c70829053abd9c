"""From a URL to a store. Called by wiring and by tests; nothing else names a backend."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

from reconciler.errors import UsageError
from reconciler.store.interface import Store

if TYPE_CHECKING:
    from reconciler.store.consul_agent import LocalAgent

FORMS: Final = "consul://HOST:PORT[/PREFIX], consul+https://HOST:PORT[/PREFIX], sqlite:///PATH, memory:"
ENVIRONMENT_URL: Final = "RECONCILER_STORE"


def default_url(environ: Mapping[str, str]) -> str:
    """Where a command goes when it is not told: ``RECONCILER_STORE``, else the Consul that Consul's own tools use."""
    named = environ.get(ENVIRONMENT_URL)
    if named:
        return named
    address = environ.get("CONSUL_HTTP_ADDR") or "127.0.0.1:8500"
    if address.startswith("unix://"):
        raise UsageError(
            f"CONSUL_HTTP_ADDR is {address}, a Unix socket; only TCP is spoken here",
            hint="Give the store by itself: --store consul://127.0.0.1:8500",
        )
    scheme, separator, rest = address.rpartition("://")
    is_tls = scheme == "https" if separator else _truth(environ, "CONSUL_HTTP_SSL", default=False)
    return f"consul{'+https' if is_tls else ''}://{rest.rstrip('/')}"


def open_store(url: str | None, *, environ: Mapping[str, str]) -> Store:
    """The store at ``url`` (None: ``default_url``). A Consul is not contacted yet; a SQLite file is opened or created.

    Raises:
        UsageError: the URL or a variable makes no sense.
        StoreError: the file can't be opened.
    """
    url = url or default_url(environ)
    split = urlsplit(url)
    match split.scheme:
        case "memory":
            from reconciler.store.memory import MemoryStore

            return MemoryStore()
        case "sqlite":
            from reconciler.store.sqlite import SqliteStore

            return SqliteStore(_sqlite_path(url, split))
        case "consul" | "consul+http" | "consul+https":
            return _open_consul(url, split, environ)
    raise UsageError(f"{_shown(split)} is no store", hint=f"A store is one of {FORMS}.")


def consul_agent(store: Store) -> "LocalAgent | None":
    """The local Consul agent behind ``store``, over the store's connections; None if the store is no Consul."""
    if not store.url.startswith("consul"):
        return None
    from reconciler.store.consul import ConsulStore

    return store.agent if isinstance(store, ConsulStore) else None


def _open_consul(url: str, split: SplitResult, environ: Mapping[str, str]) -> Store:
    from reconciler.store.consul import ConsulStore
    from reconciler.store.consul_client import ConsulClient
    from reconciler.store.consul_transport import Address, Transport

    _refuse_secrets(split)
    try:
        host, port = split.hostname, split.port
    except ValueError as error:
        raise UsageError(f"{url}: {error}", hint=f"A store is one of {FORMS}.") from error
    if not host:
        raise UsageError(f"{url} names no host", hint="For example: consul://127.0.0.1:8500/reconciler")
    root = unquote(split.path).strip("/")
    if "//" in root or not root.isprintable():
        raise UsageError(f"{url}: a prefix may not hold an empty part or control characters")
    is_tls = split.scheme == "consul+https" or _truth(environ, "CONSUL_HTTP_SSL", default=False)
    address = Address(
        host=host,
        port=port or (8501 if is_tls else 8500),
        is_tls=is_tls,
        verify=_truth(environ, "CONSUL_HTTP_SSL_VERIFY", default=True),
        ca_file=_file(environ, "CONSUL_CACERT"),
        ca_path=_file(environ, "CONSUL_CAPATH"),
        client_cert=_file(environ, "CONSUL_CLIENT_CERT"),
        client_key=_file(environ, "CONSUL_CLIENT_KEY"),
        server_name=environ.get("CONSUL_TLS_SERVER_NAME") or None,
    )
    return ConsulStore(ConsulClient(Transport(address, _token(environ))), root)


def _sqlite_path(url: str, split: SplitResult) -> Path:
    if split.netloc:
        raise UsageError(
            f"{url} names a host ({split.netloc}); a SQLite store is a file on this machine",
            hint=f"Write sqlite:///{split.netloc}{split.path} for /{split.netloc}{split.path}, "
            f"or sqlite:{split.netloc}{split.path} for a path from here.",
        )
    path = unquote(split.path)
    if not path.strip("/") or path.endswith("/") or split.query or split.fragment:
        raise UsageError(f"{url} names no file", hint="For example: sqlite:///var/lib/reconciler/store.db")
    return Path("/" + path.lstrip("/") if path.startswith("/") else path).absolute()


def _refuse_secrets(split: SplitResult) -> None:
    if split.username or split.password or split.query or split.fragment:
        raise UsageError(
            f"{_shown(split)}: a store's URL holds host, port and prefix and nothing else, and no token",
            hint="URLs end up in logs and process lists. Give the token in CONSUL_HTTP_TOKEN, or its file in "
            "CONSUL_HTTP_TOKEN_FILE.",
        )


def _shown(split: SplitResult) -> str:
    """A URL without what may be secret in it."""
    return f"{split.scheme or '(no scheme)'}://{split.netloc.rpartition('@')[2]}{split.path}"


def _token(environ: Mapping[str, str]) -> str | None:
    token = environ.get("CONSUL_HTTP_TOKEN")
    if not token and (path := _file(environ, "CONSUL_HTTP_TOKEN_FILE")):
        token = Path(path).read_text(encoding="utf-8").strip()
    if token and not (token.isascii() and token.isprintable()):
        raise UsageError("the Consul token holds characters that no token has", hint="Is it the right file?")
    return token or None


def _file(environ: Mapping[str, str], name: str) -> str | None:
    path = environ.get(name)
    if not path:
        return None
    try:
        Path(path).stat()
        if Path(path).is_file():
            with Path(path).open("rb"):
                pass
    except OSError as error:
        raise UsageError(f"{name} is {path}, which can't be read: {error.strerror}") from error
    return path


def _truth(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environ.get(name, "").lower()
    if not text:
        return default
    if text not in {"1", "t", "true", "0", "f", "false"}:
        raise UsageError(f"{name} is {text!r}", hint="Consul takes true or false.")
    return text in {"1", "t", "true"}
