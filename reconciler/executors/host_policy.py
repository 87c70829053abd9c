"""What a task definition asks for that the operator of a host does not allow. Pure but for ``real``.

The agent asks before it fetches or starts anything, ``validate --policy`` before a commit. Beside it ``policy_flags``
judges the flags of containers, ``policy_patterns`` what matches a pattern.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, TypeAlias

import msgspec

from reconciler.executors import docker_flags, docker_values, policy_flags
from reconciler.executors.policy_patterns import (
    RealPath,
    image_matches,
    is_below,
    is_origin,
    is_place,
    is_socket,
    normalised,
    origin_matches,
    place_matches,
    reaches_engine,
)
from reconciler.model.faults import Fault
from reconciler.model.host_policy import ANY, OWN_USER, HostPolicy, MountRule, Violation
from reconciler.model.manifests import (
    BashContainer,
    BashExecutor,
    Container,
    DockerContainer,
    DockerExecutor,
    TaskDefinition,
)
from reconciler.model.secrets import SOURCE_KINDS, Wanted

Path: TypeAlias = tuple[str | int, ...]


def faults(policy: HostPolicy) -> list[Fault]:
    """What is wrong with a policy that its schema can't say: flags that there are not, or that another field allows."""
    found = []
    for field in ("flags", "refused_flags"):
        for position, pattern in enumerate(getattr(policy, field)):
            name = policy_flags.long_name(pattern)
            if name not in docker_flags.FLAGS:
                found.append(Fault((field, position), f"{name} is not a flag that a manifest can use"))
            elif field == "flags" and name in policy_flags.ELSEWHERE:
                found.append(
                    Fault((field, position), f"{name} is allowed by {policy_flags.ELSEWHERE[name]}, not by flags")
                )
    for position, rule in enumerate(policy.mounts):
        if "\0" in rule.path:
            found.append(Fault(("mounts", position, "path"), "no path has a NUL in it"))
    for position, origin in enumerate(policy.artifacts):
        if not is_origin(origin):
            found.append(Fault(("artifacts", position), f"{origin!r} is neither a URL nor {ANY}"))
    for position, pattern in enumerate(policy.secrets):
        if not is_place(pattern):
            text = f"{pattern!r} is neither {ANY} nor one of {', '.join(f'{kind}:…' for kind in SOURCE_KINDS)}"
            found.append(Fault(("secrets", position), text))
    return found


def violations(definition: TaskDefinition, policy: HostPolicy, real: RealPath = normalised) -> list[Violation]:
    """Everything in ``definition`` that ``policy`` does not allow; empty: it may run."""
    found: list[Violation] = []
    for position, container in enumerate(definition.containers):
        found += container_violations(container, policy, real, ("containers", position))
    has_process = any(isinstance(container, BashContainer) for container in definition.containers)
    for position, check in enumerate(definition.checks):
        if check.script is None or check.container is not None:
            continue
        text = f"check {check.name or position} runs a script on the host"
        if "bash" not in policy.executors:
            found.append(_shell(("checks", position, "script"), text))
        elif not has_process and not _allows_user(policy, OWN_USER):  # it runs beside a process as that one's user
            found.append(_no_own_user(policy, ("checks", position, "script"), text))
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


def _no_own_user(policy: HostPolicy, path: Path, text: str) -> Violation:
    return _violation("user", path, f"{text} as the agent's user", f"users allows {_listing(policy.users)}")


def _allows_user(policy: HostPolicy, user: str) -> bool:
    return any(fnmatchcase(user, pattern) for pattern in policy.users)


def _listing(users: Sequence[str]) -> str:
    return ", ".join(users) or "nobody"


