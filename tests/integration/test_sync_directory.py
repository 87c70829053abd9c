"""A folder to store: what an editor saves is what runs, within a moment. Real folders, real daemons."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from reconciler.manifests.directory_source import DirectorySource
from reconciler.model import keys
from reconciler.model.codec import decode
from reconciler.model.source_state import SourceState
from reconciler.store.interface import CommitResult, Operation, PutIf, Store
from reconciler.store.sqlite import SqliteStore
from reconciler.sync.loop import SyncDaemon
from tests.support.sync import WatchedStore, config, make_ours, manifest, state, values
from tests.support.wait import wait_until

SELDOM_S = 600.0
"""Nothing but the folder's own changes makes it look."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "manifests"
    path.mkdir()
    (path / "web.json").write_text(manifest(["web"]))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = SqliteStore(tmp_path / "store.db")
    yield make_ours(store)
    store.close()


@pytest.fixture
def revisions() -> list[str]:
    """Every revision that was settled, in order."""
    return []


@pytest.fixture
def daemon(folder: Path, store: Store, revisions: list[str], tmp_path: Path) -> Iterator[SyncDaemon]:
    """Development: versions may change."""

    def note(number: int, operations: Sequence[Operation], go) -> CommitResult:  # type: ignore[no-untyped-def]
        for operation in operations:
            if isinstance(operation, PutIf) and operation.key == keys.source("dev"):
                mark = decode(operation.value, SourceState).mark
                if mark.settled and mark.revision not in revisions[-1:]:
                    revisions.append(mark.revision)
        return go()  # type: ignore[no-any-return]

    watched = WatchedStore(SqliteStore(tmp_path / "store.db"), note)
    source = DirectorySource("dev", folder, still_s=0.1)
    made = SyncDaemon(watched, source, emit=lambda _: None, poll_s=SELDOM_S, mutable_versions=True)
    made.start()
    wait_until(lambda: store.get(keys.source("dev")), what="the first revision")
    yield made
    made.stop()
    watched.close()


@pytest.mark.usefixtures("daemon")
class TestAnEditor:
    def test_a_save_is_followed(self, folder: Path, store: Store) -> None:
        (folder / "web.json").write_text(manifest(["web"], desired=4))
        wait_until(lambda: config(store)["config/services/web"]["desired"] == 4, what="the change")

    def test_a_save_by_renaming_is_one_revision(self, folder: Path, store: Store, revisions: list[str]) -> None:
        count = len(revisions)
        (folder / ".web.json.swp").write_text(manifest(["web"], desired=4))
        (folder / "web.json").rename(folder / "web.json~")
        (folder / ".web.json.swp").rename(folder / "web.json")
        wait_until(lambda: config(store)["config/services/web"]["desired"] == 4, what="the change")
        assert len(revisions) == count + 1

    def test_a_definition_may_change_under_its_version(self, folder: Path, store: Store) -> None:
        (folder / "web.json").write_text(manifest(["web"], command="sleep 77"))
        wait_until(lambda: "sleep 77" in str(config(store)["config/task_definitions/web/1"]), what="the change")

    def test_a_new_file_and_a_removed_one_are_followed(self, folder: Path, store: Store) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "api.json").write_text(manifest(["api"], cluster="second"))
        wait_until(lambda: "config/services/api" in config(store), what="the new file")
        (folder / "deep" / "api.json").unlink()
        wait_until(lambda: "config/services/api" not in config(store), what="the removal")
        assert "config/services/web" in config(store)

    def test_many_saves_in_quick_succession_are_one_revision(
        self, folder: Path, store: Store, revisions: list[str]
    ) -> None:
        count = len(revisions)
        for desired in range(2, 40):
            (folder / "web.json").write_text(manifest(["web"], desired=desired))
        wait_until(lambda: config(store)["config/services/web"]["desired"] == 39, what="the last of them")
        assert len(revisions) == count + 1

    def test_a_file_that_is_saved_bit_by_bit_is_never_taken_for_a_whole_one(
        self, folder: Path, store: Store, revisions: list[str]
    ) -> None:
        count = len(revisions)
        text = manifest(["web"], desired=4)
        with (folder / "web.json").open("w") as file:
            for position in range(0, len(text), 40):
                file.write(text[position : position + 40])
                file.flush()
                threading.Event().wait(0.01)
        wait_until(lambda: config(store)["config/services/web"]["desired"] == 4, what="the change")
        assert len(revisions) == count + 1
        assert state(store, "dev").problems == ()

    def test_a_mistake_is_said_and_changes_nothing_until_it_is_mended(self, folder: Path, store: Store) -> None:
        before = values(store, keys.CONFIG)
        (folder / "web.json").write_text(manifest(["web"], desired=4).replace("desired", "desird"))
        wait_until(lambda: state(store, "dev").problems, what="the mistake to be said")
        assert "desird" in state(store, "dev").problems[0]
        assert values(store, keys.CONFIG) == before
        (folder / "web.json").write_text(manifest(["web"], desired=4))
        wait_until(lambda: config(store)["config/services/web"]["desired"] == 4, what="the mended file")
        assert state(store, "dev").problems == ()

    def test_a_folder_that_goes_away_deletes_nothing(self, folder: Path, store: Store) -> None:
        """git2consul: what could not be read for a moment was taken for deleted."""
        before = values(store, keys.CONFIG)
        folder.rename(folder.with_name("away"))
        wait_until(lambda: state(store, "dev").problems, what="the failure to be said")
        assert values(store, keys.CONFIG) == before
        folder.with_name("away").rename(folder)
        wait_until(lambda: not state(store, "dev").problems, what="the folder to be read again", timeout_s=60)
        assert values(store, keys.CONFIG) == before

    def test_a_folder_that_is_emptied_deletes_nothing(self, folder: Path, store: Store) -> None:
        """Argo CD: one bad change pruned everything."""
        before = values(store, keys.CONFIG)
        (folder / "web.json").unlink()
        wait_until(lambda: state(store, "dev").problems, what="the refusal to be said")
        assert "declares nothing" in state(store, "dev").problems[0]
        assert values(store, keys.CONFIG) == before
