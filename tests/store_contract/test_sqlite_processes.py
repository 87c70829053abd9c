"""SQLite with several processes, reboots, and a file that is taken away."""

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconciler.errors import StoreError, StoreNotOurs, StoreUnreachable
from reconciler.store import boot, sentinel
from reconciler.store.interface import Acquire, Committed, Put, PutIf
from reconciler.store.sqlite import LOG_LENGTH, SqliteStore
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]

COUNTER = """
import sys
from reconciler.store.connect import open_store
from reconciler.store.interface import Committed, Put, PutIf
store = open_store(sys.argv[1], environ={})
for _ in range(40):
    while True:
        entry = store.get("state/n")
        number = int(entry.value) + 1 if entry else 1
        commit = [PutIf("state/n", str(number).encode(), entry.index if entry else 0), Put(f"state/by/{number}", b"x")]
        if store.commit(commit) == Committed():
            break
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def test_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    script = [sys.executable, "-c", COUNTER, f"sqlite://{path}"]
    processes = [subprocess.Popen(script, cwd=ROOT) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4

    store = SqliteStore(path)
    entry = store.get("state/n")
    assert entry is not None
    assert entry.value == b"160"
    listing = store.list("state/by/")
    assert len(listing.entries) == 160
    assert len({entry.index for entry in listing.entries}) == 160, "each commit had an index of its own"
    store.close()


def test_a_process_that_is_killed_while_it_writes_leaves_the_store_whole(path: Path) -> None:
    script = [sys.executable, "-c", COUNTER.replace("range(40)", "range(10**9)"), f"sqlite://{path}"]
    store = SqliteStore(path)
    for _ in range(3):
        before = len(store.list("state/by/").entries)
        with subprocess.Popen(script, cwd=ROOT) as process:
            wait_until(lambda seen=before: len(store.list("state/by/").entries) > seen + 20, what="some commits")
            process.kill()
        entry = store.get("state/n")
        assert entry is not None
        assert len(store.list("state/by/").entries) == int(entry.value), "all of a commit or nothing"
    assert store.commit([Put("state/after", b"")]) == Committed()
    store.close()


def test_rule_15_a_reboot_ends_every_session(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = SqliteStore(path)
    session = before.open_session("agent", 600)
    before.commit([Acquire("state/hosts/web", b"up", session.id)])
    before.close()

    monkeypatch.setattr(boot, "BOOT_ID", path.parent / "boot-id")
    (path.parent / "boot-id").write_text("another-boot\n")
    after = SqliteStore(path)

    assert [entry.holder for entry in after.list("state/hosts/").entries] == [None]
    assert after.resume_session(session.id, "agent", 600) is None
    after.close()


def test_rule_15_a_reboot_ends_every_session_where_boots_have_no_id(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "BOOT_ID", path.parent / "no-such-file")
    before = SqliteStore(path)
    session = before.open_session("agent", 600)
    before.commit([Acquire("state/hosts/web", b"up", session.id)])
    now = boot.boot_seconds()
    monkeypatch.setattr("reconciler.store.sqlite.boot_seconds", lambda: now - now / 2 - 1)

    assert [entry.holder for entry in before.list("state/hosts/").entries] == [None]
    before.close()


def test_rule_15_a_stepped_wall_clock_neither_ends_nor_revives_a_session(path: Path) -> None:
    store = SqliteStore(path)
    session = store.open_session("agent", 600)
    store.close()
    with sqlite3.connect(path) as connection:
        expires_at = connection.execute("SELECT expires_at FROM sessions WHERE id = ?", (session.id,)).fetchone()[0]
    connection.close()
    assert 0 < expires_at - boot.boot_seconds() <= 600, "seconds since boot, not since 1970"


def test_a_file_that_is_taken_away_looks_like_a_store_that_was_wiped(path: Path) -> None:
    store = SqliteStore(path)
    sentinel.ensure(store, "id-1")
    for number in range(20):
        store.commit([Put("state/n", str(number).encode())])
    after = store.list("state/").index
    woken: list[int] = []
    thread = threading.Thread(target=lambda: woken.append(store.wait("state/", after, 30)))
    thread.start()

    for each in path.parent.glob("store.db*"):
        each.unlink()

    thread.join(15)
    assert woken == [0], "those who wait are told to look at everything anew"
    with pytest.raises(StoreNotOurs):
        sentinel.read(store)
    other = SqliteStore(path)
    other.commit([Put("state/new", b"1")])
    assert store.get("state/new") == other.get("state/new"), "both are on the new file"
    store.close()
    other.close()


def test_a_wait_from_before_the_log_of_changes_returns_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.store.sqlite.LOG_LENGTH", 100)
    assert LOG_LENGTH > 1000
    store = SqliteStore(path)
    store.commit([Put("state/old/a", b"")])
    after = store.list("state/old/").index
    for number in range(1100):
        store.commit([Put(f"config/{number % 400}", str(number).encode())])

    assert store.wait("state/old/", after, 30) > after
    assert store.wait("state/old/", store.list("state/old/").index, 0.05) > after
    store.close()


def test_only_this_user_may_read_the_file(path: Path) -> None:
    store = SqliteStore(path)
    store.commit([Put("state/a", b"secret")])
    assert {each.name: oct(each.stat().st_mode & 0o077) for each in path.parent.glob("store.db*")} == {
        "store.db": "0o0", "store.db-wal": "0o0", "store.db-shm": "0o0",
    }  # fmt: skip
    store.close()


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a/b/dev.db")
    assert store.commit([PutIf("state/a", b"", 0)]) == Committed()
    store.close()


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"name: web\n" * 500)
    with pytest.raises(StoreUnreachable, match="not a database") as caught:
        SqliteStore(path)
    assert str(path) in str(caught.value)
    assert "name another one" in str(caught.value)
    assert path.read_bytes() == b"name: web\n" * 500


def test_another_programs_database_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="a database of another program"):
        SqliteStore(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("songs",)]
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="another version of this program"):
        SqliteStore(path)


def test_a_place_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnreachable, match="can't open the store") as caught:
        SqliteStore(tmp_path / "file/store.db")
    assert "Not a directory" in str(caught.value) or "File exists" in str(caught.value)


def test_a_store_that_another_process_blocks_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.store.sqlite_file.BUSY_S", 0.1)
    store = SqliteStore(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnreachable, match="locked") as caught:
        store.commit([Put("state/a", b"")])
    assert "Another process holds it" in str(caught.value)
    blocker.execute("ROLLBACK")
    blocker.close()
    assert store.commit([Put("state/a", b"")]) == Committed()
    store.close()
