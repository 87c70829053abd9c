"""The connection to a Docker engine: the one file that knows docker's SDK, and turns its errors into ours.

The engine may be absent, slow, restarted or replaced at any time, so connections are made when they are needed, every
call is bounded in time, and nothing is concluded from an error. ``docker`` says what is done with it.
"""

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import docker
import docker.auth
import docker.errors
import docker.utils
import requests
import urllib3

from reconciler.errors import ExecutorError
from reconciler.executors import docker_report
from reconciler.executors.docker_report import Listed
from reconciler.executors.docker_streams import KILL_MARKED, Shutter, end_of, payloads
from reconciler.executors.interface import ScriptResult, never, unless_cancelled
from reconciler.runtime.ids import new_id

log = logging.getLogger(__name__)

_LOCAL: Final = "unix:///var/run/docker.sock"
_PING_S: Final = 5
_READ_S: Final = 30
_WORK_S: Final = 120
_SILENCE_S: Final = 300
"""A pull that shows no progress for so long is given up; a stream of events is opened anew."""
_REMOVAL_S: Final = 30.0
_CONNECTIONS: Final = 32
_OUTPUT_BYTES: Final = 16 * 1024
_EXEC_MARK: Final = "RECONCILER_EXEC"
_TROUBLE: Final = (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class NoImage(ExecutorError):
    """The engine does not have the image."""


class NameTaken(ExecutorError):
    """A container of that name is there, or about to be."""


class Engine:
    """One engine. Thread-safe. Every method raises ExecutorError."""

    def __init__(self, base_url: str | None = None) -> None:
        """Without ``base_url`` it is the engine that DOCKER_HOST names, or the local one."""
        self._connection: dict[str, Any] = {"base_url": base_url} if base_url else {**docker.utils.kwargs_from_env()}
        self._clients: dict[int, docker.APIClient] = {}
        self._lock = threading.Lock()
        self._stream: Shutter | None = None

    def ping(self) -> None:
        """Return if the engine answers."""
        with self._guard("docker"):
            self._client(_PING_S).ping()

    def containers(self, labels: Sequence[str]) -> list[Listed]:
        """Every container with all these labels (``name`` or ``name=value``), running or not."""
        with self._guard("listing containers"):
            found = self._client(_READ_S).containers(all=True, filters={"label": list(labels)})
            return [docker_report.listed(summary) for summary in found]

    def publishers(self, port: str) -> list[str]:
        """The names of the containers that publish a port of the host such as ``80/tcp``."""
        with self._guard(f"looking who publishes {port}"):
            found = self._client(_READ_S).containers(filters={"publish": port})
            return [summary["Names"][0].removeprefix("/") for summary in found]

    def inspect(self, name: str) -> dict[str, Any] | None:
        """All about a container; None if there is none. Waits while it is started, or cleared away."""
        with self._guard(f"looking at container {name}"):
            try:
                found: dict[str, Any] = self._client(_READ_S).inspect_container(name)
            except docker.errors.NotFound:
                return None
            return found

    def has_image(self, image: str) -> bool:
        """Whether an image needs no pull."""
        with self._guard(f"looking for image {image}"):
            client: Any = self._client(_READ_S)  # the SDK does not type this call
            try:
                client.inspect_image(image)
            except docker.errors.NotFound:
                return False
            except docker.errors.APIError as error:
                raise docker_report.pull_failed(image, _text(error)) from error
            return True

    def pull(self, image: str, platform: str, is_cancelled: Callable[[], bool] = never) -> None:
        """Fetch an image with the credentials of this host's ``docker login``, if any.

        Broken off (StartCancelled) at the first word of the engine after ``is_cancelled`` says so.
        """
        repository, tag = docker.utils.parse_repository_tag(image)
        query = {"fromImage": repository, "tag": tag or "latest", "platform": platform or None}
        log.info("pulling image %s", image)
        with self._guard(f"pulling image {image}"):
            client = self._client(_WORK_S)
            registry, _ = docker.auth.resolve_repository_name(repository)
            credentials = docker.auth.get_config_header(client, registry)
            response = client.post(
                self._url(client, "/images/create"),
                params=query,
                headers={"X-Registry-Auth": credentials} if credentials else {},
                stream=True,
                timeout=(_READ_S, _SILENCE_S),
            )
            with response:
                if response.status_code >= 400:
                    raise docker_report.pull_failed(image, _message(response))
                for line in response.iter_lines():
                    unless_cancelled(is_cancelled)  # the engine breaks off what nobody listens to
                    progress = json.loads(line) if line else {}
                    if error := progress.get("error"):
                        raise docker_report.pull_failed(image, str(error))
                    log.debug("pulling image %s: %s", image, progress.get("status"))

    def create(self, name: str, body: Mapping[str, Any], platform: str) -> None:
        """Make a container. Raises NoImage if that is all that is missing, NameTaken if there is one."""
        with self._guard(f"creating container {name}"):
            client: Any = self._client(_WORK_S)  # the SDK does not type this call
            try:
                client.create_container_from_config(body, name, platform or None)
            except docker.errors.ImageNotFound as error:
                raise NoImage(_text(error)) from error
            except docker.errors.APIError as error:
                if error.status_code == HTTPStatus.CONFLICT and "already in use" in _text(error):
                    raise NameTaken(_text(error)) from error
                raise self._start_failed(name, error) from error

    def start(self, name: str) -> None:
        """Start a container that was made."""
        with self._guard(f"starting container {name}"):
            try:
                self._client(_WORK_S).start(name)
            except docker.errors.APIError as error:
                raise self._start_failed(name, error) from error

    def stop(self, name: str, timeout_s: int) -> None:
        """Stop signal, ``timeout_s``, kill; returns when it has ended."""
        with self._guard(f"stopping container {name}"), contextlib.suppress(docker.errors.NotFound):
            self._client(_WORK_S).stop(name, timeout=timeout_s)

    def unpause(self, name: str) -> None:
        """Let a frozen container hear signals."""
        with self._guard(f"waking container {name}"), contextlib.suppress(docker.errors.NotFound):
            self._client(_WORK_S).unpause(name)

    def remove(self, name: str, *, force: bool) -> None:
        """Delete a container and its anonymous volumes; ``force`` kills it first."""
        deadline = time.monotonic() + _REMOVAL_S
        pause_s = 0.05
        with self._guard(f"removing container {name}"):
            while True:
                try:
                    self._client(_WORK_S).remove_container(name, v=True, force=force)
                except docker.errors.NotFound:
                    return
                except docker.errors.APIError as error:
                    # Somebody else's removal of it goes on: the name is free when that is done.
                    if "already in progress" not in _text(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(pause_s)
                else:
                    return

    @contextlib.contextmanager
    def output(
        self, container: Mapping[str, Any], tail_lines: int | str, *, follow: bool, since: float = 0.0
    ) -> Iterator[tuple[Iterator[bytes], Callable[[], None]]]:
        """What an inspected container wrote, both streams, as it comes if ``follow``; and how any thread may end that.

        ``tail_lines`` may be "all"; ``since`` is wall time.
        """
        name = container["Name"].lstrip("/")
        query = {"stdout": 1, "stderr": 1, "tail": tail_lines, "follow": int(follow), "since": f"{since:.6f}"}
        with self._guard(f"reading the output of {name}"):
            client = self._client(_READ_S)
            url = self._url(client, f"/containers/{container['Id']}/logs")
            response = client.get(url, params=query, stream=True, timeout=(_READ_S, None if follow else _READ_S))
            with response, Shutter(response) as shutter:
                if response.status_code == HTTPStatus.NOT_FOUND:
                    yield iter(()), lambda: None
                    return
                if response.status_code >= 400:
                    raise ExecutorError(f"reading the output of {name}: {_message(response)}")
                raw = response.raw.stream(_OUTPUT_BYTES, decode_content=False)
                pieces = raw if container["Config"]["Tty"] else payloads(raw)
                yield pieces, shutter.shut

    def run(self, name: str, argv: Sequence[str], variables: Mapping[str, str], timeout_s: float) -> ScriptResult:
        """Run a command in a container that runs, for ``timeout_s`` at most."""
        deadline = time.monotonic() + timeout_s
        mark = f"{_EXEC_MARK}={new_id()}"
        environment = [*(f"{key}={value}" for key, value in variables.items()), mark]
        with self._guard(f"running a script in {name}"):
            client = self._client(_READ_S)
            exec_id = client.exec_create(name, list(argv), environment=environment)["Id"]
            response = client.post(
                self._url(client, f"/exec/{exec_id}/start"),
                json={"Detach": False, "Tty": False},
                stream=True,
                timeout=(_READ_S, timeout_s + _READ_S),
            )
            with response, Shutter(response) as shutter:
                cut = threading.Timer(max(0.0, deadline - time.monotonic()), self._cut, (name, exec_id, mark, shutter))
                cut.start()
                try:
                    if response.status_code >= 400:
                        return ScriptResult(126, _message(response))
                    output = end_of(payloads(response.raw.stream(4096, decode_content=False)))
                finally:
                    cut.cancel()
            return ScriptResult(self._exit_code(client, exec_id, deadline), output.decode(errors="replace"))

    def _cut(self, name: str, exec_id: str, mark: str, shutter: Shutter) -> None:
        """End a command that takes too long, from within its container (the engine has no call for it)."""
        with contextlib.suppress(ExecutorError), self._guard("cutting a script"):
            client = self._client(_READ_S)
            if client.exec_inspect(exec_id)["Running"]:
                killer = client.exec_create(name, ["sh", "-c", KILL_MARKED, "sh", mark])["Id"]
                client.exec_start(killer, detach=True)
        shutter.shut()

    def _exit_code(self, client: docker.APIClient, exec_id: str, deadline: float) -> int | None:
        """What a command ended with; None if it was killed at its deadline, or runs on behind a closed output."""
        while (found := client.exec_inspect(exec_id))["Running"]:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)
        code: int | None = found["ExitCode"]
        return None if time.monotonic() > deadline and code == 137 else code

    def events(self, filters: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        """Events as lines of JSON as they come, the first (empty) when the stream is open; ends when all is silent.

        One stream at a time: ``close`` ends it.
        """
        with self._guard("following events"):
            client = self._client(_READ_S)
            query = {"filters": json.dumps(filters)}
            url = self._url(client, "/events")
            stream = client.get(url, params=query, stream=True, timeout=(_READ_S, _SILENCE_S))
            with stream, Shutter(stream) as self._stream:
                stream.raise_for_status()
                yield b""
                yield from stream.iter_lines(None)

    def close(self) -> None:
        """Let go of all connections."""
        if self._stream is not None:
            self._stream.shut()
        self._forget_clients()

    def _client(self, timeout_s: int) -> docker.APIClient:
        """A pool of connections whose calls take up to ``timeout_s``."""
        with self._lock:
            client = self._clients.get(timeout_s)
            if client is None:
                self._knock()
                client = docker.APIClient(
                    **self._connection, version="auto", timeout=timeout_s, max_pool_size=_CONNECTIONS
                )
                if self._where.startswith("unix://"):
                    _share_connections(client.get_adapter(client.base_url))
                self._clients[timeout_s] = client
            return client

    def _knock(self) -> None:
        """The SDK leaves a socket open for each connection that fails, so it is only asked when somebody listens."""
        if self._where.startswith("unix://"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(_PING_S)
                probe.connect(self._where.removeprefix("unix://"))

    @property
    def _where(self) -> str:
        return str(self._connection.get("base_url") or _LOCAL)

    @staticmethod
    def _url(client: docker.APIClient, path: str) -> str:
        """For the calls that the SDK would not bound in time."""
        return f"{client.base_url}/v{client.api_version}{path}"

    @contextlib.contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except docker.errors.APIError as error:
            if error.status_code == 400 and "client version" in _text(error):  # another engine than before
                self._forget_clients()
            raise ExecutorError(f"{what}: {_text(error)}") from error
        except requests.exceptions.Timeout as error:
            raise ExecutorError(f"{what}: the Docker engine does not answer in time") from error
        except _TROUBLE as error:
            raise self._unreachable(what, error) from error

    def _unreachable(self, what: str, error: Exception) -> ExecutorError:
        if "Permission denied" in str(error):
            return ExecutorError(
                f"{what}: this user may not use the Docker engine at {self._where}",
                hint="run the agent as root, or as a member of the group docker",
            )
        if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
            return ExecutorError(f"{what}: the Docker engine does not answer in time")
        log.debug("%s: %s", what, error)
        self._forget_clients()
        return ExecutorError(f"{what}: no Docker engine answers at {self._where}", hint="is the Docker engine running?")

    @staticmethod
    def _start_failed(name: str, error: docker.errors.APIError) -> ExecutorError:
        return docker_report.start_failed(name, error.status_code, _text(error))

    def _forget_clients(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


def _share_connections(adapter: Any) -> None:
    """One pool for all calls of a client. The SDK has one for each URL, and each of them keeps a connection open."""
    pool_of = adapter.get_connection
    adapter.get_connection = lambda url, proxies=None: pool_of("http+docker://localhost")  # noqa: ARG005 - the SDK's


def _text(error: docker.errors.APIError) -> str:
    explanation: Any = error.explanation
    text = explanation.decode(errors="replace") if isinstance(explanation, bytes) else str(explanation or error)
    return text.strip()


def _message(response: requests.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.text.strip()
