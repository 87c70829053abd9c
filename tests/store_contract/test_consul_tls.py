"""Consul over TLS, with the variables that Consul's own tools read."""

import subprocess
import threading
from pathlib import Path

import pytest

from reconciler.errors import StoreUnreachable
from reconciler.store.connect import default_url, open_store
from reconciler.store.interface import Committed, Put
from tests.support.consul import ConsulAgent, StartConsul, consul_binary, free_ports

pytestmark = pytest.mark.consul

CA = "consul-agent-ca.pem"


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with an authority and certificates of a server and a client, made by Consul itself."""
    for what in (["ca", "create"], ["cert", "create", "-server"], ["cert", "create", "-client"]):
        subprocess.run([consul_binary(), "tls", *what], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.fixture
def https(certificates: Path, start_consul: StartConsul) -> tuple[ConsulAgent, str]:
    """An agent that wants a client's certificate, and its host and port for HTTPS."""
    (port,) = free_ports("127.0.0.1", 1)
    agent = start_consul(
        config={
            "verify_incoming_https": True,
            "ca_file": str(certificates / CA),
            "cert_file": str(certificates / "dc1-server-consul-0.pem"),
            "key_file": str(certificates / "dc1-server-consul-0-key.pem"),
            "addresses": {"https": "127.0.0.1"},
            "ports": {"https": port},
        }
    )
    return agent, f"127.0.0.1:{port}"


def test_consuls_own_variables_open_a_store_over_tls(
    https: tuple[ConsulAgent, str], certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, hostport = https
    environ = {
        "CONSUL_HTTP_ADDR": f"https://{hostport}",
        "CONSUL_CACERT": str(certificates / CA),
        "CONSUL_CLIENT_CERT": str(certificates / "dc1-client-consul-0.pem"),
        "CONSUL_CLIENT_KEY": str(certificates / "dc1-client-consul-0-key.pem"),
    }
    assert default_url(environ) == f"consul+https://{hostport}"

    store = open_store(None, environ=environ)
    assert store.commit([Put("state/a", b"1")]) == Committed()
    entry = store.get("state/a")
    assert entry is not None
    assert store.url == f"consul+https://{hostport}"
    threading.Timer(0.3, store.close).start()
    with pytest.raises(StoreUnreachable, match="closed"):
        store.wait("state/", store.list("state/").index, 30)

    for missing, message in (("CONSUL_CACERT", "no trusted TLS connection"), ("CONSUL_CLIENT_CERT", "certificate")):
        lacking = {name: value for name, value in environ.items() if name != missing}
        if missing == "CONSUL_CLIENT_CERT":
            del lacking["CONSUL_CLIENT_KEY"]
        store = open_store(None, environ=lacking)
        with pytest.raises(StoreUnreachable, match=message):
            store.get("state/a")
        store.close()

    unverified = {name: value for name, value in environ.items() if name != "CONSUL_CACERT"}
    store = open_store(None, environ=unverified | {"CONSUL_HTTP_SSL_VERIFY": "false"})
    assert store.get("state/a") == entry
    store.close()

    monkeypatch.setenv("SSL_CERT_FILE", environ.pop("CONSUL_CACERT"))  # as if it were one of the system's authorities
    store = open_store(None, environ=environ)
    assert store.get("state/a") == entry
    store.close()


def test_a_name_that_is_not_in_the_certificate_is_not_trusted_unless_told(
    https: tuple[ConsulAgent, str], certificates: Path
) -> None:
    _, hostport = https
    environ = {
        "CONSUL_CACERT": str(certificates / CA),
        "CONSUL_CLIENT_CERT": str(certificates / "dc1-client-consul-0.pem"),
        "CONSUL_CLIENT_KEY": str(certificates / "dc1-client-consul-0-key.pem"),
    }
    other = open_store(f"consul+https://{hostport}", environ=environ | {"CONSUL_TLS_SERVER_NAME": "elsewhere"})
    with pytest.raises(StoreUnreachable, match="no trusted TLS connection"):
        other.get("state/a")
    other.close()
    named = open_store(f"consul+https://{hostport}", environ=environ | {"CONSUL_TLS_SERVER_NAME": "server.dc1.consul"})
    assert named.get("state/a") is None
    named.close()


def test_http_to_an_https_port_says_so(https: tuple[ConsulAgent, str]) -> None:
    _, hostport = https
    store = open_store(f"consul://{hostport}", environ={})
    with pytest.raises(Exception, match="HTTPS server") as caught:
        store.get("state/a")
    assert "consul+https" in str(caught.value)
    store.close()
