"""A request to create a container, in the making: fields of the definition and flags each add their part."""

from typing import Any, Final

from reconciler.model import publishing

_BUILT_IN_NETWORKS: Final = ("", "default", "bridge", "host", "none", "nat")


class Request:
    """The parts of the engine's ``POST /containers/create``. ``endpoint`` is how it joins its one network."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.host: dict[str, Any] = {}
        self.endpoint: dict[str, Any] = {}
        self.platform = ""

    @property
    def network(self) -> str:
        """The network's name; empty is the engine's default."""
        return str(self.host.get("NetworkMode", ""))

    @property
    def has_ports(self) -> bool:
        """Whether publishing ports means anything in its network."""
        return publishing.has_ports(self.network)

    def publish(self, inside: str, binding: dict[str, str]) -> None:
        """Map a port such as ``80/tcp``."""
        self.config.setdefault("ExposedPorts", {})[inside] = {}
        bindings = self.host.setdefault("PortBindings", {}).setdefault(inside, [])
        if binding not in bindings:
            bindings.append(binding)

    def volume(self, text: str) -> None:
        """Attach a volume: with a source, or an anonymous one."""
        if ":" in text:
            self.host.setdefault("Binds", []).append(text)
        else:
            self.config.setdefault("Volumes", {})[text] = {}

    def body(self) -> dict[str, Any]:
        """What is sent."""
        body = {**self.config, "HostConfig": self.host}
        own = self.network not in _BUILT_IN_NETWORKS and not self.network.startswith("container:")
        if self.endpoint or own:
            name = self.network if self.network not in ("", "default") else "bridge"
            body["NetworkingConfig"] = {"EndpointsConfig": {name: self.endpoint}}
        return body
