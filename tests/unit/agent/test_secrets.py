"""Values are read from where the host's operator put them, and from nowhere else."""

import os
from pathlib import Path

import msgspec
import pytest

from reconciler.agent.outdated import changed
from reconciler.agent.secrets import MOST_VARIABLE_BYTES, Secrets, SecretsAway, hidden
from reconciler.agent.settings import AgentSettings
from reconciler.errors import ExecutorError, StoreDenied, StoreError, StoreUnreachable
from reconciler.executors.interface import Values
from reconciler.model.manifests import BashContainer, BashExecutor
from reconciler.model.secrets import EnvFrom, Secret
from reconciler.store.interface import Entry, Put
from reconciler.store.memory import MemorySpace, MemoryStore
from tests.support.clock import HandClock


class FailingStore(MemoryStore):
    """A store whose reads fail while ``error`` says so."""

    error: StoreError | None = None

    def get(self, key: str) -> Entry | None:
        if self.error is not None:
            raise self.error
        return super().get(key)


class Host:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FailingStore(MemorySpace())
        (folder / "run").mkdir()
        (folder / "secrets").mkdir()
        self.settings = AgentSettings(
            host="h1", address="127.0.0.1", runtime_dir=folder / "run", secrets_dir=folder / "secrets"
        )
        self.secrets = self.agent()

    def agent(self) -> Secrets:
        """As after a restart."""
        return Secrets(self.store, self.settings, HandClock())

    def put(self, name: str, value: bytes) -> None:
        self.store.commit([Put(f"secrets/{name}", value)])

    def env(self, **fields: str) -> str:
        """The value of a variable."""
        return self.secrets.values(container(EnvFrom(name="X", **fields))).environment["X"]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def container(*wanted: EnvFrom | Secret) -> BashContainer:
    executor = BashExecutor(
        start=("true",),
        env_from=tuple(each for each in wanted if isinstance(each, EnvFrom)),
        secrets=tuple(each for each in wanted if isinstance(each, Secret)),
    )
    return BashContainer(name="main", executor=executor)


