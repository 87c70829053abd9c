"""The environment of every task, as DESIGN and docs/agent.md promise it."""

from msgspec import UNSET

from reconciler.agent.environment import environment
from reconciler.model.manifests import BashContainer, BashExecutor, Check, TaskDefinition
from reconciler.model.task import Task


def task(port: int = 0, ports: dict[str, int] | None = None) -> Task:
    return Task(
        id="default-web-2-1",
        cluster="default",
        service="web",
        task_name="helloworld",
        task_version=2,
        instance=1,
        host="h1",
        port=port,
        ports=ports or UNSET,
        issue=42,
        digest="d",
        issued_at=0.0,
    )


def definition(*checks: Check, env: tuple[str, ...] = ()) -> TaskDefinition:
    container = BashContainer(name="main", executor=BashExecutor(start=("true",), env=env))
    return TaskDefinition(name="helloworld", version=2, containers=(container,), checks=checks)


def variables(made_of: TaskDefinition, port: int = 0) -> dict[str, str]:
    return environment(task(port), made_of, made_of.containers[0], "10.0.0.1")


def test_a_task_knows_what_it_is_and_where() -> None:
    assert variables(definition(), port=20001) == {
        "RECONCILER_TASK_ID": "default-web-2-1",
        "RECONCILER_CLUSTER": "default",
        "RECONCILER_SERVICE": "web",
        "RECONCILER_VERSION": "2",
        "RECONCILER_INSTANCE": "1",
        "RECONCILER_ISSUE": "42",
        "RECONCILER_HOST": "h1",
        "RECONCILER_ADDRESS": "10.0.0.1",
        "RECONCILER_PORT": "20001",
        "PORT": "20001",
        "SCHEDULED_PORT": "20001",
    }


def test_a_task_without_port_sees_none() -> None:
    assert not {"RECONCILER_PORT", "PORT", "SCHEDULED_PORT"} & variables(definition()).keys()


def test_a_task_finds_each_of_its_named_ports() -> None:
    made_of = definition()
    found = environment(task(ports={"metrics": 20002, "admin-api": 20003}), made_of, made_of.containers[0], "10.0.0.1")
    assert {name: value for name, value in found.items() if "PORT" in name} == {
        "RECONCILER_PORT_METRICS": "20002",
        "RECONCILER_PORT_ADMIN_API": "20003",
    }


def test_the_definitions_own_variables_come_on_top() -> None:
    found = variables(definition(env=("PORT=80", "GREETING=a=b", "EMPTY=")), port=20001)
    assert (found["PORT"], found["GREETING"], found["EMPTY"]) == ("80", "a=b", "")


def test_a_task_finds_the_ids_of_the_checks_that_it_reports_itself() -> None:
    checks = (Check(http="http://127.0.0.1"), Check(ttl="10s", name="batch done"), Check(ttl="10s"))
    found = variables(definition(*checks))
    assert {name: value for name, value in found.items() if "_CHECK_" in name} == {
        "RECONCILER_CHECK_BATCH_DONE": "default-web-2-1:1",
        "RECONCILER_CHECK_2": "default-web-2-1:2",
    }