class _Judge:
    """One policy, and one host's idea of where paths lead."""

    def __init__(self, policy: HostPolicy, real: RealPath) -> None:
        self._policy = policy
        self._real = real

    @cached_property
    def _mounts(self) -> list[tuple[str, MountRule]]:
        return [(self._real(rule.path), rule) for rule in self._policy.mounts]

    def bash(self, container: BashContainer, path: Path) -> Iterator[Violation]:
        if "bash" not in self._policy.executors:
            yield _shell((*path, "type"), "runs as a process of the host")
        inside = (*path, "executor")
        yield from self._user(container.executor.user, (*inside, "user"))
        yield from self._artifact(container.executor.artifact, (*inside, "artifact"))
        yield from self._secrets(container.executor, inside)
        if container.executor.user:
            yield from self._folder(container.executor.download_dir, (*inside, "download_dir"))

    def _secrets(self, executor: BashExecutor | DockerExecutor, path: Path) -> Iterator[Violation]:
        listed: dict[str, tuple[Wanted, ...]] = {"env_from": executor.env_from, "secrets": executor.secrets}
        for field, entries in listed.items():
            for position, wanted in enumerate(entries):
                if not any(place_matches(wanted.place, pattern) for pattern in self._policy.secrets):
                    remedy = f"secrets lists places such as {wanted.place.kind}:{wanted.place.name}"
                    yield _violation("secret", (*path, field, position), f"wants {wanted.label}", remedy)

    def _artifact(self, url: str, path: Path) -> Iterator[Violation]:
        """The agent reads a file of its host with its own rights, so that ``*`` gives it only to who may have those."""
        is_file = url.lower().startswith("file:")
        origins = self._policy.artifacts
        if is_file and not _allows_user(self._policy, OWN_USER):
            origins = tuple(origin for origin in origins if origin != ANY)
        if url and not any(origin_matches(url, origin, self._real) for origin in origins):
            text = "takes its artifact from this host's files" if is_file else "fetches its artifact from elsewhere"
            remedy = "artifacts lists origins, file:///… ones too" if is_file else "artifacts lists origins"
            yield _violation("artifact-origin", path, text, remedy)

    def _folder(self, folder: str, path: Path) -> Iterator[Violation]:
        """The agent makes a folder of the host with its own rights, whoever runs in it then."""
        if not folder.startswith("/") or _allows_user(self._policy, OWN_USER):
            return
        if _is_clear(folder):
            target = self._real(folder)
            if any(is_below(target, listed) and not rule.read_only for listed, rule in self._mounts):
                return
        remedy = "mounts lists folders that tasks may write to; or users allows default"
        yield _violation("host-path", path, f"is put into {folder} of the host by the agent's user", remedy)

    def docker(self, container: DockerContainer, path: Path) -> Iterator[Violation]:
        executor, inside = container.executor, (*path, "executor")
        if "docker" not in self._policy.executors:
            yield _violation("executor", (*path, "type"), "runs in docker", "executors: [docker, bash] allows it")
        if container.setup and "bash" not in self._policy.executors:
            yield _shell((*path, "setup"), "has a setup, which is a shell on the host")
        elif container.setup and not _allows_user(self._policy, OWN_USER):
            yield _no_own_user(self._policy, (*path, "setup"), "has a setup, which is a shell on the host")
        yield from self._image(executor.image, (*inside, "image"))
        for position, volume in enumerate(executor.volumes):
            yield from self._volume(volume, (*inside, "volumes", position))
        yield from self._flags(executor, (*inside, "flags"))
        yield from self._secrets(executor, inside)

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
        if "\0" in value:
            yield _violation("flag", path, f"uses {name} with a NUL in its value", "nothing allows it")
        elif policy_flags.is_listed(self._policy.refused_flags, name, value, self._real):
            yield _violation("flag", path, f"uses {name}={value}", "refused_flags refuses it")
        elif name == "--privileged":
            if docker_values.boolean(value) and not self._policy.privileged:
                yield _violation("privileged", path, "is privileged", "privileged: true allows it")
        elif name == "--volume":
            yield from self._volume(value, path)
        elif name == "--mount":
            yield from self._mount(docker_values.mount(value), path)
        elif policy_flags.climbs(name, value):
            yield _violation("flag", path, f"uses {name}={value}", "paths have no .. in them")
        elif not policy_flags.is_listed(self._policy.flags, name, value, self._real):
            joins = name == "--group-add" and ANY not in self._policy.users
            if joins or not policy_flags.is_harmless(name, value):
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
        if not _is_clear(source):
            yield _violation(
                "host-path", path, f"mounts {source!r} of the host", "paths have no .. in them, and no NUL"
            )
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
        if _allows_user(self._policy, user or OWN_USER):
            return
        text = f"runs as user {user}" if user else "names no user"
        yield _violation("user", path, text, f"users allows {_listing(self._policy.users)}")


def _is_clear(path: str) -> bool:
    """Whether a path says the same to everybody: with links, ``..`` does not."""
    return ".." not in path.split("/") and "\0" not in path
