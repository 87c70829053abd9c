"""Health on a real Consul: tasks as services, checks run by Consul itself, and what happens when it forgets."""

import contextlib
import http.server
import socket
import threading
import uuid
from collections.abc import Generator

import msgspec
import pytest

from reconciler.errors import StoreError
from reconciler.health.consul_registry import ConsulRegistry
from reconciler.health.interface import Reading, Registration
from reconciler.model.manifests import Check
from reconciler.model.task import Health
from reconciler.runtime.clock import SystemClock
from reconciler.store.consul import ConsulStore
from tests.support.consul import ConsulAgent, StartConsul
from tests.support.registrations import by_id, registration
from tests.support.wait import wait_until

pytestmark = pytest.mark.consul


class Scripts:
    """Stands for the agent's script runner; the test says what scripts answer."""

    def __init__(self) -> None:
        self.answer = Reading(Health.PASSING, "fine")
        self.runs = 0

    def __call__(self, registration: Registration, position: int, timeout_s: float) -> Reading:
        self.runs += 1
        return self.answer


class World:
    """A registry on a Consul agent, with marks of its own, so that tests share an agent."""

    def __init__(self, consul: ConsulAgent) -> None:
        self.consul = consul
        self.store_id = uuid.uuid4().hex
        self.scripts = Scripts()
        self.stores: list[ConsulStore] = []
        self.registries: list[ConsulRegistry] = []
        self.registry = self.another()

    def another(self, *, store_id: str | None = None, machine: str = "h1@m") -> ConsulRegistry:
        """As the next process of the agent has it: it knows nothing yet."""
        store = self.consul.store()
        registry = ConsulRegistry(
            store.agent,
            store_id=store_id or self.store_id,
            machine=machine,
            run_script=self.scripts,
            clock=SystemClock(),
        )
        self.stores.append(store)
        self.registries.append(registry)
        return registry

    def close(self) -> None:
        for registry in self.registries:
            with contextlib.suppress(StoreError):
                registry.synchronise({})
            registry.close()
        for store in self.stores:
            store.close()

    def services(self) -> dict[str, dict[str, object]]:
        return {
            key: service
            for key, service in self.consul.call("GET", "agent/services").items()
            if service["Meta"].get("reconciler_store") == self.store_id
        }

    def await_health(self, task_id: str, health: Health) -> Reading:
        return await_health(self.registry, task_id, health)


def await_health(registry: ConsulRegistry, task_id: str, health: Health) -> Reading:
    def reached() -> Reading | None:
        registry.wait(0.5)
        reading = registry.readings().get(task_id)
        return reading if reading and reading.health is health else None

    return wait_until(reached, what=f"{task_id} {health}")  # type: ignore[return-value]


@pytest.fixture
def world(consul: ConsulAgent) -> Generator[World]:
    with contextlib.closing(World(consul)) as made:
        yield made


@pytest.fixture
def listener() -> Generator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def tcp(listener: socket.socket, *, instance: int = 1, attempt: int = 1, issue: int = 7) -> Registration:
    check = Check(tcp="127.0.0.1", add_provided_port=True, interval="200ms", timeout="1s")
    port = listener.getsockname()[1]
    return registration(check, port=port, instance=instance, attempt=attempt, issue=issue, tags=("blue",))


def test_a_task_is_found_through_consul_under_its_cluster_and_service(world: World, listener: socket.socket) -> None:
    one = tcp(listener)
    world.registry.synchronise(by_id(one))
    world.await_health(one.task.id, Health.PASSING)

    def found() -> list[dict[str, object]]:
        return [
            entry["Service"]
            for entry in world.consul.call("GET", "health/service/c-web?passing")
            if entry["Service"]["Meta"]["reconciler_store"] == world.store_id
        ]

    # the local agent knows a verdict a moment before the catalog does
    (service,) = wait_until(found, what="the task is found")
    assert (service["ID"], service["Address"], service["Port"]) == (one.task.id, "127.0.0.1", one.task.port)
    assert service["Tags"] == ["blue"]


