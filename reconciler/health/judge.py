"""What check results come to: the pure part of health. Both providers and the agent's script runner call it.

Consul's rules: a script passes on exit 0, warns on 1; HTTP passes on 2xx, warns on 429; the worst check counts.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from reconciler.health.interface import Reading
from reconciler.model.durations import parse_duration
from reconciler.model.manifests import Check
from reconciler.model.names import check_id
from reconciler.model.task import Health, Task

INTERVAL_S: Final = 10.0
TIMEOUT_S: Final = 10.0
"""Of a check that does not say; the timeout is Consul's own default."""
OUTPUT_CHARS: Final = 4096

_BADNESS: Final[Mapping[Health, int]] = {
    Health.PASSING: 0,
    Health.WARNING: 1,
    Health.UNKNOWN: 2,
    Health.CRITICAL: 3,
}


def combine(readings: Iterable[Reading]) -> Reading:
    """The worst of a task's checks. No check: passing. One that has no result yet makes the task unknown, unless
    another is critical.
    """
    return max(readings, key=lambda reading: _BADNESS[reading.health], default=Reading(Health.PASSING))


def script_reading(exit_code: int | None, output: str, timeout_s: float) -> Reading:
    """What a script's exit says; None: it was cut at its timeout."""
    if exit_code is None:
        return Reading(Health.CRITICAL, _cut(f"the script took longer than {timeout_s:g} s. {output}".rstrip()))
    health = {0: Health.PASSING, 1: Health.WARNING}.get(exit_code, Health.CRITICAL)
    return Reading(health, _cut(output.strip() or f"exit code {exit_code}"))


def http_reading(status: int, reason: str, body: str, method: str, url: str) -> Reading:
    """What an HTTP answer says."""
    health = Health.WARNING if status == 429 else Health.PASSING if 200 <= status <= 299 else Health.CRITICAL
    return Reading(health, _cut(f"HTTP {method} {url}: {status} {reason} {body}".rstrip()))


class Trail(msgspec.Struct, frozen=True):
    """A check's state: what it is said to be, and the results in a row that may change that."""

    reading: Reading = Reading(Health.UNKNOWN)
    good_in_a_row: int = 0
    bad_in_a_row: int = 0

    def after(self, result: Reading, check: Check) -> "Trail":
        """The state after one more result: it changes the verdict once enough of its kind came in a row."""
        if result.health is Health.CRITICAL:
            bad = self.bad_in_a_row + 1
            decided = bad >= max(1, check.failures_before_critical)
            return Trail(result if decided else self.reading, 0, bad)
        good = self.good_in_a_row + 1
        decided = good >= max(1, check.success_before_passing)
        return Trail(result if decided else self.reading, good, 0)


def interval_s(check: Check) -> float:
    """How often a check runs."""
    return parse_duration(check.interval) if check.interval else INTERVAL_S


def timeout_s(check: Check) -> float:
    """How long a run of a check may take."""
    return parse_duration(check.timeout) if check.timeout else TIMEOUT_S


def script_ttl_s(check: Check) -> float:
    """How long Consul believes the last result of a script that we run: an agent may restart in that time."""
    return max(60.0, 3 * interval_s(check) + timeout_s(check))


def check_name(task_id: str, position: int, check: Check) -> str:
    """What people see of a check."""
    if check.name:
        return check.name
    kind = "http" if check.http else "tcp" if check.tcp else "script" if check.script else "ttl"
    return f"{kind} check {position} of {task_id}"


def check_ids(task_id: str, checks: Iterable[Check]) -> dict[str, tuple[int, Check]]:
    """The checks of a task by their id, with their positions."""
    return {check_id(task_id, position): (position, check) for position, check in enumerate(checks)}


def with_port(check: Check, task: Task) -> Check:
    """``check`` as it runs: the port that it asks for added to the host of its URL or address."""
    port = task.named_ports.get(check.port, 0) if check.port else task.port if check.add_provided_port else 0
    if not port:
        return check
    changed: dict[str, str] = {}
    if check.http:
        changed["http"] = _url_with_port(check.http, port)
    if check.tcp:
        host, colon, tail = check.tcp.rpartition(":")
        own_port = bool(colon) and tail.isdigit() and (":" not in host or host.endswith("]"))
        changed["tcp"] = f"{_bracketed(host if own_port else check.tcp)}:{port}"
    return msgspec.structs.replace(check, **changed)


def _url_with_port(url: str, port: int) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL: this check fails by itself, and keeps no other from running
        return url
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}{_bracketed(parts.hostname or '')}:{port}"))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _cut(output: str) -> str:
    return output[:OUTPUT_CHARS]
