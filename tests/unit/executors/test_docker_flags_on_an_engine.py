"""Every known flag makes of a container exactly what ``docker run`` makes of it, as ``docker inspect`` shows."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from shutil import which
from typing import Any

import pytest

from reconciler.executors import docker_config
from reconciler.executors.docker_engine import Engine
from reconciler.executors.docker_flags import FLAGS
from reconciler.executors.interface import Owner, Ref, Spec
from reconciler.model.manifests import DockerContainer, DockerExecutor
from tests.support.docker import DockerEngine, unavailable
from tests.support.ports import port_block

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-flags")]

NETWORK = "reconciler-test-flags"
SUBNET, SUBNET6 = "SUBNET", "SIX"

SAMPLES: dict[str, list[list[str]]] = {
    "--add-host": [["--add-host=db:10.0.0.9", "--add-host", "cache:fd00::1"], ["--add-host=here:host-gateway"]],
    "--annotation": [["--annotation=a=b"]],
    "--blkio-weight": [["--blkio-weight=300"]],
    "--blkio-weight-device": [["--blkio-weight-device=/dev/null:300"]],
    "--cap-add": [["--cap-add=NET_ADMIN", "--cap-add=sys_time"], ["--cap-add=ALL"], ["--cap-add=CAP_CHOWN"]],
    "--cap-drop": [["--cap-drop=ALL"], ["--cap-drop", "mknod"]],
    "--cgroup-parent": [["--cgroup-parent=/tasks"]],
    "--cgroupns": [["--cgroupns=host"]],
    "--cpu-period": [["--cpu-period=50000"]],
    "--cpu-quota": [["--cpu-quota=25000"]],
    "--cpu-rt-period": [["--cpu-rt-period=1000000"]],
    "--cpu-rt-runtime": [["--cpu-rt-runtime=1000"]],
    "--cpu-shares": [["--cpu-shares=512"], ["-c", "256"]],
    "--cpus": [["--cpus=1.5"], ["--cpus=.5"]],
    "--cpuset-cpus": [["--cpuset-cpus=0"]],
    "--cpuset-mems": [["--cpuset-mems=0"]],
    "--device": [["--device=/dev/null"], ["--device=/dev/null:/dev/nothing:r"], ["--device", "/dev/zero:rw"]],
    "--device-cgroup-rule": [["--device-cgroup-rule=c 1:3 rwm"]],
    "--device-read-bps": [["--device-read-bps=/dev/null:1mb"]],
    "--device-read-iops": [["--device-read-iops=/dev/null:1000"]],
    "--device-write-bps": [["--device-write-bps=/dev/null:512k"]],
    "--device-write-iops": [["--device-write-iops=/dev/null:500"]],
    "--dns": [["--dns=10.0.0.1", "--dns=10.0.0.2"]],
    "--dns-option": [["--dns-option=ndots:1"], ["--dns-opt=use-vc"]],
    "--dns-search": [["--dns-search=example.org"]],
    "--domainname": [["--domainname=example.org"]],
    "--entrypoint": [["--entrypoint=/bin/sh"]],
    "--env": [["--env=A=1", "-e", "B=two words"], ["-eC=3=4"], ["--env=EMPTY="]],
    "--expose": [["--expose=9000"], ["--expose=7000-7002/udp"]],
    "--gpus": [["--gpus=all"], ["--gpus=2"], ['--gpus="device=0,2",capabilities=utility']],
    "--group-add": [["--group-add=nogroup", "--group-add=4"]],
    "--health-cmd": [["--health-cmd=wget -q -O- http://127.0.0.1 || exit 1"]],
    "--health-interval": [["--health-cmd=true", "--health-interval=5s"]],
    "--health-retries": [["--health-cmd=true", "--health-retries=4"]],
    "--health-start-interval": [["--health-cmd=true", "--health-start-interval=1s"]],
    "--health-start-period": [["--health-cmd=true", "--health-start-period=1m30s"]],
    "--health-timeout": [["--health-cmd=true", "--health-timeout=500ms"]],
    "--hostname": [["--hostname=web"], ["-h", "web2"]],
    "--init": [["--init"], ["--init=true"], ["--init=false"]],
    "--ip": [[f"--network={NETWORK}", f"--ip={SUBNET}.9"]],
    "--ip6": [[f"--network={NETWORK}", f"--ip6={SUBNET6}::9"]],
    "--ipc": [["--ipc=host"], ["--ipc=shareable"]],
    "--label": [["--label=team=web", "-l", "bare"], ["--label=spaced=one two"]],
    "--link-local-ip": [[f"--network={NETWORK}", "--link-local-ip=169.254.34.68"]],
    "--log-driver": [["--log-driver=none"]],
    "--log-opt": [["--log-driver=json-file", "--log-opt=max-size=1m", "--log-opt", "max-file=2"]],
    "--mac-address": [["--mac-address=02:42:ac:11:00:09"]],
    "--memory": [["--memory=64m"], ["-m", "1.5g"], ["-m128MB"]],
    "--memory-reservation": [["--memory-reservation=32m"]],
    "--memory-swap": [["--memory=64m", "--memory-swap=128m"], ["--memory=64m", "--memory-swap", "-1"]],
    "--memory-swappiness": [["--memory-swappiness=10"]],
    "--mount": [
        ["--mount=type=bind,source=/etc,target=/host,readonly"],
        ["--mount=type=bind,src=/etc,dst=/host,ro=true,bind-propagation=rslave"],
        ["--mount=type=tmpfs,destination=/scratch,tmpfs-size=1m,tmpfs-mode=1770"],
        ["--mount=type=volume,target=/data,volume-nocopy,volume-label=a=b"],
        ["--mount", "source=reconciler-test-data,target=/data,volume-driver=local,volume-opt=type=tmpfs"],
    ],
    "--network": [["--network=host"], ["--net=none"], [f"--network={NETWORK}"], ["--net", "bridge"]],
    "--network-alias": [[f"--network={NETWORK}", "--network-alias=web", "--net-alias=www"]],
    "--no-healthcheck": [["--no-healthcheck"]],
    "--oom-kill-disable": [["--memory=64m", "--oom-kill-disable"]],
    "--oom-score-adj": [["--oom-score-adj=-500"], ["--oom-score-adj", "300"]],
    "--pid": [["--pid=host"]],
    "--pids-limit": [["--pids-limit=50"], ["--pids-limit", "-1"]],
    "--platform": [["--platform=linux/amd64"]],
    "--privileged": [["--privileged"]],
    "--publish": [
        ["--publish=18080:80"], ["-p", "127.0.0.1:18081:81/udp"], ["-p18082-18083:82-83"], ["-p=84"],
        ["-p=18090-18095:90"], ["-p=[::1]:18085:85"], ["-p=127.0.0.1::86"],
    ],
    "--publish-all": [["--publish-all"], ["-P"]],
    "--read-only": [["--read-only"]],
    "--runtime": [["--runtime=runc"]],
    "--security-opt": [
        ["--security-opt=no-new-privileges"], ["--security-opt=seccomp=unconfined"],
        ["--security-opt=systempaths=unconfined"], ["--security-opt=label=disable"],
    ],
    "--shm-size": [["--shm-size=32m"]],
    "--stop-signal": [["--stop-signal=SIGINT"]],
    "--stop-timeout": [["--stop-timeout=33"]],
    "--storage-opt": [["--storage-opt=size=1G"]],
    "--sysctl": [["--sysctl=net.core.somaxconn=1024", "--sysctl", "net.ipv4.ip_forward=1"]],
    "--tmpfs": [["--tmpfs=/run:rw,noexec,size=65536k"], ["--tmpfs=/scratch"]],
    "--ulimit": [["--ulimit=nofile=1024:2048"], ["--ulimit", "nproc=64"], ["--ulimit=memlock=-1"]],
    "--user": [["--user=nobody"], ["-u", "1000:1000"]],
    "--userns": [["--userns=host"]],
    "--uts": [["--uts=host"]],
    "--volume": [["--volume=/etc:/host:ro"], ["-v", "reconciler-test-data:/data"], ["-v/anonymous"]],
    "--volume-driver": [["--volume-driver=local"]],
    "--volumes-from": [["--volumes-from=reconciler-test-other:ro"]],
    "--workdir": [["--workdir=/tmp"], ["-w", "/www"]],
}  # fmt: skip

NOT_EVERYWHERE = {
    "--annotation", "--health-start-interval", "--storage-opt", "--cpu-rt-period", "--cpu-rt-runtime", "--cgroupns",
    "--oom-kill-disable", "--memory-swappiness", "--blkio-weight", "--blkio-weight-device", "--ip6", "--mac-address",
}  # fmt: skip
"""What an older engine, its storage or this kernel may not be able to do; then docker run can't either."""

