"""What the engine says, in our terms: the state of a container, and what an error means. Pure; ``docker`` asks."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from reconciler.errors import ExecutorError
from reconciler.executors.docker_config import marks_of_labels
from reconciler.executors.interface import Observed
from reconciler.executors.naming import Marks
from reconciler.model.ports import HostPort

_RUNNING: Final = ("running", "paused", "restarting")
_NEVER: Final = "0001-01-01"
_NO_IMAGE: Final = re.compile(
    r"no such image|manifest unknown|manifest for .* not found|invalid reference format|not found: manifest"
    r"|no matching manifest",
    re.IGNORECASE,
)
_DENIED: Final = re.compile(
    r"\bdenied\b|unauthorized|authentication required|no basic auth credentials|access forbidden",
    re.IGNORECASE,
)
_NO_SPACE: Final = re.compile(r"no space left on device", re.IGNORECASE)
_NETWORK: Final = re.compile(
    r"dial tcp|no such host|i/o timeout|timeout|connection re(fused|set)|tls handshake|x509|temporary failure"
    r"|network is unreachable|toomanyrequests|EOF|server misbehaving|bad gateway|service unavailable",
    re.IGNORECASE,
)
_PORT_TAKEN: Final = re.compile(r"port is already allocated|address already in use", re.IGNORECASE)
_WHICH_PORT: Final = re.compile(r"[Bb]ind for \S+:(\d+) failed|listen (tcp|udp)\S* \S+:(\d+): bind")
_CANNOT_RUN: Final = re.compile(
    r"executable file not found|exec: .*: (no such file or directory|permission denied)|exec format error"
    r"|no command specified|unable to find user|is a directory: unknown",
    re.IGNORECASE,
)


class Listed(msgspec.Struct, frozen=True):
    """A container in the engine's list. ``created_at`` is wall time; ``marks`` None: it is nobody's."""

    id: str
    state: str
    created_at: float
    marks: Marks | None


def listed(summary: Mapping[str, Any]) -> Listed:
    """An entry of ``GET /containers/json``."""
    marks = marks_of_labels(summary["Labels"] or {})
    return Listed(summary["Id"], summary["State"], float(summary["Created"]), marks)


def not_looked_at(marks: Marks, entry: Listed) -> Observed:
    """What the list alone says of a container: not since when it runs, nor how it ended."""
    running = entry.state in _RUNNING
    return Observed(
        ref=marks.ref,
        owner=marks.owner,
        digest=marks.digest,
        attempt=marks.attempt,
        fingerprint=marks.values,
        running=running,
        started_at=entry.created_at,
        ended_at=0.0 if running else entry.created_at,
    )


def observed(labels: dict[str, str], state: dict[str, Any], created: str) -> Observed | None:
    """A container as ``GET /containers/<id>/json`` shows it; None if its labels are not ours."""
    marks = marks_of_labels(labels)
    if marks is None:
        return None
    status = str(state.get("Status", ""))
    running = status in _RUNNING
    never = status == "created"
    started = created if never else str(state.get("StartedAt") or created)
    return Observed(
        ref=marks.ref,
        owner=marks.owner,
        digest=marks.digest,
        attempt=marks.attempt,
        fingerprint=marks.values,
        running=running,
        exit_code=None if running or never else int(state.get("ExitCode", 0)),
        started_at=_seconds(started),
        ended_at=0.0 if running else _seconds(created if never else str(state.get("FinishedAt") or started)),
        reason="" if running else _why_ended(state, never=never),
    )


def _why_ended(state: dict[str, Any], *, never: bool) -> str:
    error = str(state.get("Error") or "")
    if never:
        return f"could not be started: {error}" if error else "its start was cut off"
    if state.get("OOMKilled"):
        return "killed because it used more memory than it may"
    if error:
        return error
    code = int(state.get("ExitCode", 0))
    return {137: "killed by SIGKILL", 143: "killed by SIGTERM"}.get(code, f"ended with exit code {code}")


def pull_failed(image: str, message: str) -> ExecutorError:
    """Why an image could not be fetched. Permanent only if trying again would change nothing."""
    what = f"image {image} can't be pulled"
    if _NO_SPACE.search(message):
        return ExecutorError(f"{what}: no space left on this host", hint="docker system prune frees some")
    if _DENIED.search(message):
        return ExecutorError(
            f"{what}: the registry refuses, or has no such repository ({message})",
            hint="`docker login` on this host, as the agent's user, if it is private",
            permanent=True,
        )
    if _NO_IMAGE.search(message):
        return ExecutorError(f"{what}: there is no such image ({message})", permanent=True)
    if _NETWORK.search(message):
        return ExecutorError(f"{what}: the registry can't be reached ({message})")
    return ExecutorError(f"{what}: {message}")


def start_failed(name: str, status: int | None, message: str) -> ExecutorError:
    """Why a container could not be made or started; ``status`` is that of HTTP."""
    what = f"{name} can't be started"
    if _PORT_TAKEN.search(message):
        return ExecutorError(f"{what}: its port is taken by something else on this host ({message})")
    if _NO_SPACE.search(message):
        return ExecutorError(f"{what}: no space left on this host", hint="docker system prune frees some")
    permanent = status == 400 or _CANNOT_RUN.search(message) is not None
    return ExecutorError(f"{what}: {message}", permanent=permanent)


def taken_port(message: str) -> HostPort | None:
    """The port of the host that somebody else has, if a start failed for that and the engine says which."""
    found = _WHICH_PORT.search(message) if _PORT_TAKEN.search(message) else None
    return HostPort(int(found[1] or found[3]), found[2] or "tcp") if found else None


def _seconds(stamp: str) -> float:
    """RFC 3339 with nanoseconds as seconds since 1970; 0 for none."""
    if not stamp or stamp.startswith(_NEVER):
        return 0.0
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0
