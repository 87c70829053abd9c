"""Runs containers of type ``docker`` on an engine.

Built by wiring, called by the agent. What a definition means to docker is in ``docker_config`` and ``docker_flags``,
what the engine's answers mean in ``docker_report``, and how it is reached in ``docker_engine``.
"""

import contextlib
import json
import math
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from reconciler.errors import ExecutorError
from reconciler.executors import docker_config, docker_report, host_ports
from reconciler.executors.cancelling import until_cancelled
from reconciler.executors.commands import base_environment, run_script
from reconciler.executors.docker_engine import Engine, NameTaken, NoImage
from reconciler.executors.docker_events import News
from reconciler.executors.docker_follow import follow
from reconciler.executors.docker_streams import end_of
from reconciler.executors.interface import (
    MOST_LOG_BYTES,
    Keep,
    Observed,
    Owner,
    Ref,
    ScriptResult,
    Spec,
    Swept,
    never,
    unless_cancelled,
)
from reconciler.executors.leftovers import delete_old
from reconciler.executors.naming import instance_name
from reconciler.executors.secret_files import IN_MEMORY, SecretFiles, environment
from reconciler.model.manifests import Container
from reconciler.model.ports import HostPort

SETUP_TIMEOUT_S: Final = 600.0
_LONGEST_STOP_S: Final = 86_400
_SETUP: Final = "reconciler-setup-"
_CUT_S: Final = 86_400.0
"""After this no setup runs any more: its folder was left by an agent that was killed."""
_CREATE_AGAIN_S: Final = (0.05, 0.2, 0.5)
_NOT_LOOKED: Final = ""
"""In place of the state of what was not looked at: no container has it, so the next look asks for it."""


