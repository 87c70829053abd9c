"""The one file that imports python-consul. Skeleton; the transport follows."""

from collections.abc import Mapping
from typing import Any


class ConsulClient:
    """A Consul agent's HTTP API with timeouts, header tokens and classified errors."""

    def json(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        """The decoded answer of a call; None when it is empty."""
        raise NotImplementedError

    def found(self, method: str, path: str, body: Any = None) -> bool:
        """Make a call; False when Consul says that there is no such thing."""
        raise NotImplementedError

    def blocking_json(self, path: str, after: int, wait_s: float) -> tuple[Any, int]:
        """A blocking read: the decoded answer and its index."""
        raise NotImplementedError