CASES = [(name, flags) for name, samples in SAMPLES.items() for flags in samples]


@pytest.fixture(scope="module")
def bench(docker_engine: DockerEngine) -> Iterator["Bench"]:
    if which("docker") is None:
        unavailable("the docker command is needed to compare with")
    client = docker_engine.client
    name = f"{NETWORK}-{uuid.uuid4().hex[:6]}"
    block = port_block()[0] // 200 % 250  # of this test process alone: several may run beside each other
    subnet, subnet6 = f"10.231.{block}", f"fd00:231:{block}"
    subnets = [{"Subnet": f"{subnet}.0/24"}, {"Subnet": f"{subnet6}::/64"}]
    network = client.create_network(name, driver="bridge", ipam={"Config": subnets}, enable_ipv6=True)
    other = client.create_container(docker_engine.image(), name=f"reconciler-test-other-{uuid.uuid4().hex[:6]}")
    volume = client.create_volume(f"reconciler-test-data-{uuid.uuid4().hex[:6]}")
    engine = Engine()
    names = {
        NETWORK: name,
        SUBNET: subnet,
        SUBNET6: subnet6,
        "reconciler-test-other": other["Id"],
        "reconciler-test-data": volume["Name"],
    }
    try:
        yield Bench(docker_engine, engine, names)
    finally:
        engine.close()
        for container in docker_engine.containers():
            client.remove_container(container["Id"], v=True, force=True)
        client.remove_network(network["Id"])
        client.remove_volume(volume["Name"])


