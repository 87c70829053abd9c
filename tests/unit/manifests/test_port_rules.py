"""Fixed ports are warned about when the hosts that are declared may not be enough, and else not."""

from typing import Any

import pytest

from tests.unit.manifests.declared import check, cluster, codes, manifest, service, task_definition


def fixed(name: str = "web", port: int = 8080) -> dict[str, Any]:
    return task_definition(name, provide_port=False, port=port)


def hosts(count: int, draining: int = 0) -> list[dict[str, Any]]:
    return [{"name": f"h{number}", "draining": number < draining} for number in range(count)]


@pytest.mark.parametrize(
    ("fields", "declared", "warned"),
    [
        ({"desired": 1, "min": 0}, 0, False),
        ({"desired": 1}, 0, True),
        ({"desired": 1}, 1, True),
        ({"desired": 1}, 2, False),
        ({"desired": 3, "min": 2}, 2, True),
        ({"desired": 3, "min": 2}, 3, False),
        ({"desired": 3}, 3, True),
        ({"desired": 3}, 4, False),
        ({"desired": 0, "min": 0}, 0, False),
    ],
)
def test_a_fixed_port_needs_a_host_for_each_task_and_one_to_spare(
    fields: dict[str, Any], declared: int, warned: bool
) -> None:
    made = manifest(services=[service(**fields)], definitions=[fixed()], hosts=hosts(declared))
    assert codes(made) == (["RC017"] if warned else [])


def test_draining_hosts_do_not_count() -> None:
    services = [service(desired=2, min=1)]
    assert codes(manifest(services=services, definitions=[fixed()], hosts=hosts(3, draining=1))) == []
    assert codes(manifest(services=services, definitions=[fixed()], hosts=hosts(3, draining=2))) == ["RC017"]


def test_a_provided_port_needs_nothing() -> None:
    assert codes(manifest(services=[service(desired=50)])) == []


def two_services(port: int = 8080) -> dict[str, Any]:
    return {
        "services": [service("web", desired=1, min=0), service("api", task_name="api", desired=1, min=0)],
        "definitions": [fixed("web"), fixed("api", port)],
    }


def test_two_services_with_one_port_can_not_share_a_host() -> None:
    (problem,) = check(manifest(**two_services())).problems
    assert problem.code == "RC016"
    assert "'api' needs the fixed port 8080 like service 'web' (0.json:1)" in problem.message
    assert codes(manifest(**two_services(), hosts=hosts(1))) == ["RC016"]


def test_two_services_with_one_port_are_fine_on_hosts_enough_or_with_different_ports() -> None:
    assert codes(manifest(**two_services(), hosts=hosts(2))) == []
    assert codes(manifest(**two_services(port=8081))) == []


def test_one_service_in_two_clusters_clashes_with_itself() -> None:
    made = manifest(
        clusters=[cluster("a", "web"), cluster("b", "web")],
        services=[service(desired=1, min=0)],
        definitions=[fixed()],
    )
    (problem,) = check(made).problems
    assert problem.code == "RC016"
    assert "in the clusters 'a' and 'b'" in problem.message


def test_a_service_in_no_cluster_takes_no_port() -> None:
    made = manifest(clusters=[], services=[service(desired=5)], definitions=[fixed()])
    assert codes(made) == ["RC011"]