def test_a_task_that_consul_refuses_keeps_no_other_from_being_found(world: World, listener: socket.socket) -> None:
    endless = Check(tcp="127.0.0.1", add_provided_port=True, interval=f"{'9' * 20}h")
    refused, other = registration(endless, port=20001, instance=1), tcp(listener, instance=2)
    world.registry.synchronise(by_id(refused, other))
    world.await_health(other.task.id, Health.PASSING)
    reading = world.registry.readings()[refused.task.id]
    assert reading.health is Health.UNKNOWN
    assert "invalid duration" in reading.output


def test_a_named_port_is_found_under_a_name_of_its_own_while_its_task_is_healthy(world: World) -> None:
    def found(name: str, query: str = "") -> list[tuple[str, int, list[str]]]:
        entries = world.consul.call("GET", f"health/service/{name}{query}")
        services = [
            each["Service"] for each in entries if each["Service"]["Meta"]["reconciler_store"] == world.store_id
        ]
        return [(each["ID"], each["Port"], each["Tags"]) for each in services]

    one = registration(
        Check(script="test", interval="100ms"), port=8080, named={"metrics": 9090, "grpc": 9091}, tags=("blue",)
    )
    world.registry.synchronise(by_id(one))
    assert found("c-web-metrics", "?passing") == []
    world.await_health(one.task.id, Health.PASSING)
    metrics = (f"{one.task.id}:metrics", 9090, ["metrics-tag"])
    wait_until(lambda: found("c-web-metrics", "?passing") == [metrics], what="it is found")
    assert found("c-web-grpc", "?passing") == [(f"{one.task.id}:grpc", 9091, ["grpc-tag"])]
    assert found("c-web", "?passing") == [(one.task.id, 8080, ["blue"])]
    world.scripts.answer = Reading(Health.CRITICAL, "broken")
    world.await_health(one.task.id, Health.CRITICAL)
    wait_until(lambda: not found("c-web-metrics", "?passing"), what="it is not found any more")
    fewer = registration(Check(script="test", interval="100ms"), port=8080, named={"metrics": 9090})
    world.registry.synchronise(by_id(fewer))
    assert not found("c-web-grpc"), "a port that the task has no more"
    world.registry.withdraw(one.task.id)
    assert not found("c-web")
    assert not found("c-web-metrics")


def test_a_task_that_is_found_under_another_name_keeps_its_health(world: World) -> None:
    one = registration(Check(ttl="1h"), named={"metrics": 9090})
    world.registry.synchronise(by_id(one))
    world.registry.report("c-web-1-1:0", Health.PASSING, "fine")
    world.await_health(one.task.id, Health.PASSING)
    renamed = msgspec.structs.replace(one, task=msgspec.structs.replace(one.task, discovery_name=f"www-{id(one)}"))
    world.registry.synchronise(by_id(renamed))
    for name in (f"www-{id(one)}", f"www-{id(one)}-metrics"):
        found = wait_until(lambda name=name: world.consul.call("GET", f"health/service/{name}?passing"), what=name)
        (service,) = (each["Service"] for each in found)
        assert service["ID"].startswith(one.task.id)
    assert world.registry.readings()[one.task.id].health is Health.PASSING
    for name in ("c-web", "c-web-metrics"):
        left = world.consul.call("GET", f"health/service/{name}")
        assert not [each for each in left if each["Service"]["Meta"]["reconciler_store"] == world.store_id]


def test_a_check_that_has_not_run_is_unknown_and_not_critical(world: World, listener: socket.socket) -> None:
    check = Check(tcp="127.0.0.1", add_provided_port=True, interval="1h")
    one = registration(check, port=listener.getsockname()[1])
    world.registry.synchronise(by_id(one))

    def reading() -> Reading | None:
        world.registry.wait(0.2)
        found = world.registry.readings()[one.task.id]
        return found if "not run yet" in found.output else None

    assert wait_until(reading, what="Consul shows the check").health is Health.UNKNOWN  # type: ignore[union-attr]