class Bench:
    """Makes containers in both ways and says what the flags changed."""

    def __init__(self, docker_engine: DockerEngine, engine: Engine, names: dict[str, str]) -> None:
        self.image = docker_engine.image()
        self.client = docker_engine.client
        self.engine = engine
        self.names = names
        self._plain_by_docker = self.by_docker([])
        self._plain_by_us = self.by_us([])

    def named(self, flags: list[str]) -> list[str]:
        for placeholder, name in self.names.items():
            flags = [flag.replace(placeholder, name) for flag in flags]
        return flags

    def by_docker(self, flags: list[str]) -> set[str]:
        command = ["docker", "create", *self.named(flags), self.image]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode != 0:
            raise LookupError(made.stderr.strip())
        return self._facts(made.stdout.strip().splitlines()[-1])

    def by_us(self, flags: list[str]) -> set[str]:
        executor = DockerExecutor(image=self.image, flags=tuple(self.named(flags)))
        spec = Spec(
            ref=Ref("flags", 1, "main"),
            container=DockerContainer(name="main", executor=executor),
            digest="d",
            attempt=1,
            environment={},
            address="127.0.0.1",
        )
        request = docker_config.request(spec, Owner("store", "machine"), ())
        name = f"reconciler-test-flags-{uuid.uuid4().hex}"
        self.engine.create(name, request.body(), request.platform)
        return self._facts(name)

    def changed_by_docker(self, flags: list[str]) -> set[str]:
        return self.by_docker(flags) ^ self._plain_by_docker

    def changed_by_us(self, flags: list[str]) -> set[str]:
        return self.by_us(flags) ^ self._plain_by_us

    def _facts(self, name: str) -> set[str]:
        found = self.client.inspect_container(name)
        networks = found["NetworkSettings"]["Networks"]
        self.client.remove_container(found["Id"], v=True)
        parts = {"Config": found["Config"], "HostConfig": found["HostConfig"], "Networks": networks}
        text = json.dumps(parts).replace(found["Id"][:12], "<id>")
        return set(_flat(json.loads(text), ""))


def _flat(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield f"{path}[] {json.dumps(_lean(inner), sort_keys=True)}"
    elif value not in (None, "", 0, False):
        yield f"{path} {json.dumps(value)}"


def _lean(value: Any) -> Any:
    """Without what is empty: one version of docker writes it, another does not."""
    if isinstance(value, dict):
        lean = {key: _lean(inner) for key, inner in value.items()}
        return {key: inner for key, inner in lean.items() if inner not in (None, "", 0, False, {}, [])}
    return value


def test_every_flag_has_a_sample() -> None:
    assert set(SAMPLES) == set(FLAGS)


@pytest.mark.parametrize(("name", "flags"), CASES, ids=[" ".join(flags) for _, flags in CASES])
def test_a_flag_does_what_docker_run_does(bench: Bench, name: str, flags: list[str]) -> None:
    try:
        expected = bench.changed_by_docker(flags)
    except LookupError as error:
        if name not in NOT_EVERYWHERE:
            raise
        pytest.skip(f"docker can't do it here: {error}")
    assert bench.changed_by_us(flags) == expected
