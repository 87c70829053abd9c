"""What is special to docker, on a real engine; what all executors share is in ``tests/executor_contract``."""

import contextlib
import gc
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reconciler.errors import ExecutorError
from reconciler.executors import docker_config
from reconciler.executors.docker import Docker
from reconciler.executors.docker_engine import Engine
from reconciler.executors.host_ports import require_free
from reconciler.executors.interface import Keep, Observed, Owner, Ref, Spec
from reconciler.executors.naming import instance_name
from reconciler.model.manifests import BashContainer, BashExecutor, DockerContainer, DockerExecutor
from reconciler.model.ports import HostPort, Publication
from tests.support.docker import LABEL, DockerEngine, root_filesystem
from tests.support.ports import port_block
from tests.support.registry import Registry
from tests.support.wait import wait_until
from tests.unit.executors.engine_door import EngineDoor

pytestmark = pytest.mark.docker

PORTS = iter(range(port_block()[1], port_block()[0], -1))
SLEEP = ("sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done")


class Host:
    """A host's docker executor."""

    def __init__(self, engine: DockerEngine, base_url: str | None = None) -> None:
        self.engine = engine
        self.image = engine.image("1", port=8080)
        self.owner = Owner(uuid.uuid4().hex, "machine")
        self.executor = Docker(self.owner, base_url=base_url)

    def spec(
        self, *, setup: tuple[str, ...] = (), environment: dict[str, str] | None = None, address: str = "127.0.0.1",
        port: int = 0, publications: tuple[Publication, ...] = (), memory: int = 0, cpu_units: int = 0,
        attempt: int = 1, **fields: Any,
    ) -> Spec:  # fmt: skip
        executor = DockerExecutor(**{"image": self.image, **fields})
        return Spec(
            ref=Ref("c-web-1-0", 1, "main"),
            container=DockerContainer(name="main", executor=executor, setup=setup),
            digest="digest",
            attempt=attempt,
            environment={"PORT": str(port), **(environment or {})},
            address=address,
            port=port,
            publications=publications,
            memory=memory,
            cpu_units=cpu_units,
        )

    @property
    def name(self) -> str:
        return instance_name(self.owner, Ref("c-web-1-0", 1, "main"))

    def start(self, **parts: Any) -> dict[str, Any]:
        """Start it; returns what the engine shows of it."""
        self.executor.start(self.spec(**parts))
        return self.inspect()

    def inspect(self) -> dict[str, Any]:
        return dict(self.engine.client.inspect_container(self.name))

    def seen(self) -> Observed | None:
        found = [each for each in self.executor.observe() if each.owner == self.owner]
        return found[0] if found else None

    def ended(self) -> Observed:
        def look() -> Observed | None:
            seen = self.seen()
            return seen if seen and not seen.running else None

        seen = wait_until(look, what="it has ended")
        assert seen is not None
        return seen

    def close(self) -> None:
        self.executor.close()
        for container in self.engine.containers():
            self.engine.client.remove_container(container["Id"], v=True, force=True)


@pytest.fixture
def host(docker_engine: DockerEngine) -> Iterator[Host]:
    host = Host(docker_engine)
    yield host
    host.close()


