"""A URL and Consul's own variables lead to the right store, and mistakes are explained."""

import re
from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.store.connect import consul_agent, default_url, open_store
from reconciler.store.memory import MemoryStore
from reconciler.store.sqlite import SqliteStore

SECRET = "6d1f5a0e-0000-4000-8000-00c0ffee0000"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "consul://127.0.0.1:8500"),
        ({"CONSUL_HTTP_ADDR": ""}, "consul://127.0.0.1:8500"),
        ({"CONSUL_HTTP_ADDR": "consul.example:8500"}, "consul://consul.example:8500"),
        ({"CONSUL_HTTP_ADDR": "http://consul.example:8500/"}, "consul://consul.example:8500"),
        ({"CONSUL_HTTP_ADDR": "https://consul.example:8501"}, "consul+https://consul.example:8501"),
        ({"CONSUL_HTTP_ADDR": "consul.example:8501", "CONSUL_HTTP_SSL": "true"}, "consul+https://consul.example:8501"),
        ({"CONSUL_HTTP_ADDR": "http://consul.example:8500", "CONSUL_HTTP_SSL": "1"}, "consul://consul.example:8500"),
        ({"RECONCILER_STORE": "sqlite:///a/b.db", "CONSUL_HTTP_ADDR": "x:1"}, "sqlite:///a/b.db"),
    ],
)
def test_without_a_url_it_goes_where_consuls_own_tools_go(environ: dict[str, str], url: str) -> None:
    assert default_url(environ) == url


@pytest.mark.parametrize(
    ("url", "environ", "shown"),
    [
        ("consul://10.0.0.1:8500", {}, "consul://10.0.0.1:8500"),
        ("consul://10.0.0.1", {}, "consul://10.0.0.1:8500"),
        ("consul://10.0.0.1/", {}, "consul://10.0.0.1:8500"),
        ("consul://10.0.0.1:8500/team-a", {}, "consul://10.0.0.1:8500/team-a"),
        ("consul://10.0.0.1:8500/team-a/x/", {}, "consul://10.0.0.1:8500/team-a/x"),
        ("consul+http://10.0.0.1:1/x", {}, "consul://10.0.0.1:1/x"),
        ("consul+https://10.0.0.1", {}, "consul+https://10.0.0.1:8501"),
        ("consul://10.0.0.1", {"CONSUL_HTTP_SSL": "true"}, "consul+https://10.0.0.1:8501"),
        ("consul://[::1]:8500/x", {}, "consul://[::1]:8500/x"),
        ("consul://10.0.0.1:8500", {"CONSUL_HTTP_ADDR": "10.9.9.9:1"}, "consul://10.0.0.1:8500"),
        (None, {"CONSUL_HTTP_ADDR": "10.9.9.9:1"}, "consul://10.9.9.9:1"),
        (None, {"RECONCILER_STORE": "consul://10.9.9.9:1/p"}, "consul://10.9.9.9:1/p"),
        ("memory:", {}, "memory:"),
    ],
)
def test_a_store_says_where_it_is(url: str | None, environ: dict[str, str], shown: str) -> None:
    store = open_store(url, environ=environ)
    assert store.url == shown
    store.close()


def test_a_sqlite_url_names_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url, path in (
        (f"sqlite://{tmp_path}/a.db", tmp_path / "a.db"),
        (f"sqlite:///{tmp_path}/b.db", tmp_path / "b.db"),
        ("sqlite:sub/c.db", tmp_path / "sub/c.db"),
        (f"sqlite://{tmp_path}/with%20space.db", tmp_path / "with space.db"),
        (f"sqlite://{tmp_path}/100%25%3F%23.db", tmp_path / "100%?#.db"),
    ):
        store = open_store(url, environ={})
        assert isinstance(store, SqliteStore)
        assert path.is_file(), url
        again = open_store(store.url, environ={})
        assert again.url == store.url
        again.close()
        store.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("etcd://127.0.0.1:2379", r"etcd://127.0.0.1:2379 is no store.*\n.*consul://HOST:PORT"),
        ("127.0.0.1:8500", "is no store"),
        ("/var/lib/store.db", "is no store"),
        ("consul://", "names no host.*\n.*consul://127.0.0.1:8500"),
        ("consul://host:port", "port"),
        ("consul://host:99999", "ort"),
        ("consul://host:8500/a//b", "empty part"),
        ("sqlite://dev.db", r"names a host \(dev.db\).*\n.*sqlite:///dev.db for /dev.db, or sqlite:dev.db"),
        ("sqlite://data/dev.db", r"sqlite:data/dev.db for a path from here"),
        ("sqlite:", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///var/lib/", "names no file"),
    ],
)
def test_a_url_that_makes_no_sense_is_explained(url: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(url, environ={})
    assert re.search(message, str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"consul://{SECRET}@127.0.0.1:8500",
        f"consul://user:{SECRET}@127.0.0.1:8500/x",
        f"consul://127.0.0.1:8500?token={SECRET}",
        f"consul://127.0.0.1:8500/x#{SECRET}",
    ],
)
def test_a_secret_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(url, environ={})
    assert SECRET not in str(caught.value)
    assert "CONSUL_HTTP_TOKEN" in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"CONSUL_HTTP_SSL": "yes please"}, "CONSUL_HTTP_SSL is 'yes please'"),
        ({"CONSUL_CACERT": "/no/such/file"}, "CONSUL_CACERT is /no/such/file, which can't be read: No such file"),
        ({"CONSUL_HTTP_TOKEN_FILE": "/no/such/file"}, "CONSUL_HTTP_TOKEN_FILE is /no/such/file"),
        ({"CONSUL_HTTP_TOKEN": "two\nlines"}, "characters that no token has"),
        ({"CONSUL_HTTP_ADDR": "unix:///var/run/consul.sock"}, "Unix socket"),
    ],
)
def test_a_variable_that_makes_no_sense_is_explained(environ: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(None, environ=environ)
    assert message in str(caught.value)


def test_a_consul_is_not_contacted_before_it_is_used() -> None:
    store = open_store("consul://192.0.2.1:8500", environ={})
    assert consul_agent(store) is not None
    store.close()


def test_other_stores_have_no_consul_agent() -> None:
    store = open_store("memory:", environ={})
    assert isinstance(store, MemoryStore)
    assert consul_agent(store) is None
