"""What an engine's answers mean; the texts are engines' own, of several versions."""

from typing import Any

import pytest

from reconciler.executors import docker_config
from reconciler.executors.docker_report import observed, pull_failed, start_failed
from reconciler.executors.docker_streams import end_of, payloads

LABELS = {
    docker_config.STORE: "store",
    docker_config.MACHINE: "machine",
    docker_config.TASK: "c-web-1-0",
    docker_config.ISSUE: "7",
    docker_config.CONTAINER: "main",
    docker_config.DIGEST: "digest",
    docker_config.ATTEMPT: "2",
}
OUT_OF_MEMORY = "killed because it used more memory than it may"
PORT_TAKEN = (
    "driver failed programming external connectivity on endpoint x: "
    "Bind for 127.0.0.1:80 failed: port is already allocated"
)
CREATED = "2024-05-01T10:00:00.123456789Z"


@pytest.mark.parametrize(
    ("state", "running", "exit_code", "reason"),
    [
        ({"Status": "running", "ExitCode": 0}, True, None, ""),
        ({"Status": "paused", "ExitCode": 0}, True, None, ""),
        ({"Status": "created", "ExitCode": 0}, False, None, "its start was cut off"),
        ({"Status": "created", "Error": "no such file"}, False, None, "could not be started: no such file"),
        ({"Status": "exited", "ExitCode": 0}, False, 0, "ended with exit code 0"),
        ({"Status": "exited", "ExitCode": 3}, False, 3, "ended with exit code 3"),
        ({"Status": "exited", "ExitCode": 137}, False, 137, "killed by SIGKILL"),
        ({"Status": "exited", "ExitCode": 143}, False, 143, "killed by SIGTERM"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, False, 137, OUT_OF_MEMORY),
        ({"Status": "dead", "ExitCode": 1, "Error": "device is busy"}, False, 1, "device is busy"),
        ({"Status": "removing", "ExitCode": 1}, False, 1, "ended with exit code 1"),
    ],
)  # fmt: skip
def test_a_state_is_told_in_our_terms(state: dict[str, Any], running: bool, exit_code: int | None, reason: str) -> None:
    seen = observed(LABELS, {"StartedAt": "2024-05-01T10:00:05.5+02:00", **state}, CREATED)
    assert seen is not None
    assert (seen.running, seen.exit_code, seen.reason) == (running, exit_code, reason)
    assert (seen.owner.store_id, seen.ref.issue, seen.attempt) == ("store", 7, 2)


def test_the_start_is_wall_time_and_that_of_the_making_until_there_is_one() -> None:
    seen = observed(LABELS, {"Status": "running", "StartedAt": CREATED}, CREATED)
    assert seen is not None
    assert seen.started_at == pytest.approx(1714557600.123456)
    seen = observed(LABELS, {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}, CREATED)
    assert seen is not None
    assert seen.started_at == pytest.approx(1714557600.123456)


@pytest.mark.parametrize("broken", [{}, {docker_config.ISSUE: "seven"}, {docker_config.STORE: None}])
def test_labels_that_are_not_ours_in_full_are_nobodys(broken: dict[str, str | None]) -> None:
    labels = {name: value for name, value in {**LABELS, **broken}.items() if value is not None} if broken else {}
    assert observed(labels, {"Status": "running"}, CREATED) is None


@pytest.mark.parametrize(
    ("message", "why", "permanent"),
    [
        ("manifest for web:9 not found: manifest unknown: manifest unknown", "there is no such image", True),
        ("invalid reference format: repository name must be lowercase", "there is no such image", True),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "there is no such image", True),
        ("pull access denied for web, repository does not exist or may require 'docker login'", "refuses", True),
        ("unauthorized: authentication required", "refuses", True),
        ("Head https://r/v2/: no basic auth credentials", "refuses", True),
        ("write /var/lib/docker/tmp/x: no space left on device", "no space left", False),
        ("Get https://r/v2/: dial tcp: lookup r: no such host", "can't be reached", False),
        ("Get https://r/v2/: dial tcp 10.0.0.1:443: connect: connection refused", "can't be reached", False),
        ("net/http: request canceled (Client.Timeout exceeded while awaiting headers)", "can't be reached", False),
        ("Get https://r/v2/: x509: certificate signed by unknown authority", "can't be reached", False),
        ("toomanyrequests: You have reached your pull rate limit", "can't be reached", False),
        ("received unexpected HTTP status: 503 Service Unavailable", "can't be reached", False),
        ("something nobody has seen yet", "something nobody", False),
    ],
)  # fmt: skip
def test_why_a_pull_failed(message: str, why: str, permanent: bool) -> None:
    error = pull_failed("web:9", message)
    assert why in error.message
    assert error.permanent is permanent


@pytest.mark.parametrize(
    ("status", "message", "why", "permanent"),
    [
        (500, PORT_TAKEN, "port is taken", False),
        (500, "failed to listen on TCP socket: address already in use", "port is taken", False),
        (500, "error creating overlay mount: no space left on device", "no space left", False),
        (400, 'OCI runtime create failed: exec: "/no": stat /no: no such file or directory: unknown', "/no", True),
        (500, 'OCI runtime create failed: exec: "x": executable file not found in $PATH: unknown', "not found", True),
        (500, "unable to find user nosuch: no matching entries in passwd file", "nosuch", True),
        (400, "Unknown runtime specified other", "Unknown runtime", True),
        (500, "context deadline exceeded", "deadline", False),
        (None, "no answer", "no answer", False),
    ],
)  # fmt: skip
def test_why_a_start_failed(status: int | None, message: str, why: str, permanent: bool) -> None:
    error = start_failed("c-web-1-0", status, message)
    assert why in error.message
    assert error.permanent is permanent


def frame(payload: bytes, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 1000])
def test_output_is_put_together_from_frames_however_they_are_cut(size: int) -> None:
    raw = frame(b"one\n") + frame(b"trouble\n", 2) + frame(b"") + frame(b"x" * 300) + frame(b"end\n")
    chunks = [raw[start : start + size] for start in range(0, len(raw), size)]
    assert end_of(payloads(chunks)) == b"one\ntrouble\n" + b"x" * 300 + b"end\n"
    assert end_of(payloads(chunks), most_bytes=6) == b"xxend\n"


def test_output_that_breaks_off_is_what_came() -> None:
    assert end_of(payloads([frame(b"hello")[:-2]])) == b"hel"
    assert end_of(payloads([])) == b""
    assert end_of(payloads([b"\1\0\0"])) == b""
