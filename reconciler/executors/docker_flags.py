"""The flags of ``docker run`` that a definition may use, in one table, and what each means to the engine's API.

The docker executor applies them; validation asks ``unsupported`` (which needs no docker) for what is wrong with them.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from reconciler.executors import docker_values as values
from reconciler.executors.docker_request import Request
from reconciler.model import flag_words, publishing

Setter: TypeAlias = Callable[[Request, str], None]
LABEL_PREFIX: Final = "reconciler."


def _one(part: str, key: str, read: Callable[[str], Any] = str) -> Setter:
    """A single value; the last one counts."""

    def put(request: Request, text: str) -> None:
        getattr(request, part)[key] = read(text)

    return put


def _switch(key: str) -> Setter:
    def put(request: Request, text: str) -> None:
        request.host[key] = values.boolean(text)

    return put


def _many(part: str, key: str, read: Callable[[str], Any] = str) -> Setter:
    """A list that each use adds to."""

    def put(request: Request, text: str) -> None:
        getattr(request, part).setdefault(key, []).append(read(text))

    return put


def _map(key: str, read: Callable[[str], tuple[str, str]] = values.pair) -> Setter:
    """A mapping that each use adds to."""

    def put(request: Request, text: str) -> None:
        name, value = read(text)
        request.host.setdefault(key, {})[name] = value

    return put


def _health(key: str, read: Callable[[str], Any]) -> Setter:
    def put(request: Request, text: str) -> None:
        request.config.setdefault("Healthcheck", {})[key] = read(text)

    return put


def _no_health(request: Request, text: str) -> None:
    if values.boolean(text):
        request.config["Healthcheck"] = {"Test": ["NONE"]}


def _address(key: str) -> Setter:
    def put(request: Request, text: str) -> None:
        request.endpoint.setdefault("IPAMConfig", {})[key] = text

    return put


def _link_local(request: Request, text: str) -> None:
    request.endpoint.setdefault("IPAMConfig", {}).setdefault("LinkLocalIPs", []).append(text)


def _network(request: Request, text: str) -> None:
    if "=" in text:
        raise ValueError("write the network's name; --network-alias, --ip and --ip6 say the rest")
    if request.network not in ("", text):
        raise ValueError("a container joins one network")
    request.host["NetworkMode"] = text


def _environment(request: Request, text: str) -> None:
    # Without a value docker would take it from the environment of whoever calls: here the agent's, with its tokens.
    request.config.setdefault("Env", []).append("=".join(values.pair(text)))


def _label(request: Request, text: str) -> None:
    name, _, value = text.partition("=")
    if name.startswith(LABEL_PREFIX):
        raise ValueError(f"labels that begin with {LABEL_PREFIX} are the agent's own")
    request.config.setdefault("Labels", {})[name] = value


def _log_driver(request: Request, text: str) -> None:
    request.host.setdefault("LogConfig", {})["Type"] = text


def _log_option(request: Request, text: str) -> None:
    name, value = values.pair(text)
    request.host.setdefault("LogConfig", {}).setdefault("Config", {})[name] = value


def _expose(request: Request, text: str) -> None:
    for port in values.exposed(text):
        request.config.setdefault("ExposedPorts", {})[port] = {}


def _publish(request: Request, text: str) -> None:
    for inside, binding in publishing.published(text):
        request.publish(inside, binding)


def _volume(request: Request, text: str) -> None:
    request.volume(values.volume(text))


def _security(request: Request, text: str) -> None:
    """As docker's command line does it; a seccomp profile's file is read by the executor, on its host."""
    if text == "systempaths=unconfined":
        request.host.update(MaskedPaths=[], ReadonlyPaths=[])
        return
    name, _, value = text.partition("=")
    if name == "seccomp" and value not in ("unconfined", "builtin") and not value.startswith("/"):
        raise ValueError("write seccomp=unconfined, seccomp=builtin or seccomp=/absolute/path/of/profile.json")
    request.host.setdefault("SecurityOpt", []).append(text)


def _platform(request: Request, text: str) -> None:
    request.platform = text


FLAGS: Final[dict[str, Setter]] = {
    "--add-host": _many("host", "ExtraHosts", values.host_entry),
    "--annotation": _map("Annotations"),
    "--blkio-weight": _one("host", "BlkioWeight", values.integer),
    "--blkio-weight-device": _many("host", "BlkioWeightDevice", values.device_rate(values.integer, "Weight")),
    "--cap-add": _many("host", "CapAdd", values.capability),
    "--cap-drop": _many("host", "CapDrop", values.capability),
    "--cgroup-parent": _one("host", "CgroupParent"),
    "--cgroupns": _one("host", "CgroupnsMode"),
    "--cpu-period": _one("host", "CpuPeriod", values.integer),
    "--cpu-quota": _one("host", "CpuQuota", values.integer),
    "--cpu-rt-period": _one("host", "CpuRealtimePeriod", values.integer),
    "--cpu-rt-runtime": _one("host", "CpuRealtimeRuntime", values.integer),
    "--cpu-shares": _one("host", "CpuShares", values.integer),
    "--cpus": _one("host", "NanoCpus", values.nano_cpus),
    "--cpuset-cpus": _one("host", "CpusetCpus"),
    "--cpuset-mems": _one("host", "CpusetMems"),
    "--device": _many("host", "Devices", values.device),
    "--device-cgroup-rule": _many("host", "DeviceCgroupRules"),
    "--device-read-bps": _many("host", "BlkioDeviceReadBps", values.device_rate(values.size)),
    "--device-read-iops": _many("host", "BlkioDeviceReadIOps", values.device_rate(values.integer)),
    "--device-write-bps": _many("host", "BlkioDeviceWriteBps", values.device_rate(values.size)),
    "--device-write-iops": _many("host", "BlkioDeviceWriteIOps", values.device_rate(values.integer)),
    "--dns": _many("host", "Dns"),
    "--dns-option": _many("host", "DnsOptions"),
    "--dns-search": _many("host", "DnsSearch"),
    "--domainname": _one("config", "Domainname"),
    "--entrypoint": _one("config", "Entrypoint", lambda text: [text]),
    "--env": _environment,
    "--expose": _expose,
    "--gpus": _many("host", "DeviceRequests", values.gpus),
    "--group-add": _many("host", "GroupAdd"),
    "--health-cmd": _health("Test", lambda text: ["CMD-SHELL", text]),
    "--health-interval": _health("Interval", values.nanoseconds),
    "--health-retries": _health("Retries", values.integer),
    "--health-start-interval": _health("StartInterval", values.nanoseconds),
    "--health-start-period": _health("StartPeriod", values.nanoseconds),
    "--health-timeout": _health("Timeout", values.nanoseconds),
    "--hostname": _one("config", "Hostname"),
    "--init": _switch("Init"),
    "--ip": _address("IPv4Address"),
    "--ip6": _address("IPv6Address"),
    "--ipc": _one("host", "IpcMode"),
    "--label": _label,
    "--link-local-ip": _link_local,
    "--log-driver": _log_driver,
    "--log-opt": _log_option,
    "--mac-address": _one("config", "MacAddress"),
    "--memory": _one("host", "Memory", values.size),
    "--memory-reservation": _one("host", "MemoryReservation", values.size),
    "--memory-swap": _one("host", "MemorySwap", values.size_or_unlimited),
    "--memory-swappiness": _one("host", "MemorySwappiness", values.integer),
    "--mount": _many("host", "Mounts", values.mount),
    "--network": _network,
    "--network-alias": _many("endpoint", "Aliases"),
    "--no-healthcheck": _no_health,
    "--oom-kill-disable": _switch("OomKillDisable"),
    "--oom-score-adj": _one("host", "OomScoreAdj", values.integer),
    "--pid": _one("host", "PidMode"),
    "--pids-limit": _one("host", "PidsLimit", values.integer),
    "--platform": _platform,
    "--privileged": _switch("Privileged"),
    "--publish": _publish,
    "--publish-all": _switch("PublishAllPorts"),
    "--read-only": _switch("ReadonlyRootfs"),
    "--runtime": _one("host", "Runtime"),
    "--security-opt": _security,
    "--shm-size": _one("host", "ShmSize", values.size),
    "--stop-signal": _one("config", "StopSignal"),
    "--stop-timeout": _one("config", "StopTimeout", values.integer),
    "--storage-opt": _map("StorageOpt"),
    "--sysctl": _map("Sysctls"),
    "--tmpfs": _map("Tmpfs", values.tmpfs),
    "--ulimit": _many("host", "Ulimits", values.ulimit),
    "--user": _one("config", "User"),
    "--userns": _one("host", "UsernsMode"),
    "--uts": _one("host", "UTSMode"),
    "--volume": _volume,
    "--volume-driver": _one("host", "VolumeDriver"),
    "--volumes-from": _many("host", "VolumesFrom"),
    "--workdir": _one("config", "WorkingDir"),
}

REFUSED: Final = {
    "--attach": "the agent attaches to nothing",
    "--cidfile": "the agent finds its containers by their labels",
    "--detach": "the agent starts every container in the background",
    "--detach-keys": "the agent attaches to nothing",
    "--env-file": "there is no such file where the agent runs; use env",
    "--interactive": "nobody sits at a task's input",
    "--label-file": "there is no such file where the agent runs; use --label",
    "--link": "containers have no fixed names here; find other services by discovery",
    "--name": "the agent names containers after their task",
    "--pull": "the agent pulls an image that is missing",
    "--quiet": "the agent shows nothing",
    "--restart": "the agent restarts tasks itself",
    "--rm": "the agent removes containers itself",
    "--sig-proxy": "the agent attaches to nothing",
    "--tty": "nobody sits at a task's terminal",
    "--use-api-socket": "it would hand the engine to the container",
}


def unsupported(flags: Sequence[str]) -> list[str]:
    """What is wrong with ``flags``, each as one sentence; empty if nothing is."""
    return apply(flags, Request())


def apply(flags: Sequence[str], request: Request) -> list[str]:
    """Add ``flags`` to ``request``; returns what is wrong with those that it could not add."""
    problems: list[str] = []
    for _, name, value in _named(flags, problems):
        try:
            FLAGS[name](request, value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return problems


def named(flags: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """The flags that may be used: which entry each stands in, its long name, its value; a switch's is ``true``."""
    return _named(flags, [])


def _named(flags: Sequence[str], problems: list[str]) -> Iterator[tuple[int, str, str]]:
    """Flags as ``named`` has them; what is no flag that may be used is added to ``problems``."""
    for position, name, value in flag_words.read(flags, problems, certain=FLAGS):
        if name in FLAGS and value is not None:
            yield position, name, value
        elif name in FLAGS:
            problems.append(f"{name} needs a value")
        elif name in REFUSED:
            problems.append(f"{name} can't be used: {REFUSED[name]}")
        elif name.startswith("-"):
            problems.append(_unknown(name))
        else:
            problems.append(f"{name!r} is no flag; a value with spaces is written as --flag=value, in one entry")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, FLAGS, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"{name} is not a flag of docker run that is known here{meant} Known are: {', '.join(FLAGS)}"
