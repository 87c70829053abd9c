"""What an agent that starts without the store may rely on."""

from pathlib import Path

import pytest

from reconciler.agent import memory
from reconciler.agent.memory import Memory
from reconciler.agent.settings import AgentSettings
from tests.support.planned_host import PlannedHost, definition

URL = "consul://127.0.0.1:8500"


def test_what_is_kept_alive_is_remembered_until_the_machine_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = PlannedHost()
    runs, fails = host.issue(7, instance=1), host.issue(8, instance=2)
    host.settle()
    for _ in range(host.settings.restart.max_attempts):
        host.end(next(ref for ref in host.running() if ref.task_id == fails.id))
        host.settle()
        host.wait(host.settings.restart.most_delay_s)
    settings = AgentSettings(host="h1", address="10.0.0.1", runtime_dir=tmp_path)
    noting = Memory(settings, URL)
    assert noting.note("store-1", host.lives, host.definitions)
    assert noting.write() is None
    assert not noting.note("store-1", host.lives, host.definitions), "nothing is new"

    remembered = Memory(settings, URL).read()
    assert remembered is not None
    assert remembered.store_id == "store-1"
    view = remembered.view()
    assert view.tasks == {runs.id: runs}, "what was given up is not begun again"
    assert set(view.definitions) == {runs.digest}
    assert not view.known
    assert view.problem
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o077 == 0, "definitions may hold what not everybody should read"

    assert Memory(settings, "consul://elsewhere:8500").read() is None
    monkeypatch.setattr(memory, "boot_id", lambda: "another boot")
    assert Memory(settings, URL).read() is None
    file.write_bytes(b"{")
    assert Memory(settings, URL).read() is None


def test_a_list_that_cannot_be_written_leaves_no_older_one_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = PlannedHost()
    first, second = host.issue(7, definition(stop_timeout="5m"), instance=1), host.issue(8, instance=2)
    host.settle()
    settings = AgentSettings(host="h1", address="10.0.0.1", runtime_dir=tmp_path)
    noting = Memory(settings, URL)
    noting.note("store-1", host.lives, host.definitions)
    noting.write()
    host.take_back(first)
    host.look()
    assert noting.note("store-1", host.lives, host.definitions)

    with monkeypatch.context() as full:
        full.setattr(Path, "replace", _disk_is_full)
        assert noting.write() == memory.WRITE_AGAIN_S
    assert list(tmp_path.iterdir()) == [], "what is stopped now must not be begun again"
    assert noting.write() is None
    kept = Memory(settings, URL).read()
    assert kept is not None
    assert kept.tasks == (second,)
    assert kept.definitions.keys() == {first.digest, second.digest}, (
        "by it the other one is stopped, also by the next agent"
    )


def _disk_is_full(*_: object) -> None:
    raise OSError(28, "No space left on device")
