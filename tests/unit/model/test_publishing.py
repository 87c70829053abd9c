"""Ports of the host that containers publish themselves."""

import pytest

from reconciler.model import ports
from reconciler.model.manifests import DockerContainer, DockerExecutor, NamedPort, TaskDefinition
from reconciler.model.publishing import of_container


def container(*flags: str, mapped: tuple[str, ...] = ()) -> DockerContainer:
    return DockerContainer(name="main", executor=DockerExecutor(image="busybox", flags=flags, ports=mapped))


@pytest.mark.parametrize(
    ("flags", "mapped", "fixed"),
    [
        ((), ("8080:80",), [(8080, "tcp")]),
        ((), ("127.0.0.1:5300-5301:53-54/udp",), [(5300, "udp"), (5301, "udp")]),
        (("--publish=8080:80",), (), [(8080, "tcp")]),
        (("--publish", "[::1]:8080:80"), (), [(8080, "tcp")]),
        (("-p 8080:80 --init -p 8081:81/sctp",), (), [(8080, "tcp"), (8081, "sctp")]),
        (("-p8080:80", "-p=8081:81"), (), [(8080, "tcp"), (8081, "tcp")]),
        (("-p 8080:80", "--net=own"), (), [(8080, "tcp")]),
        (("-Pp8080:80", "-Pp", "8081:81"), (), [(8080, "tcp"), (8081, "tcp")]),
        (("--label", "-p", "-p", "8083:83", "--init", "-p8084:84"), (), [(8083, "tcp"), (8084, "tcp")]),
    ],
)
def test_every_form_of_a_fixed_port_is_seen(
    flags: tuple[str, ...], mapped: tuple[str, ...], fixed: list[tuple[int, str]]
) -> None:
    assert list(of_container(container(*flags, mapped=mapped))) == fixed


@pytest.mark.parametrize(
    ("flags", "mapped"),
    [
        (("-p 80",), ("80", ":80", "127.0.0.1::80")),
        (("--publish=8000-8010:80",), ()),
        (("--net=host", "-p", "8080:80"), ("8081:81",)),
        (("--network container:other",), ("8081:81",)),
        (("--publish=nonsense", "-p", "1:2:3:4:5", "-p"), ()),
        (("--label=-p=8080:80", "--pid=host", "-P"), ()),
        (("--label", "-p", "--hostname", "--net=host", "-e -p80:80"), ()),
    ],
)
def test_what_the_engine_chooses_or_never_maps_is_not_fixed(flags: tuple[str, ...], mapped: tuple[str, ...]) -> None:
    assert list(of_container(container(*flags, mapped=mapped))) == []


def test_a_task_has_each_port_once_and_its_record_repeats_those_that_only_containers_know_of() -> None:
    definition = TaskDefinition(
        name="web",
        version=1,
        port=8080,
        ports=(NamedPort(name="admin", port=9000),),
        containers=(container("-p 8080:80", "-p 7002:2", mapped=("7000-7001:1-2", "9100:9100", "7001:5/udp")),),
    )
    assert ports.fixed(definition) == (8080, 9000, 7000, 7001, 9100, 7002)
    assert ports.further(definition) == ((7000, 7002), (9100, 9100))