def test_a_value_comes_from_the_store_a_file_or_the_agents_environment(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.put("web/db", b"from the store\n")
    (host.folder / "secrets" / "db").write_bytes(b"from a file\r\n")
    monkeypatch.setenv("RECONCILER_SECRET_DB", "from the environment")
    assert host.env(kv="web/db") == "from the store"
    assert host.env(file="db") == "from a file"
    assert host.env(agent_env="DB") == "from the environment"
    assert host.secrets.values(container(Secret(name="db", kv="web/db"))).files == {"db": b"from the store\n"}


def test_what_is_missing_is_named_with_its_place_unless_it_is_optional(host: Host) -> None:
    for fields, place in (
        ({"kv": "web/db"}, "key secrets/web/db"),
        ({"file": "db"}, f"file {host.folder}/secrets/db"),
        ({"agent_env": "DB"}, "variable RECONCILER_SECRET_DB in the agent's environment"),
    ):
        with pytest.raises(ExecutorError, match=f"there is no {place}"):
            host.secrets.values(container(Secret(name="db", **fields)))
        values = host.secrets.values(container(Secret(name="db", **fields, optional=True)))
        assert values.files == {}


def test_no_file_outside_of_the_folder_is_read_whatever_links_there_are(host: Host) -> None:
    outside = host.folder / "outside"
    outside.write_text("host key")
    secrets = host.folder / "secrets"
    (secrets / "link").symlink_to(outside)
    (secrets / "inner").symlink_to("plain")
    (secrets / "plain").write_text("mine")
    os.mkfifo(secrets / "pipe")
    assert host.env(file="inner") == "mine"
    for name, why in (("link", "leads out of"), ("pipe", "no plain file")):
        with pytest.raises(ExecutorError, match=why):
            host.env(file=name)


def test_what_no_variable_can_hold_is_refused_without_showing_it(host: Host) -> None:
    for value, why in (
        (b"\xff\xfecanary", "not text"),
        (b"canary\0", "not text"),
        (b"x" * MOST_VARIABLE_BYTES + b"canary", "too long"),
    ):
        host.put("web/db", value)
        with pytest.raises(ExecutorError, match=why) as caught:
            host.env(kv="web/db")
        assert "canary" not in str(caught.value)
        assert host.secrets.values(container(Secret(name="db", kv="web/db"))).files == {"db": value}


def test_a_store_that_is_away_is_told_apart_from_one_that_denies(host: Host) -> None:
    host.put("web/db", b"known")
    wanted = container(Secret(name="db", kv="web/db"))
    host.store.error = StoreDenied("Permission denied")
    with pytest.raises(ExecutorError, match="may not read") as caught:
        host.secrets.values(wanted)
    assert not isinstance(caught.value, SecretsAway)
    host.store.error = StoreUnreachable("nobody answers")
    with pytest.raises(SecretsAway, match="nobody answers"):
        host.secrets.values(wanted)
    host.store.error = None
    host.secrets.values(wanted)
    host.store.error = StoreUnreachable("nobody answers")
    assert host.secrets.values(wanted).files == {"db": b"known"}, "what dies meanwhile starts with what was last known"


def test_a_look_tells_what_has_changed_since_a_start_also_to_the_next_agent(host: Host) -> None:
    host.put("web/db", b"one")
    wanted = container(Secret(name="db", kv="web/db"))
    kept = host.secrets.values(wanted).fingerprint
    assert "one" not in kept

    def says(secrets: Secrets) -> str:
        secrets.want(frozenset(wanted.executor.secrets))
        secrets.look()
        return changed(wanted, kept, secrets.view)

    assert says(host.secrets) == ""
    assert says(host.agent()) == ""
    host.put("web/db", b"two")
    assert says(host.secrets) == says(host.agent()) == "secret db (kv web/db) changed"
    host.store.error = StoreUnreachable("nobody answers")
    assert says(host.secrets) == "secret db (kv web/db) changed", "it stands while nobody answers"
    assert says(host.agent()) == ""
    host.store.error = None
    host.put("web/db", b"one")
    assert says(host.secrets) == ""
    (host.folder / "run" / "fingerprint-key").unlink()
    assert says(host.agent()) == "", "without the key nobody can tell"


def test_only_the_agent_can_read_the_key(host: Host) -> None:
    host.put("web/db", b"one")
    host.secrets.values(container(Secret(name="db", kv="web/db")))
    assert (host.folder / "run" / "fingerprint-key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (host.folder / "run").iterdir()] == ["fingerprint-key"]


def test_what_is_gone_is_said_by_name(host: Host) -> None:
    wanted = container(Secret(name="db", kv="web/db"))
    host.secrets.want(frozenset(wanted.executor.secrets))
    host.secrets.look()
    (problem,) = host.secrets.view.problems
    assert problem.startswith("secret db (kv web/db): there is no key secrets/web/db in memory:")


def test_messages_and_representations_hide_values() -> None:
    values = Values(environment={"A": "hunter2"}, files={"b": b"line one\n"}, fingerprint="f")
    assert hidden("bad option hunter2 near 'line one'", values) == "bad option [hidden] near '[hidden]'"
    assert "hunter2" not in repr(values)
    assert "hunter2" not in repr(msgspec.structs.replace(values, fingerprint="g"))


def test_a_part_of_a_value_is_hidden_by_its_lines() -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", *(f"{number:02}{'x' * 62}" for number in range(26)), "Zm9vCg=="]
    key = "".join(f"{line}\n" for line in lines)
    for values in (Values(files={"key": key.encode()}), Values(environment={"KEY": key})):
        for end in ("\n", "\r\n"):
            shown = hidden(f"no such user{end}{end.join(lines[-20:])}", values)
            assert shown.split() == ["no", "such", "user", *["[hidden]"] * 20]
