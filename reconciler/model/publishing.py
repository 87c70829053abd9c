"""Which ports of its host a docker container publishes itself: by its ``ports`` and by ``--publish`` in its ``flags``.

Everybody reads them here: the scheduler and validation, which count them as fixed ports, and the docker executor.
Pure; what can't be read raises ValueError, and publishes nothing.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final

from reconciler.model import flag_words
from reconciler.model.task_definition import Container, DockerContainer

PROTOCOLS: Final = ("tcp", "udp", "sctp")


def of_container(container: Container) -> Iterator[tuple[int, str]]:
    """The fixed ports of the host, and their protocols, that a container publishes beside those of its task.

    Of a range for one port inside (``8000-8010:80``) the engine takes whichever is free: none of them is fixed.
    """
    if not isinstance(container, DockerContainer):
        return
    executor = container.executor
    if not (executor.ports or executor.flags) or not has_ports(network(executor.flags)):
        return
    for text in (*executor.ports, *_values(executor.flags, "--publish")):
        try:
            bindings = published(text)
        except ValueError:
            continue
        for inside, binding in bindings:
            if binding["HostPort"].isdecimal():
                yield int(binding["HostPort"]), inside.partition("/")[2]


def network(flags: Sequence[str]) -> str:
    """The network that a container joins; empty: the engine's default."""
    return next(_values(flags, "--network"), "")


def has_ports(network_name: str) -> bool:
    """Whether publishing ports means anything in a network."""
    return network_name not in ("host", "none") and not network_name.startswith("container:")


def published(text: str) -> list[tuple[str, dict[str, str]]]:
    """``[[ip:][host]:]inside[/protocol]`` as pairs of inside port and binding, as the engine's API writes them."""
    rest, protocol = split_protocol(text)
    rest, _, inside = rest.rpartition(":")
    address, host = "", rest
    if rest.startswith("["):
        address, bracket, host = rest[1:].partition("]")
        host = host.removeprefix(":")
        if not bracket:
            raise ValueError(f"{text!r} lacks a closing bracket")
    elif ":" in rest:
        address, _, host = rest.rpartition(":")
    if address:
        ipaddress.ip_address(address)
    inner = list(ports(inside))
    outer = [str(port) for port in ports(host)] if host else [""] * len(inner)
    if len(inner) == 1 and len(outer) > 1:
        outer = [host]  # the engine picks one of the range
    if len(inner) != len(outer):
        raise ValueError(f"{text!r} maps ranges of different lengths")
    return [
        (f"{port}/{protocol}", {"HostIp": address, "HostPort": on_host})
        for port, on_host in zip(inner, outer, strict=True)
    ]


def ports(text: str) -> Iterator[int]:
    """``80`` or ``8000-8010``."""
    first, dash, last = text.partition("-")
    low, high = _integer(first), _integer(last if dash else first)
    if not 0 < low <= high <= 65535:
        raise ValueError(f"{text!r} is not a port or a range of ports")
    yield from range(low, high + 1)


def split_protocol(text: str) -> tuple[str, str]:
    """What stands before ``/udp``, and the protocol; without one it is tcp."""
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"{protocol!r} is not a protocol ({', '.join(PROTOCOLS)})")
    return rest, protocol


def _values(flags: Sequence[str], name: str) -> Iterator[str]:
    return (flag.value for flag in flag_words.read(flags) if flag.name == name and flag.value)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
