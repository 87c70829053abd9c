"""A secret changes while clients call the service: its tasks are replaced one by one, and nobody sees the value."""

import json
from typing import Any

import psutil
import pytest

from reconciler.store.consul import ConsulStore
from reconciler.store.interface import Put
from tests.support.consul import ConsulAgent, StartConsul
from tests.support.docker import DockerEngine
from tests.support.load import Client
from tests.support.manifests import SERVER, bash_definition, docker_definition, manifest, service, write
from tests.support.program import Program
from tests.support.wait import wait_until

pytestmark = [pytest.mark.consul, pytest.mark.slow]

CANARY = "canary-c0ffee"
ANSWER = SERVER.replace(
    'os.environ["RECONCILER_VERSION"].encode()',
    'open(os.environ["RECONCILER_SECRETS_DIR"] + "/answer", "rb").read()',
)
REFUSE_WRONG = 'if grep -q wrong "$RECONCILER_SECRETS_DIR/answer"; then echo "refused"; exit 1; fi'


class Fleet:
    """Sync's place is taken by ``apply``; everything else is real."""

    def __init__(self, program: Program, consul: ConsulAgent) -> None:
        self.program = program
        self.consul = consul
        self.store: ConsulStore = consul.store(consul.url)
        program.use(consul.url)
        program.start("scheduler", "--http", "off", "--log-level", "debug")
        program.start("agent", "--address", "127.0.0.1", "--http", "off", "--log-level", "debug")

    def put(self, name: str, value: str) -> None:
        self.store.commit([Put(f"secrets/{name}", f"{CANARY}-{value}".encode())])

    def apply(self, definition: dict[str, Any], name: str = "web") -> None:
        write(
            self.program.folder / "fleet.json",
            manifest(cluster="c", services=[service(name, 1, 3)], definitions=[definition]),
        )
        self.program.ok("apply", "-f", "fleet.json", "--wait")

    def reasons(self) -> str:
        rows = json.loads(self.program.run("status", "--format", "json").stdout)["services"]
        return "\n".join(reason for row in rows for reason in row["reasons"])

    def is_settled(self) -> bool:
        return self.program.run("status").returncode == 0

    def assert_nobody_saw_it(self) -> None:
        """Neither stored, logged, shown, nor in an argument of any process."""
        for prefix in ("config/", "state/", "schedulers/"):
            for entry in self.store.list(prefix).entries:
                assert CANARY.encode() not in entry.value, entry.key
        for daemon in self.program.daemons:
            assert CANARY not in daemon.output()
        for command in ("tasks", "status", "events"):
            assert CANARY not in self.program.run(command, "--format", "json").stdout
        for process in psutil.process_iter(["cmdline"]):
            assert CANARY not in " ".join(process.info["cmdline"] or ())
        for path in (self.program.folder / "run").rglob("*"):
            assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


@pytest.fixture
def fleet(program: Program, start_consul: StartConsul) -> Fleet:
    return Fleet(program, start_consul())


def test_a_changed_secret_of_processes_rolls_and_a_wrong_one_stops_where_it_is(fleet: Fleet) -> None:
    fleet.put("web/answer", "one")
    definition = bash_definition("web")
    definition["containers"][0]["executor"] = {
        "start": [REFUSE_WRONG, ANSWER],
        "secrets": [{"name": "answer", "kv": "web/answer"}],
    }
    fleet.apply(definition)
    with Client(fleet.consul, "c-web") as client:
        wait_until(lambda: client.answers[f"{CANARY}-one"], what="answers")
        fleet.put("web/answer", "wrong")
        wait_until(lambda: "refused" in fleet.reasons() or "exit" in fleet.reasons(), what="a task refuses the value")
        assert "3 of its tasks are outdated: secret answer (kv web/answer) changed" in fleet.reasons()
        assert not fleet.is_settled()
        fleet.put("web/answer", "two")
        wait_until(fleet.is_settled, timeout_s=90, what="all have the new value")
    assert client.failures == []
    assert client.fewest == 3, "never fewer than min are healthy"
    assert set(client.answers) == {f"{CANARY}-one", f"{CANARY}-two"}
    assert len(fleet.program.healthy("web", 3)) == 3
    fleet.assert_nobody_saw_it()


@pytest.mark.docker
def test_a_changed_variable_and_secret_of_containers_roll(fleet: Fleet, docker_engine: DockerEngine) -> None:
    fleet.put("web/version", "one")
    definition = docker_definition("web", docker_engine.image("0"), container_port=80)
    definition["containers"][0]["executor"] |= {
        "env_from": [{"name": "VERSION", "kv": "web/version"}],
        "secrets": [{"name": "version", "kv": "web/version"}],
    }
    fleet.apply(definition)
    with Client(fleet.consul, "c-web") as client:
        wait_until(lambda: client.answers[f"{CANARY}-one"], what="answers")
        fleet.put("web/version", "two")
        wait_until(lambda: client.answers[f"{CANARY}-two"], timeout_s=60, what="answers with the new value")
        wait_until(fleet.is_settled, timeout_s=90, what="all have the new value")
    assert client.failures == []
    assert client.fewest == 3, "never fewer than min are healthy"

    def running() -> list[str]:
        found = [each["Id"] for each in docker_engine.containers() if each["State"] == "running"]
        return found if len(found) == 3 else []

    for container in wait_until(running, what="the old ones are gone"):
        asked = docker_engine.client.exec_create(container, ["cat", "/run/secrets/version"])
        assert docker_engine.client.exec_start(asked["Id"]).decode() == f"{CANARY}-two"
    fleet.assert_nobody_saw_it()
