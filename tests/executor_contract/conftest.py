"""Gives each test of the suite an executor of each kind, and cleans up what it started."""

import contextlib
import itertools
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.errors import ExecutorError
from reconciler.executors.interface import Executor, Observed, Owner, Ref, Spec
from reconciler.model.manifests import Container
from tests.executor_contract.kits import READY, BashKit, DockerKit, Kit
from tests.support.ports import port_block
from tests.support.wait import wait_until

_ports = itertools.cycle(range(port_block()[0], port_block()[1] + 1))


def free_port() -> int:
    """A port of this process's block that really nobody has, as some demo on this machine might."""
    for port in _ports:
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port
    raise AssertionError("no free port is left")


class Stage:
    """One owner's executor, and what a test needs to start things and look at them."""

    def __init__(self, kit: Kit, owner: Owner) -> None:
        self.kit = kit
        self.owner = owner
        self.executor = kit.executor(owner)
        self._others: list[Executor] = []
        self._refs: set[tuple[Owner, Ref]] = set()

    def spec(
        self,
        container: Container,
        *,
        task: str = "default-web-1-0",
        issue: int = 1,
        attempt: int = 1,
        environment: dict[str, str] | None = None,
    ) -> Spec:
        ref = Ref(task, issue, container.name)
        self._refs.add((self.owner, ref))
        port = free_port()
        return Spec(
            ref=ref,
            container=container,
            digest="0123456789abcdef",
            attempt=attempt,
            environment={"PORT": str(port), **(environment or {})},
            address="127.0.0.1",
            port=port,
        )

    def start(self, spec: Spec) -> Spec:
        self.executor.start(spec)
        return spec

    def start_ready(self, spec: Spec) -> Spec:
        """Start a script that says when it is ready."""
        self.start(spec)
        word = READY.removeprefix("echo ").encode()
        wait_until(lambda: word in self.executor.logs(spec.ref, 10), what="the script is ready")
        return spec

    def another_executor(self, owner: Owner | None = None) -> Executor:
        """As after a restart of the agent, or of another agent."""
        executor = self.kit.executor(owner or self.owner)
        self._others.append(executor)
        return executor

    def seen(self, spec: Spec, executor: Executor | None = None) -> Observed | None:
        """What an executor observes of a container of this stage's owner."""
        found = [each for each in (executor or self.executor).observe() if each.ref == spec.ref]
        found = [each for each in found if each.owner == self.owner]
        assert len(found) <= 1, found
        return found[0] if found else None

    def ended(self, spec: Spec, executor: Executor | None = None) -> Observed:
        """Wait until it has ended."""

        def look() -> Observed | None:
            observed = self.seen(spec, executor)
            return observed if observed and not observed.running else None

        observed = wait_until(look, what=f"{spec.ref} has ended")
        assert observed is not None
        return observed

    def settle(self, executor: Executor) -> None:
        """Let news of what the test itself did pass."""
        wait_until(lambda: not executor.wait(0.5), what="no more news")

    def clean(self) -> None:
        for owner, ref in self._refs:
            executor = self.executor if owner == self.owner else self.another_executor(owner)
            with contextlib.suppress(ExecutorError):
                executor.stop(ref, None, 0)
                executor.remove(ref)
        for executor in (self.executor, *self._others):
            executor.close()


@pytest.fixture(params=["bash", pytest.param("docker", marks=pytest.mark.docker)])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    kits: dict[str, Callable[[], Kit]] = {
        "bash": lambda: BashKit(tmp_path / "runtime"),
        "docker": lambda: DockerKit(request.getfixturevalue("docker_engine"), tmp_path),
    }
    stage = Stage(kits[request.param](), Owner(uuid.uuid4().hex, "machine-1"))
    try:
        yield stage
    finally:
        stage.clean()
