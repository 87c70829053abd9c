"""What one object must keep: the edges that the broken manifests leave open, and what must not be a problem."""

from typing import Any

import pytest

from reconciler.manifests.load import load
from reconciler.manifests.object_rules import MAX_OBJECT_BYTES
from reconciler.model.codec import encode
from tests.unit.manifests.declared import check, codes, docker, manifest, service, task_definition


@pytest.mark.parametrize(
    ("desired", "low", "high", "expected"),
    [
        (2, None, None, []),
        (2, 2, 3, []),
        (2, 1, 2, []),
        (0, 0, 0, []),
        (0, None, None, []),
        (2, None, 2, ["RC015"]),
        (2, 2, 2, ["RC015"]),
        (2, 3, None, ["RC014"]),
        (2, 3, 1, ["RC014", "RC014"]),
        (2, None, 1, ["RC014"]),
        (2, 0, 100, []),
    ],
)
def test_the_scheduler_must_be_able_to_move(
    desired: int, low: int | None, high: int | None, expected: list[str]
) -> None:
    assert codes(manifest(services=[service(desired=desired, min=low, max=high)])) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "system", "desired": 1, "min": 2, "max": 9}, []),
        ({"kind": "system", "desired": 1, "min": 1, "max": 1}, []),
        ({"kind": "system", "desired": 3}, ["RC037"]),
        ({"kind": "system", "desired": 1, "min": 3, "max": 2}, ["RC014"]),
        ({"kind": "batch", "desired": 3, "rollout": {"parallel": 2}}, []),
        ({"kind": "batch", "desired": 3, "min": 1}, ["RC037"]),
        ({"kind": "batch", "desired": 3, "rollout": {"deadline": "1m", "on_failure": "revert"}}, ["RC037", "RC037"]),
        ({"rollout": {}}, []),
        ({"rollout": {"healthy_after": "10m"}}, ["RC004"]),
        ({"desired": 2, "min": 1, "rollout": {"order": "stop_first"}}, []),
    ],
)
def test_what_says_nothing_for_a_kind_of_service_is_said(fields: dict[str, Any], expected: list[str]) -> None:
    assert codes(manifest(services=[service(**fields)])) == expected


def with_container(*, provide_port: bool = True, **executor: Any) -> dict[str, Any]:
    return manifest(definitions=[task_definition(provide_port=provide_port, containers=[docker(**executor)])])


@pytest.mark.parametrize(
    ("flags", "in_host_network"),
    [
        (["--net=host"], True),
        (["--network=host"], True),
        (["--network", "host"], True),
        (["--net host"], True),
        (["--init", "--net", "host", "--rm"], True),
        (["--net=bridge"], False),
        (["--net"], False),
        (["--network-alias=host"], False),
        (["host"], False),
        ([], False),
    ],
)
def test_the_hosts_network_is_seen_however_it_is_written(flags: list[str], in_host_network: bool) -> None:
    expected = ["RC031"] if in_host_network else []
    assert codes(with_container(container_port=80, flags=flags)) == expected
    assert codes(with_container(ports=["5000"], flags=flags)) == expected
    assert codes(with_container(flags=flags)) == []


def test_a_container_port_takes_a_fixed_port_too() -> None:
    definition = task_definition(provide_port=False, port=8080, containers=[docker(container_port=80)])
    assert codes(manifest(services=[service(desired=1, min=0)], definitions=[definition])) == []
    assert codes(with_container(provide_port=False, container_port=80)) == ["RC028"]
    assert codes(with_container(provide_port=False, container_port=0)) == []


def with_checks(*checks: dict[str, Any], **definition: Any) -> dict[str, Any]:
    return manifest(definitions=[task_definition(checks=list(checks), **definition)])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"http": "http://127.0.0.1/x"}, []),
        ({"http": "http://127.0.0.1:80/"}, ["RC027"]),
        ({"http": "http://127.0.0.1:80"}, ["RC027"]),
        ({"http": "http://127.0.0.1/a:80"}, []),
        ({"http": "http://127.0.0.1?x=a:80"}, []),
        ({"http": "http://user:word@127.0.0.1/"}, []),
        ({"http": "http://[::1]/"}, []),
        ({"http": "http://[::1]:80/"}, ["RC027"]),
        ({"tcp": "127.0.0.1"}, []),
        ({"tcp": "127.0.0.1:80"}, ["RC027"]),
        ({"tcp": "[::1]"}, []),
        ({"tcp": "[::1]:80"}, ["RC027"]),
        ({"script": "true"}, ["RC027"]),
        ({"ttl": "30s"}, ["RC027"]),
    ],
)
def test_the_provided_port_needs_a_place_without_one(fields: dict[str, Any], expected: list[str]) -> None:
    assert codes(with_checks({"add_provided_port": True, **fields})) == expected


def test_a_fixed_port_can_be_added_to_a_check() -> None:
    definition = task_definition(
        provide_port=False, port=8080, checks=[{"http": "http://127.0.0.1", "add_provided_port": True}]
    )
    assert codes(manifest(services=[service(desired=1, min=0)], definitions=[definition])) == []


@pytest.mark.parametrize(
    "fields", [{"tcp": ":8080"}, {"tcp": "localhost:80"}, {"http": "https://x/", "method": "HEAD"}]
)
def test_checks_that_say_their_own_port_are_fine(fields: dict[str, Any]) -> None:
    assert codes(with_checks(fields)) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"script": "true", "container": "c"}, []),
        ({"script": "true", "container": None}, []),
        ({"script": "true", "container": "d"}, ["RC032"]),
        ({"ttl": "1s", "container": "c"}, ["RC032"]),
        ({"script": "true", "method": "GET", "tls_skip_verify": True}, ["RC037", "RC037"]),
        ({"tcp": "a:1", "header": {"Host": ["x"]}}, ["RC037"]),
        ({"ttl": "1s", "timeout": "1s"}, ["RC037"]),
        ({"ttl": "1s", "interval": None, "tls_skip_verify": False}, []),
        ({"script": "true", "interval": "100ms"}, []),
        ({"script": "true", "interval": "99ms"}, ["RC024"]),
        ({"script": "true", "timeout": "24h"}, []),
        ({"script": "true", "timeout": "24h1s"}, ["RC024"]),
        ({"ttl": "9999999h"}, ["RC024"]),
    ],
)
def test_fields_of_a_check_fit_its_kind(fields: dict[str, Any], expected: list[str]) -> None:
    assert codes(with_checks(fields)) == expected


def test_checks_without_a_name_do_not_share_one() -> None:
    assert codes(with_checks({"script": "true"}, {"script": "true"}, {"script": "true", "name": "a"})) == []


def test_an_object_may_be_as_large_as_the_limit() -> None:
    def sized(length: int) -> dict[str, Any]:
        return manifest(definitions=[task_definition(containers=[docker(cmd=["x" * length])])])

    empty = next(one for one in check(sized(0)).objects if one.object.name == "web" and hasattr(one.object, "version"))
    room = MAX_OBJECT_BYTES - len(encode(empty.object))
    assert codes(sized(room)) == []
    assert codes(sized(room + 1)) == ["RC018"]


def test_a_port_range_of_one_port_is_fine() -> None:
    assert load([("a.yml", b"hosts: [{name: h, port_range: [1, 1]}, {name: i, port_range: null}]")]).problems == ()
