"""The local Consul agent: services, checks and their state on this node.

``store.consul`` registers the service behind a session with it; ``health.consul_registry`` registers tasks. What a
registration answers says nothing of the catalog (an agent that lost its servers answers 200 too): look at
``node_checks`` for what others see, and register again when it differs.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from reconciler.store.consul_client import ConsulClient, format_ms

CheckStatus: TypeAlias = Literal["passing", "warning", "critical"]


class CheckDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A check to register with a service; one of ``ttl_s``, ``http``, ``tcp``, ``docker_container_id`` and
    ``alias_service`` (the id of another one, whose health it shows) says how.

    ``status`` is what it shows until its first run (Consul's default: critical).
    """

    id: str
    name: str
    ttl_s: float | None = None
    http: str | None = None
    method: str | None = None
    header: Mapping[str, tuple[str, ...]] | None = None
    tls_skip_verify: bool = False
    tcp: str | None = None
    alias_service: str | None = None
    docker_container_id: str | None = None
    shell: str | None = None
    args: tuple[str, ...] = ()
    interval_s: float | None = None
    timeout_s: float | None = None
    status: CheckStatus | None = None
    notes: str = ""
    success_before_passing: int = 0
    failures_before_critical: int = 0
    deregister_critical_after_s: float | None = None


class ServiceDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A service to register with the local agent. Meta: at most 64 pairs of 128 and 512 characters."""

    id: str
    name: str
    address: str = ""
    port: int = 0
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = {}
    checks: tuple[CheckDefinition, ...] = ()


class LocalService(msgspec.Struct, frozen=True, kw_only=True):
    """A service as the local agent has it."""

    id: str
    name: str
    address: str
    port: int
    tags: tuple[str, ...]
    meta: Mapping[str, str]


class CheckState(msgspec.Struct, frozen=True, kw_only=True):
    """A check and what it says now. ``critical`` with no output: it has not run since the agent started."""

    id: str
    name: str
    status: str
    output: str
    service_id: str
    service_name: str
    notes: str
    node: str


class NodeChecks(msgspec.Struct, frozen=True):
    """All checks of a node in the catalog, and the index to wait after."""

    checks: tuple[CheckState, ...]
    index: int


class AgentSelf(msgspec.Struct, frozen=True, kw_only=True):
    """Who the local agent is. Consul does not tell when it started: see ``CheckState`` for what has not run yet."""

    node: str
    node_id: str
    datacenter: str
    version: str
    server: bool


class LocalAgent:
    """Typed calls to the agent that ``client`` speaks to. Each raises a ``StoreError``."""

    def __init__(self, client: ConsulClient) -> None:
        self._client = client

    def identity(self) -> AgentSelf:
        """Name, version and datacenter of the local agent."""
        config = self._client.ask(self._client.library.agent.self)["Config"]
        return AgentSelf(
            node=config["NodeName"],
            node_id=config.get("NodeID", ""),
            datacenter=config["Datacenter"],
            version=config["Version"],
            server=bool(config.get("Server")),
        )

    def register_service(self, service: ServiceDefinition) -> None:
        """Register or change a service; checks that it had and ``service`` does not name are removed.

        A check that is registered again loses its status and output; it starts from ``CheckDefinition.status``.
        """
        query = [("replace-existing-checks", "true")]
        self._client.call("PUT", "/v1/agent/service/register", query, _payload(service))

    def deregister_service(self, service_id: str) -> bool:
        """Take a service and its checks out. False: the agent had none of that id."""
        return self._client.call("PUT", f"/v1/agent/service/deregister/{service_id}") is not None

    def services(self) -> dict[str, LocalService]:
        """What is registered here, by service id."""
        listed = self._client.ask(self._client.library.agent.services)
        return {service_id: _service(service_id, raw) for service_id, raw in listed.items()}

    def service(self, service_id: str) -> LocalService | None:
        """One of them; None if the agent has none of that id. Costs the same however many there are."""
        raw = self._client.call("GET", f"/v1/agent/service/{service_id}")
        return None if raw is None else _service(service_id, raw)

    def checks(self) -> dict[str, CheckState]:
        """The checks registered here, by check id."""
        raw = self._client.ask(self._client.library.agent.checks)
        return {check_id: _check(each) for check_id, each in raw.items()}

    def update_ttl(self, check_id: str, status: CheckStatus, output: str = "") -> bool:
        """Report a TTL check. False: the agent has no such check (it forgot, or it was never registered)."""
        body = {"Status": status, "Output": output}
        return self._client.call("PUT", f"/v1/agent/check/update/{check_id}", body=body) is not None

    def node_checks(self, node: str, after: int = 0, wait_s: float = 0.0) -> NodeChecks:
        """The checks of ``node`` as the catalog has them; blocks up to ``wait_s`` for a change after index ``after``.

        Start again with 0 when the index goes back. May return early with nothing new.
        """
        index, raw = self._client.ask(self._client.library.health.node, node, index=after, wait=format_ms(wait_s))
        return NodeChecks(tuple(_check(each) for each in raw or ()), int(index))


def _service(service_id: str, raw: Mapping[str, Any]) -> LocalService:
    return LocalService(
        id=service_id,
        name=raw["Service"],
        address=raw.get("Address") or "",
        port=raw.get("Port") or 0,
        tags=tuple(raw.get("Tags") or ()),
        meta=raw.get("Meta") or {},
    )


def _payload(service: ServiceDefinition) -> dict[str, Any]:
    return {
        "ID": service.id,
        "Name": service.name,
        "Address": service.address,
        "Port": service.port,
        "Tags": list(service.tags),
        "Meta": dict(service.meta),
        "Checks": [_check_payload(check) for check in service.checks],
    }


def _check_payload(check: CheckDefinition) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "CheckID": check.id,
        "Name": check.name,
        "TTL": _seconds(check.ttl_s),
        "HTTP": check.http,
        "Method": check.method,
        "Header": None if check.header is None else {name: list(values) for name, values in check.header.items()},
        "TLSSkipVerify": check.tls_skip_verify,
        "TCP": check.tcp,
        "AliasService": check.alias_service,
        "DockerContainerID": check.docker_container_id,
        "Shell": check.shell,
        "Args": list(check.args),
        "Interval": _seconds(check.interval_s),
        "Timeout": _seconds(check.timeout_s),
        "Status": check.status,
        "Notes": check.notes,
        "SuccessBeforePassing": check.success_before_passing,
        "FailuresBeforeCritical": check.failures_before_critical,
        "DeregisterCriticalServiceAfter": _seconds(check.deregister_critical_after_s),
    }
    return {name: value for name, value in payload.items() if value}


def _check(raw: Mapping[str, Any]) -> CheckState:
    return CheckState(
        id=raw["CheckID"],
        name=raw["Name"],
        status=raw["Status"],
        output=raw.get("Output") or "",
        service_id=raw.get("ServiceID") or "",
        service_name=raw.get("ServiceName") or "",
        notes=raw.get("Notes") or "",
        node=raw["Node"],
    )


def _seconds(duration_s: float | None) -> str | None:
    return None if duration_s is None else format_ms(duration_s)
