"""What a task definition asks for that the operator of a host does not allow. Pure but for ``real``.

The agent asks before it fetches or starts anything, ``validate --policy`` before a commit. Flags are judged by what is
known to be harmless, not by a list of what is dangerous: another way of writing it gains nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

import msgspec

from reconciler.executors import docker_flags, docker_values
from reconciler.executors.policy_patterns import (
    RealPath,
    image_matches,
    is_below,
    is_socket,
    normalised,
    origin_matches,
    reaches_engine,
)
from reconciler.model.host_policy import ANY, OWN_USER, HostPolicy, PolicyFault, Violation
from reconciler.model.manifests import BashContainer, Container, DockerContainer, DockerExecutor, TaskDefinition

Path: TypeAlias = tuple[str | int, ...]

_USUAL_CAPABILITIES: Final = frozenset(
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
"""Those that docker gives to every container."""

_HARMLESS: Final[dict[str, Callable[[str], bool]]] = {
    "--cap-add": lambda text: docker_values.capability(text) in _USUAL_CAPABILITIES,
    "--cgroup-parent": lambda text: not text,
    "--cgroupns": lambda text: text in ("", "private"),
    "--device": lambda _: False,
    "--device-cgroup-rule": lambda _: False,
    "--ipc": lambda text: text in ("", "none", "private", "shareable"),
    "--network": lambda text: not text.startswith("container:"),
    "--oom-kill-disable": lambda text: not docker_values.boolean(text),
    "--oom-score-adj": lambda text: docker_values.integer(text) >= 0,
    "--pid": lambda text: not text,
    "--runtime": lambda text: text in ("", "runc"),
    "--security-opt": lambda text: (
        text in ("no-new-privileges", "no-new-privileges=true", "no-new-privileges:true")
        or text in ("seccomp=builtin", "apparmor=docker-default")
    ),
    "--userns": lambda text: not text,
    "--uts": lambda text: not text,
    "--volume-driver": lambda text: text in ("", "local"),
    "--volumes-from": lambda _: False,
}
"""Flags that lead out of a container, and the values with which they don't. All others concern the container alone."""
_CAPABILITIES: Final = ("--cap-add", "--cap-drop")
_ELSEWHERE: Final = {
    "--mount": "mounts",
    "--privileged": "privileged",
    "--user": "users",
    "--volume": "mounts",
}
"""Flags that a field of their own allows."""


def faults(policy: HostPolicy) -> list[PolicyFault]:
    """What is wrong with a policy that its schema can't say: flags that there are not, or that another field allows."""
    found = []
    for field in ("flags", "refused_flags"):
        for position, pattern in enumerate(getattr(policy, field)):
            name = _long_name(pattern)
            if name not in docker_flags.FLAGS:
                found.append(PolicyFault((field, position), f"{name} is not a flag that a manifest can use"))
            elif field == "flags" and name in _ELSEWHERE:
                found.append(PolicyFault((field, position), f"{name} is allowed by {_ELSEWHERE[name]}, not by flags"))
    return found


def violations(definition: TaskDefinition, policy: HostPolicy, real: RealPath = normalised) -> list[Violation]:
    """Everything in ``definition`` that ``policy`` does not allow; empty: it may run."""
    found: list[Violation] = []
    for position, container in enumerate(definition.containers):
        found += container_violations(container, policy, real, ("containers", position))
    for position, check in enumerate(definition.checks):
        if check.script is not None and check.container is None and "bash" not in policy.executors:
            text = f"check {check.name or position} runs a script on the host"
            found.append(_shell(("checks", position, "script"), text))
    return found


def container_violations(
    container: Container, policy: HostPolicy, real: RealPath = normalised, path: Path = ()
) -> list[Violation]:
    """The same for one container, which stands at ``path``."""
    judge = _Judge(policy, real)
    found = list(
        judge.docker(container, path) if isinstance(container, DockerContainer) else judge.bash(container, path)
    )
    return [msgspec.structs.replace(each, text=f"container {container.name} {each.text}") for each in found]


def _shell(path: Path, text: str) -> Violation:
    return _violation("executor", path, text, "executors: [docker, bash] allows it")


def _violation(what: str, path: Path, text: str, remedy: str) -> Violation:
    return Violation(rule=f"{what}-not-allowed", path=path, text=text, remedy=remedy)