def test_a_service_that_stops_answering_becomes_critical_and_that_is_news(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = tcp(listener)
        world.registry.synchronise(by_id(one))
        world.await_health(one.task.id, Health.PASSING)
        while world.registry.wait(0.1):
            pass
        woken = threading.Event()
        thread = threading.Thread(target=lambda: world.registry.wait(20.0) and woken.set())
        thread.start()
    assert woken.wait(20.0)
    thread.join()
    assert "refused" in world.await_health(one.task.id, Health.CRITICAL).output


def test_http_checks_carry_method_and_headers(world: World) -> None:
    asked: list[tuple[str, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append((self.command, self.headers.get("X-Token")))
            self.send_response(429)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        check = Check(
            http="http://127.0.0.1/x",
            add_provided_port=True,
            method="PUT",
            header={"X-Token": ("abc",)},
            interval="100ms",
        )
        one = registration(check, port=server.server_address[1])
        world.registry.synchronise(by_id(one))
        world.await_health(one.task.id, Health.WARNING)
        world.registry.withdraw(one.task.id)
        server.shutdown()
        thread.join()
    assert asked[0] == ("PUT", "abc")


def test_scripts_run_here_and_consul_shows_what_they_said(world: World) -> None:
    one = registration(Check(script="check me", interval="100ms"))
    world.registry.synchronise(by_id(one))
    world.await_health(one.task.id, Health.PASSING)
    world.scripts.answer = Reading(Health.CRITICAL, "disk is full")
    assert world.await_health(one.task.id, Health.CRITICAL).output == "disk is full"
    shown = world.consul.call("GET", "agent/checks")["c-web-1-1:0"]
    assert (shown["Status"], shown["Type"]) == ("critical", "ttl")


def test_a_task_may_report_its_own_check_to_us_or_to_consul(world: World) -> None:
    one = registration(Check(ttl="1h"))
    world.registry.synchronise(by_id(one))
    assert world.registry.report("c-web-1-1:0", Health.PASSING, "by our agent")
    world.await_health(one.task.id, Health.PASSING)
    world.consul.call("PUT", "agent/check/warn/c-web-1-1:0?note=by+consul")
    assert world.await_health(one.task.id, Health.WARNING).output == "by consul"
    assert not world.registry.report("c-web-1-1:1", Health.PASSING, "")


def test_rule_07_nothing_is_registered_twice(world: World, listener: socket.socket) -> None:
    one = tcp(listener)
    world.registry.synchronise(by_id(one))
    before = world.services()[one.task.id]["Service"]
    index = world.consul.call("GET", "catalog/service/c-web")[0]["ModifyIndex"]
    world.registry.synchronise(by_id(one))
    world.another().synchronise(by_id(one))
    assert world.services()[one.task.id]["Service"] == before
    assert world.consul.call("GET", "catalog/service/c-web")[0]["ModifyIndex"] == index


def test_rule_07_a_changed_registration_keeps_its_health(world: World) -> None:
    one = registration(Check(ttl="1h"), tags=("blue",))
    world.registry.synchronise(by_id(one))
    world.registry.report("c-web-1-1:0", Health.PASSING, "fine")
    green = registration(Check(ttl="1h"), tags=("green",))
    world.registry.synchronise(by_id(green))
    assert world.services()[one.task.id]["Tags"] == ["green"]
    assert world.consul.call("GET", "agent/checks")["c-web-1-1:0"]["Status"] == "passing"


def test_another_attempt_of_a_task_starts_without_the_health_of_the_last_one(world: World) -> None:
    one = registration(Check(ttl="1h"))
    world.registry.synchronise(by_id(one))
    world.registry.report("c-web-1-1:0", Health.PASSING, "fine")
    world.await_health(one.task.id, Health.PASSING)
    world.registry.synchronise(by_id(registration(Check(ttl="1h"), attempt=2)))
    assert world.registry.readings()[one.task.id].health is Health.UNKNOWN
    assert world.consul.call("GET", "agent/checks")["c-web-1-1:0"]["Status"] == "critical"


def test_what_nobody_wants_is_taken_out_and_what_is_kept_stays(world: World) -> None:
    one, two, three = (registration(Check(ttl="1h"), instance=each) for each in (1, 2, 3))
    world.registry.synchronise(by_id(one, two, three))
    following = world.another()
    following.synchronise(by_id(one), keep=[two.task.id])
    assert set(world.services()) == {one.task.id, two.task.id}
    following.withdraw(one.task.id)
    assert set(world.services()) == {two.task.id}


def test_rule_05_services_of_others_are_never_touched(world: World) -> None:
    other_store = world.another(store_id="another-store")
    other_host = world.another(machine="h2@m")
    other_store.synchronise(by_id(registration(instance=1)))
    other_host.synchronise(by_id(registration(instance=2)))
    by_hand = {"ID": "c-web-1-3", "Name": "by-hand", "Port": 1}
    world.consul.call("PUT", "agent/service/register", by_hand)
    wanted = by_id(*(registration(instance=each) for each in (1, 2, 3)))
    world.registry.synchronise(wanted)
    world.registry.withdraw("c-web-1-1")
    registered = world.consul.call("GET", "agent/services")
    assert registered["c-web-1-1"]["Meta"]["reconciler_store"] == "another-store"
    assert registered["c-web-1-2"]["Meta"]["reconciler_machine"] == "h2@m"
    assert registered["c-web-1-3"]["Service"] == "by-hand"
    reading = world.registry.readings()["c-web-1-3"]
    assert (reading.health, "somebody else" in reading.output) == (Health.UNKNOWN, True)
    other_store.synchronise({})
    other_host.synchronise({})
    world.consul.call("PUT", "agent/service/deregister/c-web-1-3")


def test_a_consul_that_forgot_everything_is_told_again_with_the_last_known_health(
    start_consul: StartConsul, listener: socket.socket
) -> None:
    with contextlib.closing(World(start_consul())) as world:
        one = registration(Check(ttl="1h"), Check(script="x", interval="100ms"))
        two = tcp(listener, instance=2)
        world.registry.synchronise(by_id(one, two))
        world.registry.report("c-web-1-1:0", Health.PASSING, "fine")
        for each in (one, two):
            world.await_health(each.task.id, Health.PASSING)
        world.consul.restart()
        assert world.services() == {}

        def told() -> bool:
            try:
                world.registry.wait(1.0)
                world.registry.synchronise(by_id(one, two))
            except StoreError:
                return False
            return True

        wait_until(told, what="the new Consul can be told")
        statuses = {key: each["Status"] for key, each in world.consul.call("GET", "agent/checks").items()}
        assert statuses["c-web-1-1:0"] == "passing"
        assert statuses["c-web-1-2:0"] == "passing"
        for each in (one, two):
            world.await_health(each.task.id, Health.PASSING)


def test_rule_07_a_consul_that_is_restarted_makes_nothing_critical(
    start_consul: StartConsul, listener: socket.socket
) -> None:
    with contextlib.closing(World(start_consul(is_dev=False))) as world:
        check = Check(tcp="127.0.0.1", add_provided_port=True, interval="2s")
        one = registration(check, port=listener.getsockname()[1])
        world.registry.synchronise(by_id(one))
        world.await_health(one.task.id, Health.PASSING)
        seen: list[Health] = []
        world.consul.restart()

        def passing_again() -> bool:
            try:
                world.registry.wait(0.1)
                world.registry.synchronise(by_id(one))
                seen.append(world.registry.readings()[one.task.id].health)
            except StoreError:
                return False
            return seen[-1] is Health.PASSING and "Success" in world.registry.readings()[one.task.id].output

        wait_until(passing_again, what="passing after the restart")
        assert Health.CRITICAL not in seen


def test_a_consul_that_is_away_says_nothing(start_consul: StartConsul) -> None:
    with contextlib.closing(World(start_consul())) as world:
        one = registration()
        world.registry.synchronise(by_id(one))
        world.await_health(one.task.id, Health.PASSING)
        world.consul.stop()
        for call in (
            lambda: world.registry.synchronise(by_id(one)),
            lambda: world.registry.withdraw(one.task.id),
            lambda: world.registry.wait(0.1),
            world.registry.readings,
        ):
            with pytest.raises(StoreError):
                call()
