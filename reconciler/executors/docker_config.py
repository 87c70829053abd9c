"""What a container's definition means to docker: its fields, flags and labels as one request. Pure.

``docker`` sends the request; validation may ask ``problems`` without having docker.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from reconciler.errors import ExecutorError
from reconciler.executors import docker_flags, docker_values, naming
from reconciler.executors.docker_flags import LABEL_PREFIX
from reconciler.executors.docker_request import Request
from reconciler.executors.interface import Owner, Ref, Spec
from reconciler.executors.naming import Marks
from reconciler.executors.secret_files import SECRETS_DIR
from reconciler.model import publishing
from reconciler.model.manifests import DockerContainer, DockerExecutor

STORE: Final = f"{LABEL_PREFIX}store"
MACHINE: Final = f"{LABEL_PREFIX}machine"
TASK: Final = f"{LABEL_PREFIX}task"
ISSUE: Final = f"{LABEL_PREFIX}issue"
CONTAINER: Final = f"{LABEL_PREFIX}container"
DIGEST: Final = f"{LABEL_PREFIX}digest"
ATTEMPT: Final = f"{LABEL_PREFIX}attempt"
VALUES: Final = f"{LABEL_PREFIX}values"
SECRETS: Final = "/run/secrets"
"""Where a container finds its files, as it does with other tools."""
_READABLE: Final = ("cluster", "service", "version", "instance")
_MIB: Final = 1024 * 1024
_LEAST_SHARES: Final = 2
_NOT_INSIDE: Final = (naming.STORE, naming.MACHINE)
"""Processes in containers are seen from the host: with these marks the bash executor would take them for its own."""


def problems(executor: DockerExecutor) -> list[tuple[str, str]]:
    """What is wrong with a definition's fields, as pairs of field and sentence; empty if nothing is."""
    found = [("flags", problem) for problem in docker_flags.unsupported(executor.flags)]
    for field, read, entries in (
        ("ports", publishing.published, executor.ports),
        ("volumes", docker_values.volume, executor.volumes),
        ("entry", shlex.split, (executor.entry,)),
    ):
        for entry in entries:
            try:
                read(entry)
            except ValueError as error:
                found.append((field, str(error)))
    return found


def request(spec: Spec, owner: Owner, addresses: Sequence[str], secrets: Path | None = None) -> Request:
    """The request for ``spec``; its ports are published on ``addresses``, its files are in the folder ``secrets``.

    Raises:
        ExecutorError: the definition can't be carried out by docker.
    """
    executor = of(spec).executor
    if wrong := problems(executor):
        raise ExecutorError(
            f"container {spec.ref.container}: " + "; ".join(f"{field}: {problem}" for field, problem in wrong),
            permanent=True,
        )
    wanted = Request()
    if spec.memory:
        wanted.host["Memory"] = spec.memory * _MIB
    if spec.cpu_units:
        wanted.host["CpuShares"] = max(spec.cpu_units, _LEAST_SHARES)
    docker_flags.apply(executor.flags, wanted)
    _add_fields(wanted, executor)
    inside = {**spec.environment, **spec.values.environment}
    if secrets is not None:
        # a mount, not a bind: of a folder that the engine does not have it makes an error, not an empty folder
        wanted.host.setdefault("Mounts", []).append(
            {"Type": "bind", "Source": str(secrets), "Target": SECRETS, "ReadOnly": True}
        )
        inside[SECRETS_DIR] = SECRETS
    if executor.container_port and spec.port and wanted.has_ports:
        for address in addresses:
            wanted.publish(f"{executor.container_port}/tcp", {"HostIp": address, "HostPort": str(spec.port)})
        if inside.get("PORT") == str(spec.port):
            inside["PORT"] = str(executor.container_port)  # what a program should listen on, seen from where it is
    if wanted.has_ports:
        for each in spec.publications:
            for address in addresses:
                inner = f"{each.container_port}/{each.host.protocol}"
                wanted.publish(inner, {"HostIp": address, "HostPort": str(each.host.number)})
    wanted.config["Env"] = _environment(wanted.config.get("Env", []), inside)
    wanted.config.setdefault("Labels", {}).update(_labels(spec, owner))
    # Restarts are the agent's: whatever the engine's own default may become.
    wanted.host["RestartPolicy"] = {"Name": "no"}
    return wanted


def of(spec: Spec) -> DockerContainer:
    """The definition of a docker container."""
    if not isinstance(spec.container, DockerContainer):
        raise ExecutorError(f"{spec.container.name} is of type {spec.container.type}, not docker", permanent=True)
    return spec.container


def labels_of(owner: Owner, ref: Ref | None = None) -> list[str]:
    """What to ask the engine for to hear only of one owner's containers, or of the one for ``ref``."""
    labels = [f"{STORE}={owner.store_id}", f"{MACHINE}={owner.machine}"]
    if ref is not None:
        labels += [f"{TASK}={ref.task_id}", f"{ISSUE}={ref.issue}", f"{CONTAINER}={ref.container}"]
    return labels


def marks_of_labels(labels: Mapping[str, str]) -> Marks | None:
    """Whose a container is; None if its labels don't say so."""
    try:
        return Marks(
            Owner(labels[STORE], labels[MACHINE]),
            Ref(labels[TASK], int(labels[ISSUE]), labels[CONTAINER]),
            labels[DIGEST],
            int(labels[ATTEMPT]),
            values=labels.get(VALUES, ""),
        )
    except (KeyError, ValueError):
        return None


def _add_fields(wanted: Request, executor: DockerExecutor) -> None:
    wanted.config["Image"] = executor.image
    if executor.cmd:
        wanted.config["Cmd"] = list(executor.cmd)
    if executor.entry:
        wanted.config.setdefault("Entrypoint", shlex.split(executor.entry))
    if executor.work_dir:
        wanted.config.setdefault("WorkingDir", executor.work_dir)
    for volume in executor.volumes:
        wanted.volume(volume)
    if wanted.has_ports:
        for entry in executor.ports:
            for inside, binding in publishing.published(entry):
                wanted.publish(inside, binding)


def _environment(flags: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    merged = dict(flag.split("=", 1) for flag in flags) | dict(variables)
    return [f"{name}={value}" for name, value in sorted(merged.items()) if name not in _NOT_INSIDE]


def _labels(spec: Spec, owner: Owner) -> dict[str, str]:
    readable = {
        f"{LABEL_PREFIX}{name}": value
        for name in _READABLE
        if (value := spec.environment.get(f"RECONCILER_{name.upper()}"))
    }
    return readable | {
        STORE: owner.store_id,
        MACHINE: owner.machine,
        TASK: spec.ref.task_id,
        ISSUE: str(spec.ref.issue),
        CONTAINER: spec.ref.container,
        DIGEST: spec.digest,
        ATTEMPT: str(spec.attempt),
        **({VALUES: spec.values.fingerprint} if spec.values.fingerprint else {}),
    }