def free_port() -> int:
    """A port of this process's block that really nobody has, as some demo on this machine might."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port
    raise AssertionError("no free port is left")


def answer(address: str, port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/", timeout=5) as response:
            return str(response.read().decode().strip())
    except OSError:
        return ""


def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


def test_the_port_is_published_on_the_hosts_address_and_on_loopback(host: Host) -> None:
    address, port = own_address(), free_port()
    shown = host.start(address=address, port=port, container_port=8080)
    bindings = shown["HostConfig"]["PortBindings"]["8080/tcp"]
    assert [binding["HostIp"] for binding in bindings] == [address, "127.0.0.1"]
    for each in (address, "127.0.0.1"):
        assert wait_until(lambda each=each: answer(each, port), what=f"an answer on {each}") == "1"


def test_named_ports_lead_to_theirs_inside(host: Host) -> None:
    web, dns = free_port(), free_port()
    shown = host.start(
        publications=(Publication(HostPort(web), 8080), Publication(HostPort(dns, "udp"), 53)), container_port=80
    )
    assert wait_until(lambda: answer("127.0.0.1", web), what="an answer") == "1"
    bindings = {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(web)}]} | {
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": str(dns)}]
    }
    assert shown["HostConfig"]["PortBindings"] == bindings
    with pytest.raises(ExecutorError, match=f"port {web} is taken by container {host.name}$"):
        require_free(HostPort(web), host.executor.publisher)
    with pytest.raises(ExecutorError, match=f"udp port {dns} is taken by container {host.name}$"):
        require_free(HostPort(dns, "udp"), host.executor.publisher)


def test_an_address_that_the_host_does_not_have_leaves_all_interfaces(host: Host) -> None:
    port = free_port()
    shown = host.start(address="203.0.113.77", port=port, container_port=8080)
    assert [binding["HostIp"] for binding in shown["HostConfig"]["PortBindings"]["8080/tcp"]] == [""]
    assert wait_until(lambda: answer("127.0.0.1", port), what="an answer") == "1"


def test_inside_port_is_where_to_listen_and_a_definitions_own_port_stays(host: Host) -> None:
    port = free_port()
    environment = {"RECONCILER_PORT": str(port)}
    shown = host.start(port=port, container_port=8080, environment=environment)
    assert {"PORT=8080", f"RECONCILER_PORT={port}"} <= set(shown["Config"]["Env"])
    shown = host.start(port=port, container_port=8080, environment={"PORT": "99"}, attempt=2)
    assert "PORT=99" in shown["Config"]["Env"]


def test_in_the_hosts_network_nothing_is_mapped(host: Host) -> None:
    port = free_port()
    shown = host.start(
        port=port, container_port=8080, ports=("5000:5000",), flags=("--net=host",), environment={"LISTEN": str(port)}
    )
    assert not shown["HostConfig"]["PortBindings"]
    assert f"PORT={port}" in shown["Config"]["Env"]
    assert wait_until(lambda: answer("127.0.0.1", port), what="an answer") == "1"


def test_every_field_of_the_definition_is_carried_out(host: Host, tmp_path: Path) -> None:
    extra = free_port()
    shown = host.start(
        cmd=("-c", "pwd; echo $A; cat /host/file; exec /serve"),
        entry="/bin/sh -e",
        ports=(f"127.0.0.1:{extra}:9000",),
        environment={"A": "one", "RECONCILER_CLUSTER": "c", "RECONCILER_SERVICE": "web", "RECONCILER_VERSION": "1"},
        work_dir="/tmp",
        volumes=(f"{tmp_path}:/host:ro", "/anonymous"),
        name="the-manifests-name",
        setup=(f"echo from setup >{tmp_path}/file",),
        memory=64,
        cpu_units=512,
    )
    config, host_config = shown["Config"], shown["HostConfig"]
    assert config["Entrypoint"] == ["/bin/sh", "-e"]
    assert host_config["Memory"] == 64 * 1024 * 1024
    assert host_config["CpuShares"] == 512
    assert host_config["RestartPolicy"]["Name"] == "no"
    assert host_config["PortBindings"]["9000/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(extra)}]
    assert "the-manifests-name" not in shown["Name"]
    labels = {name: value for name, value in config["Labels"].items() if name.startswith("reconciler.")}
    assert labels == {
        "reconciler.store": host.owner.store_id, "reconciler.machine": "machine", "reconciler.task": "c-web-1-0",
        "reconciler.issue": "1", "reconciler.container": "main", "reconciler.digest": "digest",
        "reconciler.attempt": "1", "reconciler.cluster": "c", "reconciler.service": "web", "reconciler.version": "1",
        LABEL: labels[LABEL],
    }  # fmt: skip
    ref = Ref("c-web-1-0", 1, "main")
    wait_until(lambda: host.executor.logs(ref, 9) == b"/tmp\none\nfrom setup\n", what="all of its output")


def test_what_a_flag_says_goes_before_the_field(host: Host) -> None:
    shown = host.start(
        memory=64, work_dir="/tmp", entry="/serve", environment={"A": "of the task"},
        flags=("--memory=128m", "--workdir=/www", "--env=A=of a flag", "--env=B=2", "--label=team=web"),
    )  # fmt: skip
    assert shown["HostConfig"]["Memory"] == 128 * 1024 * 1024
    assert shown["Config"]["WorkingDir"] == "/www"
    # but the task's environment is the agent's and the definition's
    assert {"A=of the task", "B=2"} <= set(shown["Config"]["Env"])
    assert shown["Config"]["Labels"]["team"] == "web"


def test_a_definition_that_docker_cannot_carry_out_is_refused_before_its_setup_runs(host: Host, tmp_path: Path) -> None:
    note = tmp_path / "note"
    with pytest.raises(ExecutorError, match="--rm can't be used") as caught:
        host.executor.start(host.spec(flags=("--rm", "--nonsense"), setup=(f"touch {note}",)))
    assert caught.value.permanent
    assert "--nonsense is not a flag" in caught.value.message
    assert not note.exists()
    bash = BashContainer(name="main", executor=BashExecutor(start=("true",)))
    with pytest.raises(ExecutorError, match="type bash"):
        host.executor.start(msgspec.structs.replace(host.spec(), container=bash))


def test_removing_takes_anonymous_volumes_along(host: Host) -> None:
    shown = host.start(volumes=("/data",), cmd=SLEEP)
    (volume,) = [mount["Name"] for mount in shown["Mounts"]]
    ref = Ref("c-web-1-0", 1, "main")
    host.executor.stop(ref, None, 10)
    host.executor.remove(ref)
    names = [each["Name"] for each in host.engine.client.volumes()["Volumes"] or []]
    assert volume not in names


def test_calls_about_many_containers_share_their_connections(docker_engine: DockerEngine) -> None:
    with contextlib.closing(Engine()) as engine:
        engine.inspect("no-such-container")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(30):
            engine.inspect(f"no-such-container-{number}")
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_a_container_that_was_made_but_never_started_is_seen_as_ended_and_done_again(host: Host) -> None:
    request = docker_config.request(host.spec(cmd=SLEEP), host.owner, ())
    engine = Engine()
    engine.create(host.name, request.body(), "")
    engine.close()
    seen = host.seen()
    assert seen is not None
    assert (seen.running, seen.exit_code, seen.reason) == (False, None, "its start was cut off")
    host.start(cmd=SLEEP)
    seen = host.seen()
    assert seen is not None
    assert seen.running


def test_the_port_of_another_is_named_and_may_be_free_later(host: Host) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(ExecutorError, match=f"port is taken.*{port}") as caught:
            host.start(port=port, container_port=8080)
        assert not caught.value.permanent
        assert host.seen() is None
    host.start(port=port, container_port=8080)


def test_the_port_of_another_container_is_named_with_it(host: Host) -> None:
    """As with an engine that redirects ports without listening on them, so that nobody sees it before."""
    port = free_port()
    host.start(port=port, container_port=8080)
    spec = host.spec(port=port, container_port=8080)
    other = msgspec.structs.replace(spec, ref=Ref("c-web-1-1", 1, "main"))
    with pytest.raises(ExecutorError, match=f"^port {port} is taken by container {host.name}$") as caught:
        host.executor.start(other)
    assert caught.value.permanent


def test_running_out_of_its_memory_is_the_reason(host: Host) -> None:
    host.start(
        memory=16, flags=("--memory-swap=16m",), cmd=("sh", "-c", "sleep 0.2; dd if=/dev/zero of=/dev/null bs=64M")
    )
    ended = host.ended()
    assert ended.exit_code == 137
    assert "memory" in ended.reason


def test_a_frozen_container_is_stopped_too(host: Host) -> None:
    host.start(cmd=SLEEP)
    host.engine.client.pause(host.name)
    seen = host.seen()
    assert seen is not None
    assert seen.running
    host.executor.stop(Ref("c-web-1-0", 1, "main"), None, 10)
    assert not host.ended().running


def test_the_images_stop_signal_and_a_flags_stop_timeout_hold(host: Host) -> None:
    script = "trap 'sleep 2; exit 5' USR1; trap '' TERM; echo ready; while :; do sleep 0.1; done"
    host.start(cmd=("sh", "-c", script), flags=("--stop-signal=SIGUSR1", "--stop-timeout=20"))
    ref = Ref("c-web-1-0", 1, "main")
    wait_until(lambda: host.executor.logs(ref, 1) == b"ready\n", what="it is ready")
    host.executor.stop(ref, None, 0)
    assert host.ended().exit_code == 5


def test_what_must_be_gone_in_time_gets_no_more_of_it_by_a_flag(host: Host) -> None:
    script = "trap 'sleep 3; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    host.start(cmd=("sh", "-c", script), flags=("--stop-timeout=20",))
    ref = Ref("c-web-1-0", 1, "main")
    wait_until(lambda: host.executor.logs(ref, 1) == b"ready\n", what="it is ready")
    host.executor.stop(ref, None, 1, strict=True)
    assert host.ended().exit_code == 137


def test_a_seccomp_profile_is_read_from_its_file(host: Host, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}))
    shown = host.start(cmd=SLEEP, flags=(f"--security-opt=seccomp={profile}",))
    assert shown["HostConfig"]["SecurityOpt"] == ['seccomp={"defaultAction": "SCMP_ACT_ALLOW"}']
    with pytest.raises(ExecutorError, match="can't be read"):
        host.start(flags=("--security-opt=seccomp=/no/such/file",), attempt=2)


def test_somebody_elses_container_of_that_name_is_left_alone(host: Host) -> None:
    host.engine.client.create_container(host.image, name=host.name)
    with pytest.raises(ExecutorError, match="not the agent's"):
        host.start()
    assert host.inspect()["State"]["Status"] == "created"
    assert host.seen() is None


# Pulling


def test_a_missing_image_is_pulled(host: Host, registry: Registry) -> None:
    config = {"Cmd": ["/serve"], "Labels": {LABEL: host.engine.run_id}}
    image = registry.push("web", root_filesystem(), config)
    host.executor.prepare(host.spec(image=image))
    host.engine.client.inspect_image(image)
    registry.refuse_with = 500
    host.start(image=image)
    # and a start pulls it itself, should it have been pruned meanwhile
    host.executor.stop(Ref("c-web-1-0", 1, "main"), None, 0)
    host.executor.remove(Ref("c-web-1-0", 1, "main"))
    host.engine.client.remove_image(image, force=True)
    registry.refuse_with = 0
    host.start(image=image, attempt=2)


@pytest.mark.parametrize(
    ("refuse_with", "why", "permanent"),
    [
        (0, "there is no such image", True),
        (401, "refuses", True),
        (403, "refuses", True),
        (503, "can't be pulled", False),
    ],
)
def test_why_an_image_cannot_be_pulled_is_told(
    host: Host, registry: Registry, refuse_with: int, why: str, permanent: bool
) -> None:
    registry.refuse_with = refuse_with
    image = f"{registry.host}/nothing:1"
    with pytest.raises(ExecutorError, match=why) as caught:
        host.executor.prepare(host.spec(image=image))
    assert image in caught.value.message
    assert caught.value.permanent is permanent


def test_a_registry_that_is_not_there_is_tried_again_later(host: Host) -> None:
    with pytest.raises(ExecutorError, match="can't be reached") as caught:
        host.start(image="127.0.0.1:1/web:1")
    assert not caught.value.permanent
    assert host.seen() is None


@pytest.mark.parametrize("image", ["UPPER/case:1", "web:bad tag"])
def test_an_impossible_name_of_an_image_is_permanent(host: Host, image: str) -> None:
    with pytest.raises(ExecutorError) as caught:
        host.executor.prepare(host.spec(image=image))
    assert caught.value.permanent


# An engine that comes and goes


@pytest.fixture
def door() -> Iterator[EngineDoor]:
    folder = Path("/tmp") / f"door-{uuid.uuid4().hex[:8]}"  # a socket's path is short
    folder.mkdir()
    door = EngineDoor(folder / "s")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)  # the SDK's, at each broken connection
        yield door
        door.shut()
        gc.collect()
    shutil.rmtree(folder)


def test_an_engine_that_is_away_is_told_and_found_again(docker_engine: DockerEngine, door: EngineDoor) -> None:
    host = Host(docker_engine, door.url)
    ref = Ref("c-web-1-0", 1, "main")
    try:
        door.shut()
        assert "no Docker engine answers" in (host.executor.unavailable() or "")
        for call in (host.executor.observe, lambda: host.start(cmd=SLEEP), lambda: host.executor.stop(ref, None, 1)):
            with pytest.raises(ExecutorError) as caught:
                call()
            assert not caught.value.permanent
        door.open()
        assert host.executor.unavailable() is None
        host.start(cmd=SLEEP)
        door.shut()
        with pytest.raises(ExecutorError):
            host.executor.observe()
        door.open()
        seen = host.seen()
        assert seen is not None
        assert seen.running
    finally:
        host.close()


def test_what_happened_while_the_engine_was_away_is_news(docker_engine: DockerEngine, door: EngineDoor) -> None:
    host = Host(docker_engine, door.url)
    try:
        host.start(cmd=SLEEP)
        wait_until(lambda: not host.executor.wait(0.5), what="no more news")
        door.shut()
        docker_engine.client.kill(host.name)
        door.open()
        assert host.executor.wait(30)
        assert not host.ended().running
    finally:
        host.close()


def test_deaths_are_news_without_a_stream_of_events_too(docker_engine: DockerEngine, door: EngineDoor) -> None:
    door.hides_events = True
    host = Host(docker_engine, door.url)
    try:
        host.start(cmd=SLEEP)
        wait_until(lambda: not host.executor.wait(3), what="no more news")
        docker_engine.client.kill(host.name)
        assert host.executor.wait(30)
        assert not host.ended().running
    finally:
        host.close()


def test_with_the_news_of_a_death_comes_the_sight_of_it(host: Host) -> None:
    assert host.executor.wait(30), "it says when it begins to listen"
    for attempt in range(1, 11):
        host.start(cmd=SLEEP, attempt=attempt)
        host.executor.observe()
        wait_until(lambda: not host.executor.wait(0.3), what="no more news")
        host.engine.client.kill(host.name)
        assert host.executor.wait(30)
        seen = host.seen()
        assert seen is not None
        assert (seen.running, seen.attempt) == (False, attempt)


def test_what_others_do_on_the_engine_is_no_news(docker_engine: DockerEngine) -> None:
    host, other = Host(docker_engine), Host(docker_engine)
    try:
        assert host.executor.wait(30), "it says when it begins to listen"
        wait_until(lambda: not host.executor.wait(0.5), what="no more news")
        other.start(cmd=SLEEP)
        assert not host.executor.wait(1)
    finally:
        host.close()
        other.close()


def test_closing_ends_a_wait(docker_engine: DockerEngine) -> None:
    host = Host(docker_engine)
    wait_until(lambda: not host.executor.wait(0.5), what="no more news")
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(host.executor.wait(60)))
    waiter.start()
    host.close()
    waiter.join(20)
    assert answers == [False]


def test_folders_of_setups_that_were_cut_off_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, young, other = (tmp_path / name for name in ("reconciler-setup-a", "reconciler-setup-b", "of-somebody"))
    for folder, age_s in ((old, 2 * 86_400), (young, 60), (other, 2 * 86_400)):
        folder.mkdir()
        os.utime(folder, (time.time() - age_s,) * 2)
    assert Docker(Owner("store", "machine")).sweep(Keep(), []).count == 1
    assert sorted(tmp_path.iterdir()) == sorted([young, other])
