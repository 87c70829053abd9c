"""How a task looks in Consul, and how Consul's words are read."""

import msgspec
import pytest

from reconciler.health import consul_service
from reconciler.health.consul_service import Mark
from reconciler.health.interface import Reading
from reconciler.model.manifests import Check
from reconciler.model.task import Health
from reconciler.store.consul_agent import CheckState, LocalService, ServiceDefinition
from tests.support.registrations import registration

MARK = Mark("store-1", "h1@m")
HTTP = Check(http="http://127.0.0.1/health", add_provided_port=True, interval="5s", failures_before_critical=3)


def state(check_id: str, status: str, output: str = "x", notes: str = "issue 7, attempt 1") -> CheckState:
    return CheckState(
        id=check_id,
        name="n",
        status=status,
        output=output,
        service_id=check_id.partition(":")[0],
        service_name="c-web",
        notes=notes,
        node="node",
    )


def local(service: ServiceDefinition) -> LocalService:
    return LocalService(
        id=service.id,
        name=service.name,
        address=service.address,
        port=service.port,
        tags=service.tags,
        meta=service.meta,
    )


def test_a_task_is_a_service_of_its_cluster_and_service() -> None:
    service = consul_service.service(registration(HTTP, port=20001, tags=("urlprefix-/web",)), MARK, {})
    assert (service.id, service.name, service.address, service.port) == ("c-web-1-1", "c-web", "127.0.0.1", 20001)
    assert service.tags == ("urlprefix-/web",)
    assert service.meta == {
        "reconciler_store": "store-1",
        "reconciler_machine": "h1@m",
        "issue": "7",
        "attempt": "1",
        "digest": "d",
        "version": "1",
        "instance": "1",
    }
    (check,) = service.checks
    assert (check.id, check.http, check.interval_s) == ("c-web-1-1:0", "http://127.0.0.1:20001/health", 5.0)
    assert (check.timeout_s, check.failures_before_critical, check.status) == (10.0, 3, None)


def test_scripts_are_reported_as_ttl_so_that_consul_runs_none() -> None:
    service = consul_service.service(registration(Check(script="true", interval="1s")), MARK, {})
    (check,) = service.checks
    assert check.ttl_s is not None
    assert check.args == ()


def test_what_is_known_is_registered_with_it_so_that_nothing_flaps() -> None:
    known = {"c-web-1-1:0": Reading(Health.PASSING, "fine")}
    service = consul_service.service(registration(HTTP, Check(ttl="10s")), MARK, known)
    assert [check.status for check in service.checks] == ["passing", None]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"address": "10.9.9.9"},
        {"port": 1},
        {"tags": ("x",)},
        {"meta": {}},
    ],
)
def test_any_difference_is_registered_again(change: dict[str, object]) -> None:
    wanted = consul_service.service(registration(HTTP, port=20001), MARK, {})
    checks = {"c-web-1-1:0": state("c-web-1-1:0", "passing")}
    assert not consul_service.differs(wanted, local(wanted), checks)
    assert consul_service.differs(wanted, msgspec.structs.replace(local(wanted), **change), checks)
    assert consul_service.differs(wanted, None, checks)
    assert consul_service.differs(wanted, local(wanted), {}), "a check was taken out by hand"


@pytest.mark.parametrize(
    ("found", "health"),
    [
        (state("c-web-1-1:0", "passing"), Health.PASSING),
        (state("c-web-1-1:0", "warning"), Health.WARNING),
        (state("c-web-1-1:0", "critical"), Health.CRITICAL),
        (state("c-web-1-1:0", "critical", output=""), Health.UNKNOWN),
        (state("c-web-1-1:0", "maintenance"), Health.UNKNOWN),
        (state("c-web-1-1:0", "passing", notes="issue 6, attempt 1"), Health.UNKNOWN),
        (state("c-web-1-1:0", "passing", notes="issue 7, attempt 2"), Health.UNKNOWN),
        (state("c-other-1-1:0", "passing"), Health.UNKNOWN),
    ],
)
def test_rule_04_only_a_check_of_this_very_issue_and_attempt_counts(found: CheckState, health: Health) -> None:
    one = registration(HTTP)
    assert consul_service.reading(one, {"c-web-1-1:0": found}).health is health


def test_rule_07_a_task_without_checks_is_passing() -> None:
    assert consul_service.reading(registration(), {}).health is Health.PASSING


def test_rule_07_nothing_of_a_node_counts_that_the_cluster_does_not_see() -> None:
    alive = msgspec.structs.replace(state("serfHealth", "passing"), service_id="")
    assert consul_service.node_is_well([alive])
    assert not consul_service.node_is_well([msgspec.structs.replace(alive, status="critical")])
    assert not consul_service.node_is_well([])


def test_only_what_carries_our_marks_is_ours() -> None:
    service = local(consul_service.service(registration(), MARK, {}))
    assert MARK.owns(service)
    assert not Mark("store-2", "h1@m").owns(service)
    assert not Mark("store-1", "h2@m").owns(service)
    assert not MARK.owns(msgspec.structs.replace(service, meta={}))
