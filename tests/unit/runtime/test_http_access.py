"""Who may ask what over HTTP, and where a server refuses to start."""

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from reconciler.errors import UsageError
from reconciler.runtime.http import HttpServer, Request, Response, Route, daemon_routes, json_response
from reconciler.runtime.http_access import Access, Guard, Tls, access, is_local, is_loopback
from tests.support.consul import consul_binary

MUTUAL = Tls(Path("cert"), Path("key"), Path("ca"))
SERVER_ONLY = Tls(Path("cert"), Path("key"))


def page(_: Request) -> Response:
    return json_response("here")


ROUTES = [
    *daemon_routes([]),
    Route("GET", "/v1/status", page),
    Route("PUT", "/v1/checks", page, Guard.LOCAL),
]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    Access().check_bind(host, 8231, set(Guard))


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.1.2.3", "fleet.example.org"])
def test_elsewhere_a_token_or_client_certificates_are_needed(host: str) -> None:
    for enough in (Access(b"token"), Access(tls=MUTUAL)):
        enough.check_bind(host, 8231, set(Guard))
    for too_little in (Access(), Access(tls=SERVER_ONLY)):
        too_little.check_bind(host, 8232, {Guard.OPEN})
        with pytest.raises(UsageError, match="who may read logs") as caught:
            too_little.check_bind(host, 8231, set(Guard))
        assert "--http-token-file" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "allowed"),
    [("Bearer token", True), ("bearer token", True), ("Bearer tokens", False), ("token", False), ("Basic token", False),
     ("Bearer", False), ("Bearer t\xf6ken", False), (None, False)],
)  # fmt: skip
def test_guarded_pages_need_the_very_token(header: str | None, allowed: bool) -> None:
    headers = {} if header is None else {"Authorization": header}
    asked = Access(b"token", MUTUAL)
    assert asked.allows(Guard.TOKEN, headers, is_local=True, has_certificate=True) is allowed
    assert asked.allows(Guard.LOCAL, headers, is_local=False, has_certificate=True) is allowed
    assert asked.allows(Guard.LOCAL, headers, is_local=True, has_certificate=False)
    assert asked.allows(Guard.OPEN, headers, is_local=False, has_certificate=False)


def test_without_a_token_a_certificate_of_the_client_ca_is_enough() -> None:
    asked = Access(tls=MUTUAL)
    assert asked.allows(Guard.TOKEN, {}, is_local=False, has_certificate=True)
    assert not asked.allows(Guard.TOKEN, {}, is_local=True, has_certificate=False)


def test_this_machine_is_loopback_or_the_address_that_was_called() -> None:
    assert is_local("127.0.0.1", "127.0.0.1")
    assert is_local("10.0.0.5", "10.0.0.5")
    assert not is_local("10.0.0.6", "10.0.0.5")


def test_tokens_come_from_a_file_or_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("of the file\n", encoding="utf-8")
    environ = {"RECONCILER_HTTP_TOKEN": "of the environment"}
    assert access(path, None, None, None, environ).token == b"of the file"
    assert access(None, None, None, None, environ).token == b"of the environment"
    assert access(None, None, None, None, {}) == Access()
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(UsageError, match="is empty"):
        access(path, None, None, None, {})
    with pytest.raises(UsageError, match="both --http-cert and --http-key"):
        access(None, path, None, None, {})


@contextmanager
def serving(host: str, asked: Access) -> Iterator[HttpServer]:
    server = HttpServer(host, 0, ROUTES, asked)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_a_server_with_a_token_asks_for_it_on_v1_and_shows_its_health_to_all() -> None:
    with serving("127.0.0.1", Access(b"token")) as server:

        def status(method: str, path: str, token: str = "") -> int:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return urllib3.request(method, server.url + path, headers=headers, retries=False, timeout=20).status

        assert [status("GET", path) for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
        assert [status("GET", "/v1/status", token) for token in ("", "wrong", "token")] == [401, 401, 200]
        assert status("PUT", "/v1/checks") == 200, "tasks of this machine report without it"


@pytest.mark.consul
def test_over_tls_a_client_shows_its_certificate_and_local_tasks_need_none(tmp_path: Path) -> None:
    for what in (["ca", "create"], ["cert", "create", "-server"], ["cert", "create", "-client"]):
        subprocess.run([consul_binary(), "tls", *what], cwd=tmp_path, check=True, capture_output=True)
    ca = tmp_path / "consul-agent-ca.pem"
    certificate, key = tmp_path / "dc1-server-consul-0.pem", tmp_path / "dc1-server-consul-0-key.pem"
    client = (str(tmp_path / "dc1-client-consul-0.pem"), str(tmp_path / "dc1-client-consul-0-key.pem"))
    with serving("0.0.0.0", Access(tls=Tls(certificate, key, ca))) as server:
        url = f"https://127.0.0.1:{server.port}/v1/status"
        with urllib3.PoolManager(ca_certs=str(ca), cert_file=client[0], key_file=client[1], retries=False) as pool:
            assert pool.request("GET", url, timeout=20).json() == "here"
        with (
            urllib3.PoolManager(ca_certs=str(ca), retries=False) as pool,
            pytest.raises((urllib3.exceptions.HTTPError, ssl.SSLError)),
        ):
            pool.request("GET", url, timeout=20)
        plain = f"http://127.0.0.1:{server.port}"
        assert urllib3.request("PUT", f"{plain}/v1/checks", retries=False, timeout=20).status == 200
        assert urllib3.request("GET", f"{plain}/v1/status", retries=False, timeout=20).status == 401


def test_a_broken_certificate_is_said_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "cert"
    path.write_text("nonsense", encoding="utf-8")
    with pytest.raises(UsageError, match="no TLS with"):
        HttpServer("127.0.0.1", 0, ROUTES, Access(tls=Tls(path, path)))
