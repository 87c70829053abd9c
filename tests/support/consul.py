"""Real Consul agents for tests, each on free ports of a loopback address, in a folder of its own, ended by its pid.

``consul`` is one dev agent for all tests of a process: give each test a root of its own in it. ``start_consul`` makes
further ones (with ACLs, with a data folder that survives a restart), ``consul_cluster`` three servers.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import urllib3

from reconciler.store.connect import open_store
from reconciler.store.consul import ConsulStore
from tests.support.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
FETCHED = ROOT / ".cache/consul/consul"
START_S = 30.0
DIE_WITH_PARENT = """
import ctypes, os, signal, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl:
    prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: a test run that is killed leaves no agents behind
os.execv(sys.argv[1], sys.argv[1:])
"""


def consul_binary() -> Path:
    """The Consul to test with; skips the test when there is none, fails it in CI."""
    named = os.environ.get("CONSUL_BIN")
    path = Path(named) if named else FETCHED
    if path.is_file() and os.access(path, os.X_OK):
        return path
    reason = f"no Consul at {path}: run scripts/get-consul, or name one with CONSUL_BIN"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def free_ports(address: str, count: int) -> list[int]:
    """Ports that are free for TCP and UDP just now."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            tcp.bind((address, 0))
            port = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind((address, port))
                ports.append(port)
        return ports