class Docker:
    """The executor ``docker``. Without ``base_url`` the engine is the one that DOCKER_HOST names, or the local one."""

    def __init__(
        self,
        owner: Owner,
        *,
        base_url: str | None = None,
        setup_timeout_s: float = SETUP_TIMEOUT_S,
        secrets: Path = IN_MEMORY,
    ) -> None:
        self._owner = owner
        self._secrets = SecretFiles(secrets, owner, "docker", inside=True)
        self._setup_timeout_s = setup_timeout_s
        self._engine = Engine(base_url)
        self._news = News(self._engine, docker_config.labels_of(owner))
        self._seen: dict[str, tuple[str, Observed]] = {}
        self._lock = threading.Lock()
        self._under_way: set[Ref] = set()
        """What this process starts or stops just now."""

    @property
    def name(self) -> str:
        return "docker"

    def unavailable(self) -> str | None:
        try:
            self._engine.ping()
        except ExecutorError as error:
            return error.message
        return None

    def observe(self) -> Sequence[Observed]:
        changed = self._news.take_changed()
        with self._lock:
            under_way = frozenset(self._under_way)
        try:
            self._seen = self._look_at_all(changed, under_way)
        except ExecutorError:
            self._seen = {}  # what changed must not be forgotten over this
            raise
        return [observed for _, observed in self._seen.values()]

    def take_over(self, found: Sequence[Observed]) -> None:
        self._secrets.sweep(found)

    def _look_at_all(self, changed: Collection[str], under_way: Collection[Ref]) -> dict[str, tuple[str, Observed]]:
        """Each container of ours with the state in which it was looked at."""
        seen: dict[str, tuple[str, Observed]] = {}
        for each in self._engine.containers([docker_config.TASK]):
            marks = each.marks
            if marks is None:
                continue
            known = self._seen.get(each.id)
            if marks.owner == self._owner and marks.ref in under_way:
                # to look closer would wait for the end of that; whoever does it has the next look begin after it
                before = known[1] if known else docker_report.not_looked_at(marks, each)
                known = (_NOT_LOOKED, before)
            # what did not change since the last look is not asked for again
            elif known is None or known[0] != each.state or each.id in changed:
                known = self._look(each.id)
            if known is not None:
                seen[each.id] = known
        return seen

    @contextlib.contextmanager
    def _working_on(self, ref: Ref) -> Iterator[None]:
        with self._lock:
            self._under_way.add(ref)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.discard(ref)

    def _look(self, container_id: str) -> tuple[str, Observed] | None:
        found = self._engine.inspect(container_id)
        if found is None:
            return None
        observed = docker_report.observed(found["Config"]["Labels"] or {}, found["State"], found["Created"])
        return None if observed is None else (found["State"]["Status"], observed)

    def publisher(self, port: HostPort) -> str | None:
        try:
            names = self._engine.publishers(f"{port.number}/{port.protocol}")
        except ExecutorError:
            return None
        return f"container {names[0]}" if names else None

    def prepare(self, spec: Spec, is_cancelled: Callable[[], bool] = never) -> None:
        image = docker_config.of(spec).executor.image
        wanted = docker_config.request(spec, self._owner, ())
        if not self._engine.has_image(image):
            self._pull(image, wanted.platform, is_cancelled)

    def _pull(self, image: str, platform: str, is_cancelled: Callable[[], bool]) -> None:
        until_cancelled(lambda is_cut: self._engine.pull(image, platform, is_cut), is_cancelled)

    def start(self, spec: Spec, is_cancelled: Callable[[], bool] = never) -> None:
        name = instance_name(self._owner, spec.ref)
        found = self._named(spec.ref)
        if found is not None:
            marks = docker_config.marks_of_labels(found["Config"]["Labels"])
            if marks and found["State"]["Running"] and (marks.digest, marks.attempt) == (spec.digest, spec.attempt):
                return
            self._engine.remove(name, force=True)
        secrets = self._secrets.write(name, spec.values.files)
        try:
            self._start(spec, name, secrets, is_cancelled)
        except ExecutorError:
            self._secrets.remove(name)
            raise

    def _start(self, spec: Spec, name: str, secrets: Path | None, is_cancelled: Callable[[], bool]) -> None:
        container = docker_config.of(spec)
        wanted = docker_config.request(spec, self._owner, _addresses(spec.address), secrets)
        body = _with_profile(wanted.body())
        self._run_setup(spec, container.setup, secrets, is_cancelled)
        pull = partial(self._pull, container.executor.image, wanted.platform, is_cancelled)
        with self._working_on(spec.ref):
            self._create(spec.ref, body, wanted.platform, pull)
            try:
                unless_cancelled(is_cancelled)
                self._engine.start(name)
            except ExecutorError as error:
                # If this fails too, it is seen as one whose start was cut off.
                with contextlib.suppress(ExecutorError):
                    self._engine.remove(name, force=True)
                # engines that listen nowhere, but redirect, are the only ones to know
                port = docker_report.taken_port(error.message)
                if port is not None and (holder := self.publisher(port)):
                    raise host_ports.taken(port, holder) from error
                raise

    def _create(self, ref: Ref, body: Mapping[str, Any], platform: str, pull: Callable[[], None]) -> None:
        name = instance_name(self._owner, ref)
        for pause_s in _CREATE_AGAIN_S:
            try:
                self._engine.create(name, body, platform)
            except NoImage:
                pull()
            except NameTaken:
                # What an agent asked for that was killed meanwhile is still carried out.
                if self._named(ref) is not None:
                    self._engine.remove(name, force=True)
                else:
                    time.sleep(pause_s)
            else:
                return
        self._engine.create(name, body, platform)

    def _run_setup(
        self, spec: Spec, setup: Sequence[str], secrets: Path | None, is_cancelled: Callable[[], bool]
    ) -> None:
        if not setup:
            return
        with tempfile.TemporaryDirectory(prefix=_SETUP) as folder:
            ended = run_script(
                "\n".join([*setup, ""]),
                environment={**base_environment(), **environment(spec, secrets)},
                timeout_s=self._setup_timeout_s,
                cwd=Path(folder),
                file=Path(folder) / "setup",
                is_cut=is_cancelled,
            )
        unless_cancelled(is_cancelled)
        if ended.exit_code is None:
            raise ExecutorError(f"setup of {spec.ref.container} took more than {self._setup_timeout_s:g} s")
        if ended.exit_code != 0:
            raise ExecutorError(
                f"setup of {spec.ref.container} ended with exit code {ended.exit_code}", hint=ended.text or None
            )

    def stop(
        self,
        ref: Ref,
        container: Container | None,  # noqa: ARG002 - it knows itself
        timeout_s: float,
        *,
        strict: bool = False,
    ) -> None:
        found = self._find(ref)
        if found is not None and found["State"]["Running"]:
            with self._working_on(ref):
                self._stop(found, timeout_s, strict=strict)
        self._secrets.remove(instance_name(self._owner, ref))

    def _stop(self, found: Mapping[str, Any], timeout_s: float, *, strict: bool) -> None:
        if found["State"]["Paused"]:
            self._engine.unpause(found["Id"])
        of_its_own = found["Config"].get("StopTimeout")  # only ever set by a flag in the definition
        wait_s = math.ceil(timeout_s) if of_its_own is None else of_its_own
        most_s = min(math.ceil(timeout_s), _LONGEST_STOP_S) if strict else _LONGEST_STOP_S
        self._engine.stop(found["Id"], min(wait_s, most_s) if wait_s >= 0 else most_s)

    def remove(self, ref: Ref) -> None:
        found = self._find(ref)
        if found is not None and found["State"]["Running"]:
            raise ExecutorError(f"{ref.task_id} can't be removed: it still runs")
        self._secrets.remove(instance_name(self._owner, ref))
        if found is not None:
            self._engine.remove(found["Id"], force=False)

    def sweep(self, keep: Keep, wanted: Sequence[Container]) -> Swept:  # noqa: ARG002 - images are the operator's
        left = Path(tempfile.gettempdir()).glob(f"{_SETUP}*")
        try:
            return delete_old(left, time.time() - _CUT_S)
        except OSError as error:
            raise ExecutorError(f"cannot delete {error.filename}: {error.strerror or error}") from error

    def run_script(self, ref: Ref, script: str, environment: Mapping[str, str], timeout_s: float) -> ScriptResult:
        return self._engine.run(instance_name(self._owner, ref), ["sh", "-c", script], environment, timeout_s)

    def logs(self, ref: Ref, tail_lines: int) -> bytes:
        found = self._find(ref)
        if found is None:
            return b""
        with self._engine.output(found, tail_lines, follow=False) as (pieces, _):
            return end_of(pieces, MOST_LOG_BYTES)

    def follow(self, ref: Ref, tail_lines: int) -> Iterator[bytes]:
        return follow(self._engine, lambda: self._find(ref), tail_lines)

    def wait(self, timeout_s: float) -> bool:
        return self._news.wait(timeout_s)

    def close(self) -> None:
        self._engine.close()
        self._news.close()

    def _find(self, ref: Ref) -> dict[str, Any] | None:
        """Our container for ``ref`` as the engine shows it, also if somebody has renamed it."""
        found = self._named(ref)
        if found is None:
            for each in self._engine.containers(docker_config.labels_of(self._owner, ref)):
                return self._engine.inspect(each.id)
        return found

    def _named(self, ref: Ref) -> dict[str, Any] | None:
        """The same by its name alone, which is all that can be in the way of a new one."""
        name = instance_name(self._owner, ref)
        found = self._engine.inspect(name)
        if found is None:
            return None
        marks = docker_config.marks_of_labels(found["Config"]["Labels"] or {})
        if marks is None or (marks.owner, marks.ref) != (self._owner, ref):
            raise ExecutorError(f"there is a container {name} that is not the agent's", hint="remove or rename it")
        return found


def _addresses(address: str) -> list[str]:
    """Where a task's port is published: the host's address, and loopback for checks that are written with 127.0.0.1.

    An address that the host itself does not have (behind a translating router) leaves all interfaces.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(where)
    except OSError:
        return [""]
    literal = str(where[0])
    if literal in ("0.0.0.0", "::"):  # noqa: S104 - nothing is bound: it is what the operator gave
        return [""]
    return [literal] if literal == "::1" or literal.startswith("127.") else [literal, "127.0.0.1"]


def _with_profile(body: dict[str, Any]) -> dict[str, Any]:
    """The engine wants a seccomp profile itself, not the name of its file."""
    options = body["HostConfig"].get("SecurityOpt", [])
    for position, option in enumerate(options):
        if option.startswith("seccomp=/"):
            path = option.removeprefix("seccomp=")
            try:
                options[position] = f"seccomp={json.dumps(json.loads(Path(path).read_bytes()))}"
            except (OSError, ValueError) as error:
                raise ExecutorError(f"the seccomp profile {path} can't be read: {error}", permanent=True) from error
    return body
