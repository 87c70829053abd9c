"""Running one check once: HTTP or TCP from this machine. Used by ``probes``; scripts come from the agent."""

import socket
import warnings
from typing import Final

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from reconciler.health import judge
from reconciler.health.interface import Reading
from reconciler.model.manifests import Check
from reconciler.model.task import Health

_BODY_BYTES: Final = 4096


class HttpChecks:
    """Makes HTTP checks. No connection is kept: a check should see what a new client sees."""

    def __init__(self) -> None:
        # skipping verification was asked for in the manifest; saying so at each run helps nobody
        warnings.filterwarnings("ignore", category=InsecureRequestWarning)
        self._verifying = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False)
        self._trusting = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False, cert_reqs="CERT_NONE")

    def run(self, url: str, check: Check, timeout_s: float) -> Reading:
        """Ask ``url`` once and judge the answer."""
        pool = self._trusting if check.tls_skip_verify else self._verifying
        method = check.method or "GET"
        headers = urllib3.HTTPHeaderDict({"Connection": "close", "User-Agent": "reconciler health check"})
        for name, values in (check.header or {}).items():
            headers.discard(name)
            for value in values:
                headers.add(name, value)
        try:
            answer = pool.request(
                method,
                url,
                headers=headers,
                timeout=urllib3.Timeout(total=timeout_s),
                redirect=False,
                preload_content=False,
            )
            try:
                # one read: an answer that never ends is as good as one that does
                body = answer.read1(_BODY_BYTES, decode_content=True)
            finally:
                answer.close()
        except (HTTPError, OSError, ValueError) as error:
            return Reading(Health.CRITICAL, f"HTTP {method} {url}: {_cause(error)}")
        return judge.http_reading(answer.status, answer.reason or "", body.decode(errors="replace"), method, url)


def tcp(address: str, timeout_s: float) -> Reading:
    """Whether a connection to ``host:port`` can be made."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout_s).close()
    except (OSError, ValueError) as error:
        return Reading(Health.CRITICAL, f"TCP connect {address}: {error}")
    return Reading(Health.PASSING, f"TCP connect {address}: success")


def _cause(error: Exception) -> str:
    """What went wrong underneath, without the library's wrapping."""
    reason = getattr(error, "reason", None)
    return str(reason if isinstance(reason, Exception) else error)
