"""Which ports of its host a docker container publishes itself: by its ``ports`` and by ``--publish`` in its ``flags``.

Everybody reads them here: the scheduler and validation, which count them as fixed ports, and the docker executor.
Pure; what can't be read raises ValueError, and publishes nothing.
"""

import ipaddress
import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from reconciler.model.task_definition import Container, DockerContainer

PROTOCOLS: Final = ("tcp", "udp", "sctp")
_NETWORK: Final = ("--net", "--network")
_PUBLISH: Final = ("-p", "--publish")


def of_container(container: Container) -> Iterator[tuple[int, str]]:
    """The fixed ports of the host, and their protocols, that a container publishes beside those of its task.

    Of a range for one port inside (``8000-8010:80``) the engine takes whichever is free: none of them is fixed.
    """
    if not isinstance(container, DockerContainer):
        return
    executor = container.executor
    if not (executor.ports or executor.flags) or not has_ports(network(executor.flags)):
        return
    for text in (*executor.ports, *values_of(executor.flags, _PUBLISH)):
        try:
            bindings = published(text)
        except ValueError:
            continue
        for inside, binding in bindings:
            if binding["HostPort"].isdecimal():
                yield int(binding["HostPort"]), inside.partition("/")[2]


def network(flags: Sequence[str]) -> str:
    """The network that a container joins; empty: the engine's default."""
    return next(values_of(flags, _NETWORK), "")


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


def values_of(flags: Sequence[str], names: Collection[str]) -> Iterator[str]:
    """The values that flags of these names have: ``--net=host``, ``--net host`` in one entry or two, ``-p80``."""
    found = words(flags)
    for _, each in found:
        # the one switch that may stand before others in a word: -Pp80:80
        word = f"-{each[2:]}" if each.startswith("-P") and each[2:3] not in ("", "=") else each
        name, equals, value = word.partition("=")
        if name in names:
            following = value if equals else next(found, (0, ""))[1]
            if following:
                yield following
        elif not word.startswith("--") and word[:2] in names:
            yield word[2:].removeprefix("=")


def words(flags: Sequence[str], problems: list[str] | None = None) -> Iterator[tuple[int, str]]:
    """The words of ``flags``, each with the entry that it stands in; an entry that can't be split is a problem."""
    for position, entry in enumerate(flags):
        head = entry.split(None, 1)[0] if entry.strip() else entry
        if entry.startswith("-") and "=" not in head and head != entry:
            try:
                yield from ((position, word) for word in shlex.split(entry))
            except ValueError as error:
                if problems is not None:
                    problems.append(f"{entry!r}: {error}")
        else:
            yield position, entry


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
