"""From a URL to a store. Skeleton: the signatures are settled."""

from collections.abc import Mapping

from reconciler.store.consul_agent import LocalAgent
from reconciler.store.interface import Store


def default_url(environ: Mapping[str, str]) -> str:
    """``RECONCILER_STORE``, else the local Consul."""
    raise NotImplementedError


def open_store(url: str | None, *, environ: Mapping[str, str]) -> Store:
    """The store at ``url`` (default: ``default_url``)."""
    raise NotImplementedError


def consul_agent(store: Store) -> LocalAgent | None:
    """The local Consul agent behind ``store``; None if it is not Consul. Shares the store's connections."""
    raise NotImplementedError