class ConsulAgent:
    """One ``consul agent`` process. ``restart`` keeps its ports, and its data if it has a data folder."""

    def __init__(
        self,
        folder: Path,
        *,
        address: str = "127.0.0.1",
        node: str = "node-1",
        is_dev: bool = True,
        config: Mapping[str, Any] | None = None,
        arguments: Sequence[str] = (),
        token: str | None = None,
    ) -> None:
        self.folder = folder
        self.address = address
        self.node = node
        self.token = token
        self.http_port, self.server_port, self.serf_port, self.dns_port = free_ports(address, 4)
        self.log = folder / "consul.log"
        self._arguments = [*(["-dev"] if is_dev else [f"-data-dir={folder / 'data'}"]), *arguments]
        self._config = dict(config or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def hostport(self) -> str:
        """What ``CONSUL_HTTP_ADDR`` takes."""
        return f"{self.address}:{self.http_port}"

    @property
    def url(self) -> str:
        """The store at the root of its key space."""
        return f"consul://{self.hostport}"

    def new_url(self) -> str:
        """A store with a root that nobody else uses."""
        return f"{self.url}/test-{uuid.uuid4().hex[:12]}"

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {"CONSUL_HTTP_ADDR": self.hostport} | ({"CONSUL_HTTP_TOKEN": self.token} if self.token else {})

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def store(self, url: str | None = None, *, token: str | None = None) -> ConsulStore:
        """A store on it, by default with a root that nobody else uses; the caller closes it."""
        token = token or self.token
        store = open_store(url or self.new_url(), environ={"CONSUL_HTTP_TOKEN": token} if token else {})
        assert isinstance(store, ConsulStore)
        return store

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """A call to its HTTP API past all our code; the decoded answer."""
        token = token or self.token
        headers = {"X-Consul-Token": token} if token else {}
        raw = None if body is None else json.dumps(body).encode()
        url = f"http://{self.hostport}/v1/{path}"
        answer = urllib3.request(method, url, body=raw, headers=headers, timeout=20, retries=False)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.data.decode()}"
        return json.loads(answer.data) if answer.data else None

    def launch(self) -> None:
        """Start the process; returns at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {
            "ports": {
                "http": self.http_port,
                "server": self.server_port,
                "serf_lan": self.serf_port,
                "dns": self.dns_port,
                "serf_wan": -1,
                "grpc": -1,
            },
            "node_name": self.node,
            "bind_addr": self.address,
            "client_addr": self.address,
            "disable_host_node_id": True,
            "disable_update_check": True,
            "leave_on_terminate": False,
            "skip_leave_on_interrupt": True,
            "performance": {"raft_multiplier": 1},
            "limits": {"http_max_conns_per_client": 2000},
            "log_level": "info",
        }
        for name, value in self._config.items():
            config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
        path = self.folder / "config.json"
        path.write_text(json.dumps(config))
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", DIE_WITH_PARENT, consul_binary(), "agent", *self._arguments,
                 f"-config-file={path}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            )  # fmt: skip

    def start(self) -> None:
        """Start it and wait until it has a leader; other ports are taken when somebody was faster."""
        for attempt in (1, 2, 3):
            self.launch()
            if wait_until(self._is_ready_or_over, timeout_s=START_S, what=f"Consul to start\n{self.tail()}") == "ready":
                return
            if attempt == 3 or "address already in use" not in self.tail():
                pytest.fail(f"Consul ended with {self._process and self._process.returncode}:\n{self.tail()}")
            self.http_port, self.server_port, self.serf_port, self.dns_port = free_ports(self.address, 4)

    def wait_leader(self, timeout_s: float = START_S) -> None:
        """Wait until it takes writes."""
        wait_until(self._has_leader, timeout_s=timeout_s, what=f"a leader\n{self.tail()}")

    def stop(self) -> None:
        """SIGTERM (it does not leave the cluster), and wait for the end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: connections are taken and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start on the same ports. Without a data folder everything is forgotten."""
        self.stop()
        self.launch()
        self.wait_leader()

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)

    def _is_ready_or_over(self) -> str | None:
        if self._process is None or self._process.poll() is not None:
            return "over"
        return "ready" if self._has_leader() else None

    def _has_leader(self) -> bool:
        """A leader is elected, and the node is in the catalog with its health check (sessions need it)."""
        try:
            return bool(self.call("GET", "status/leader")) and any(
                check["CheckID"] == "serfHealth" for check in self.call("GET", f"health/node/{self.node}")
            )
        except (urllib3.exceptions.HTTPError, AssertionError):
            return False


class StartConsul(Protocol):
    """Starts a further agent; see ``ConsulAgent`` for the arguments."""

    def __call__(self, *, is_dev: bool = True, config: Mapping[str, Any] | None = None) -> ConsulAgent: ...


@pytest.fixture(scope="session")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Generator[ConsulAgent]:
    """A dev agent that all tests of this process share."""
    consul_binary()
    agent = ConsulAgent(tmp_path_factory.mktemp("consul"))
    try:
        agent.start()
        yield agent
    finally:
        agent.stop()


@pytest.fixture
def start_consul(tmp_path: Path) -> Generator[StartConsul]:
    """Starts agents for one test: ``start_consul()``, or ``start_consul(is_dev=False)`` to survive restarts."""
    consul_binary()
    agents: list[ConsulAgent] = []

    def start(*, is_dev: bool = True, config: Mapping[str, Any] | None = None) -> ConsulAgent:
        arguments = () if is_dev else ("-server", "-bootstrap-expect=1")
        folder = tmp_path / f"consul-{len(agents) + 1}"
        agent = ConsulAgent(folder, is_dev=is_dev, config=config, arguments=arguments)
        agents.append(agent)
        agent.start()
        return agent

    yield start
    for agent in agents:
        agent.stop()


class StartCluster(Protocol):
    """Starts three servers that know each other and have a leader."""

    def __call__(self, *, config: Mapping[str, Any] | None = None) -> list[ConsulAgent]: ...


@contextlib.contextmanager
def consul_servers(folder: Path, config: Mapping[str, Any] | None = None) -> Generator[list[ConsulAgent]]:
    """Three servers with a leader, on loopback addresses of their own."""
    # every process has a subnet of its own, so that three addresses share the ports
    subnet = f"127.{1 + os.getpid() % 200}.{1 + os.getpid() // 200 % 250}"
    addresses = [f"{subnet}.{number}" for number in (11, 12, 13)]
    server_port, serf_port = free_ports(addresses[0], 2)
    join = [f"-retry-join={address}:{serf_port}" for address in addresses]
    agents: list[ConsulAgent] = []
    try:
        for number, address in enumerate(addresses, 1):
            agent = ConsulAgent(
                folder / f"server-{number}",
                address=address,
                node=f"server-{number}",
                is_dev=False,
                config=config,
                arguments=["-server", "-bootstrap-expect=3", "-retry-interval=1s", *join],
            )
            agent.server_port, agent.serf_port = server_port, serf_port
            agents.append(agent)
            agent.launch()
        for agent in agents:
            agent.wait_leader(60)
        yield agents
    finally:
        for agent in agents:
            agent.stop()


@pytest.fixture
def start_consul_cluster(tmp_path: Path) -> Generator[StartCluster]:
    """Starts three servers for one test."""
    consul_binary()
    with contextlib.ExitStack() as stack:
        yield lambda *, config=None: stack.enter_context(consul_servers(tmp_path, config))


@pytest.fixture
def consul_cluster(start_consul_cluster: StartCluster) -> list[ConsulAgent]:
    """Three servers with a leader."""
    return start_consul_cluster()


POLICIES = ROOT / "examples/deploy/consul-acl"
MANAGEMENT_TOKEN = str(uuid.UUID(int=0x5EC0DE))


@pytest.fixture(scope="session")
def consul_acl(tmp_path_factory: pytest.TempPathFactory) -> Generator[ConsulAgent]:
    """A dev agent with ACLs, default deny; its own ``token`` may do everything."""
    consul_binary()
    acl = {"enabled": True, "default_policy": "deny", "tokens": {"master": MANAGEMENT_TOKEN, "agent": MANAGEMENT_TOKEN}}
    agent = ConsulAgent(tmp_path_factory.mktemp("consul-acl"), config={"acl": acl}, token=MANAGEMENT_TOKEN)
    try:
        agent.start()
        yield agent
    finally:
        agent.stop()


class Roles:
    """One root in a Consul with ACLs, and a token for each role that has a policy in ``examples/deploy/consul-acl``."""

    def __init__(self, agent: ConsulAgent) -> None:
        self.agent = agent
        self.url = agent.new_url()
        self._root = self.url.rpartition("/")[2]
        self._tokens: dict[str, str] = {}

    def token(self, role: str) -> str:
        """The token of ``sync``, ``scheduler``, ``agent``, ``operator`` or ``reader``."""
        if role not in self._tokens:
            # what the README there tells whoever uses a prefix
            rules = re.sub(
                r'^(key(_prefix)? +")', rf"\1{self._root}/", (POLICIES / f"{role}.hcl").read_text(), flags=re.MULTILINE
            )
            name = f"{self._root}-{role}"
            self.agent.call("PUT", "acl/policy", {"Name": name, "Rules": rules})
            made = self.agent.call("PUT", "acl/token", {"Description": name, "Policies": [{"Name": name}]})
            self._tokens[role] = made["SecretID"]
        return self._tokens[role]

    def store(self, role: str) -> ConsulStore:
        """A store as a role sees it; ``management`` sees everything. The caller closes it."""
        return self.agent.store(self.url, token=MANAGEMENT_TOKEN if role == "management" else self.token(role))


@pytest.fixture
def roles(consul_acl: ConsulAgent) -> Roles:
    """A root of its own for the test, under ACLs."""
    return Roles(consul_acl)