class _Judge:
    """One policy, and one host's idea of where paths lead."""

    def __init__(self, policy: HostPolicy, real: RealPath) -> None:
        self._policy = policy
        self._real = real
        self._mounts = [(real(rule.path), rule) for rule in policy.mounts]

    def bash(self, container: BashContainer, path: Path) -> Iterator[Violation]:
        if "bash" not in self._policy.executors:
            yield _shell((*path, "type"), "runs as a process of the host")
        inside = (*path, "executor")
        yield from self._user(container.executor.user, (*inside, "user"))
        url = container.executor.artifact
        if url and not any(origin_matches(url, origin, self._real) for origin in self._policy.artifacts):
            yield _violation(
                "artifact-origin",
                (*inside, "artifact"),
                "fetches its artifact from elsewhere",
                "artifacts lists origins",
            )

    def docker(self, container: DockerContainer, path: Path) -> Iterator[Violation]:
        executor, inside = container.executor, (*path, "executor")
        if "docker" not in self._policy.executors:
            yield _violation("executor", (*path, "type"), "runs in docker", "executors: [docker, bash] allows it")
        if container.setup and "bash" not in self._policy.executors:
            yield _shell((*path, "setup"), "has a setup, which is a shell on the host")
        yield from self._image(executor.image, (*inside, "image"))
        for position, volume in enumerate(executor.volumes):
            yield from self._volume(volume, (*inside, "volumes", position))
        yield from self._flags(executor, (*inside, "flags"))

    def _flags(self, executor: DockerExecutor, path: Path) -> Iterator[Violation]:
        user, at = "", path[:-1]
        for position, name, value in docker_flags.named(executor.flags):
            where = (*path, position)
            if name == "--user":
                user, at = value, where
            try:
                yield from self._flag(name, value, where)
            except ValueError:
                continue  # no value of this flag: it is refused for that
        yield from self._user(user, at)

    def _flag(self, name: str, value: str, path: Path) -> Iterator[Violation]:
        if _listed(self._policy.refused_flags, name, value):
            yield _violation("flag", path, f"uses {name}={value}", "refused_flags refuses it")
        elif name == "--privileged":
            if docker_values.boolean(value) and not self._policy.privileged:
                yield _violation("privileged", path, "is privileged", "privileged: true allows it")
        elif name == "--volume":
            yield from self._volume(value, path)
        elif name == "--mount":
            yield from self._mount(docker_values.mount(value), path)
        elif not _listed(self._policy.flags, name, value):
            harmless = _HARMLESS.get(name)
            if name == "--group-add" and ANY not in self._policy.users:
                harmless = _never
            if harmless is not None and not harmless(value):
                yield _violation("flag", path, f"uses {name}={value}", f"flags: ['{name}={value}'] allows it")

    def _volume(self, text: str, path: Path) -> Iterator[Violation]:
        source, colon, rest = text.partition(":")
        if colon and source.startswith("/"):
            options = rest.partition(":")[2].split(",")
            yield from self._host_path(source, path, read_only="ro" in options)

    def _mount(self, mount: dict[str, Any], path: Path) -> Iterator[Violation]:
        kind, source = mount["Type"], str(mount.get("Source", ""))
        driver = mount.get("VolumeOptions", {}).get("DriverConfig", {})
        if kind in ("bind", "npipe") or source.startswith("/"):
            yield from self._host_path(source, path, read_only=bool(mount.get("ReadOnly")))
        if kind == "image":
            yield from self._image(source, path)
        if driver.get("Options") or driver.get("Name", "local") not in ("", "local"):
            remedy = "docker volume create on the host, and its name in the manifest, do the same"
            yield _violation("volume-options", path, "makes a volume with options of its own", remedy)

    def _image(self, image: str, path: Path) -> Iterator[Violation]:
        if not any(image_matches(image, pattern) for pattern in self._policy.images):
            yield _violation("image", path, f"uses the image {image}", "images lists patterns")

    def _host_path(self, source: str, path: Path, *, read_only: bool) -> Iterator[Violation]:
        if ".." in source.split("/"):  # with links it is not the same to everybody
            yield _violation("host-path", path, f"mounts {source} of the host", "paths have no .. in them")
            return
        target = self._real(source)
        leads = "" if target == normalised(source) else f" (it leads to {target})"
        covering = [rule for folder, rule in self._mounts if is_below(target, folder)]
        listed = [*(folder for folder, _ in self._mounts), *(normalised(rule.path) for rule in self._policy.mounts)]
        if any(reaches_engine(each, listed) and (covering or is_socket(each)) for each in (target, normalised(source))):
            text = f"mounts {source}{leads}, from which the whole engine can be commanded"
            yield _violation("engine-socket", path, text, "only the socket's own path under mounts allows it")
        elif not covering:
            text = f"mounts {source} of the host{leads}"
            yield _violation("host-path", path, text, "mounts lists folders that tasks may use")
        elif not read_only and all(rule.read_only for rule in covering):
            text = f"mounts {source} of the host to write to it{leads}"
            yield _violation("host-path", path, text, "it may be mounted read-only (:ro)")

    def _user(self, user: str, path: Path) -> Iterator[Violation]:
        if any(fnmatchcase(user or OWN_USER, pattern) for pattern in self._policy.users):
            return
        text = f"runs as user {user}" if user else "names no user"
        yield _violation("user", path, text, f"users allows {', '.join(self._policy.users) or 'nobody'}")


def _never(_: str) -> bool:
    return False


def _long_name(pattern: str) -> str:
    name = pattern.partition("=")[0]
    return docker_flags.ALIASES.get(name, name)


def _listed(patterns: Sequence[str], name: str, value: str) -> bool:
    """Whether one of ``patterns`` stands for a flag with this value; a pattern without a value stands for all."""
    return any(
        _long_name(pattern) == name
        and ("=" not in pattern or fnmatchcase(_plain(name, value), _wanted(name, pattern.partition("=")[2])))
        for pattern in patterns
    )


def _plain(name: str, value: str) -> str:
    """A value in the one way of writing it, where there are several."""
    if name in _CAPABILITIES:
        return docker_values.capability(value)
    return str(docker_values.boolean(value)).lower() if docker_flags.FLAGS[name].switch else value


def _wanted(name: str, pattern: str) -> str:
    return docker_values.capability(pattern) if name in _CAPABILITIES else pattern
