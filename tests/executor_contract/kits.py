"""How to say the same thing to each executor; a third one joins the suite by a kit of its own."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any, Protocol

from reconciler.executors.bash import Bash
from reconciler.executors.docker import Docker
from reconciler.executors.interface import Executor, Owner, Ref
from reconciler.executors.naming import instance_name
from reconciler.executors.processes import ProcessTable
from reconciler.model.manifests import BashContainer, BashExecutor, Container, DockerContainer, DockerExecutor
from tests.support.docker import DockerEngine

READY = "echo ready"
FOREVER = "while :; do sleep 0.1; done"
POLITE = f"trap 'echo bye; exit 0' TERM; {READY}; {FOREVER}"
"""Ends with 0 when it is asked to."""
STUBBORN = f"trap '' TERM; {READY}; {FOREVER}"
"""Ends only when it is killed."""


class Kit(Protocol):
    """What the suite needs to know of an executor."""

    def executor(self, owner: Owner) -> Executor:
        """A new one, as a new agent would make it."""

    def shell(self, script: str, setup: tuple[str, ...] = ()) -> Container:
        """A container that runs a POSIX shell script."""

    def http(self) -> Container:
        """A container that serves HTTP on the task's port."""

    def fetched(self, server: str) -> Container:
        """A container of something that is to be fetched from ``server`` (host:port) first."""

    def impossible(self) -> Container:
        """A container that can never be started."""

    def kill(self, owner: Owner, ref: Ref) -> None:
        """Kill it from outside, as the kernel might."""

    def instances(self, owner: Owner, ref: Ref) -> int:
        """How many times it runs now; the executor's own view is of one."""

    def remains(self, owner: Owner, ref: Ref) -> list[str]:
        """What there still is of it, running or not."""

    def labels(self, owner: Owner, ref: Ref) -> dict[str, str]:
        """What the engine shows to everybody who may list containers."""

    def secrets(self) -> Path:
        """The folder below which it keeps files of secrets."""

    def agent_arguments(self) -> list[str]:
        """For ``agent_process``: the kind of executor, and where it keeps things."""


class BashKit:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def executor(self, owner: Owner) -> Executor:
        return Bash(owner, self.folder)

    def shell(self, script: str, setup: tuple[str, ...] = ()) -> Container:
        return BashContainer(name="main", executor=BashExecutor(start=(script,)), setup=setup)

    def http(self) -> Container:
        start = 'exec python3 -m http.server --bind 127.0.0.1 "$PORT"'
        return BashContainer(name="main", executor=BashExecutor(start=("echo serving >index.html", start)))

    def fetched(self, server: str) -> Container:
        return BashContainer(name="main", executor=BashExecutor(start=("./tool",), artifact=f"http://{server}/tool"))

    def impossible(self) -> Container:
        return self.shell("if then")

    def processes(self, owner: Owner, ref: Ref) -> list[int]:
        task = ProcessTable().scan().get((owner, ref))
        return [process.pid for process in (*task.own, *task.beside)] if task else []

    def kill(self, owner: Owner, ref: Ref) -> None:
        for pid in self.processes(owner, ref):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def instances(self, owner: Owner, ref: Ref) -> int:
        task = ProcessTable().scan().get((owner, ref))
        return sum(process.leads for process in task.own) if task else 0

    def remains(self, owner: Owner, ref: Ref) -> list[str]:
        folder = self.folder / "tasks" / instance_name(owner, ref)
        return [*map(str, self.processes(owner, ref)), *([str(folder)] if folder.exists() else [])]

    def agent_arguments(self) -> list[str]:
        return ["bash", str(self.folder)]

    def labels(self, owner: Owner, ref: Ref) -> dict[str, str]:
        return {}

    def secrets(self) -> Path:
        return self.folder / "secrets"


class DockerKit:
    def __init__(self, engine: DockerEngine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.image = engine.image("1", port=8080)

    def _container(self, setup: tuple[str, ...] = (), **fields: Any) -> Container:
        return DockerContainer(name="main", executor=DockerExecutor(image=self.image, **fields), setup=setup)

    def executor(self, owner: Owner) -> Executor:
        return Docker(owner, secrets=self.secrets())

    def shell(self, script: str, setup: tuple[str, ...] = ()) -> Container:
        return self._container(setup, cmd=("sh", "-c", script))

    def http(self) -> Container:
        return self._container(container_port=8080)

    def fetched(self, server: str) -> Container:
        return DockerContainer(name="main", executor=DockerExecutor(image=f"{server}/tool:{os.getpid()}"))

    def impossible(self) -> Container:
        return self._container(cmd=("/no/such/program",))

    def kill(self, owner: Owner, ref: Ref) -> None:
        self.engine.client.kill(instance_name(owner, ref))

    def instances(self, owner: Owner, ref: Ref) -> int:
        labels = [f"reconciler.store={owner.store_id}", f"reconciler.task={ref.task_id}"]
        return len(self.engine.client.containers(filters={"label": labels}))

    def remains(self, owner: Owner, ref: Ref) -> list[str]:
        name = f"/{instance_name(owner, ref)}"
        return [name for container in self.engine.containers() if name in container["Names"]]

    def agent_arguments(self) -> list[str]:
        return ["docker", ""]

    def labels(self, owner: Owner, ref: Ref) -> dict[str, str]:
        name = f"/{instance_name(owner, ref)}"
        return next(each["Labels"] for each in self.engine.containers() if name in each["Names"])

    def secrets(self) -> Path:
        return self.folder / "secrets"
