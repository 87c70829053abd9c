"""Against real folders, changed in the ways of real editors."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import SourceError
from reconciler.manifests import directory_source
from reconciler.manifests.directory_source import DirectorySource, source_name_of
from tests.support.wait import wait_until

FOR_EVER_S = 600.0
"""Longer than a test may take, so that only what was waited for can end the wait."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "manifests"
    path.mkdir()
    return path


@pytest.fixture
def source(folder: Path) -> Iterator[DirectorySource]:
    made = DirectorySource("dev", folder, still_s=0.05)
    yield made
    made.close()


def files_of(source: DirectorySource) -> dict[str, bytes]:
    return dict(source.read().files)


class TestWhatIsRead:
    def test_every_manifest_and_nothing_else(self, folder: Path, source: DirectorySource) -> None:
        for name in (
            "web.yml",
            "a/b.yaml",
            "c.json",
            "README.md",
            "reconciler.yaml",
            ".git/x.yml",
            "web.yml~",
            ".w.yml",
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)
        assert set(files_of(source)) == {"reconciler.yaml", "web.yml", "a/b.yaml", "c.json"}

    def test_the_revision_is_named_after_what_is_in_it(self, folder: Path, source: DirectorySource) -> None:
        (folder / "web.yml").write_text("1")
        first = source.read()
        (folder / "web.yml").write_text("2")
        second = source.read()
        (folder / "web.yml").write_text("1")
        third = source.read()
        assert first.id == third.id == first.content
        assert second.id != first.id

    def test_content_and_name_are_not_mixed_up(self, folder: Path, source: DirectorySource) -> None:
        (folder / "a.yml").write_text("bc")
        first = source.read().id
        (folder / "a.yml").write_text("b")
        (folder / "c.yml").write_text("")
        assert source.read().id != first

    def test_an_untouched_folder_is_read_once(
        self, folder: Path, source: DirectorySource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "web.yml").write_text("1")
        first = source.read()
        monkeypatch.setattr(source, "_content", None)
        assert source.read() is first

    def test_only_touched_files_are_read_again(
        self, folder: Path, source: DirectorySource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("a.yml", "b.yml"):
            (folder / name).write_text("1")
        first = source.read()
        read = []
        original = Path.read_bytes
        monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or original(path))
        os.utime(folder / "b.yml")
        assert source.read() is first
        assert read == ["b.yml"]

    def test_a_change_that_keeps_size_and_time_stamp_is_seen(self, folder: Path, source: DirectorySource) -> None:
        path = folder / "web.yml"
        path.write_text("1")
        stamps = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
        source.read()
        path.write_text("2")
        os.utime(path, ns=stamps)
        assert files_of(source) == {"web.yml": b"2"}


class TestWhatIsRefused:
    """Nothing is concluded from a part."""

    def test_a_folder_that_is_not_there(self, folder: Path, source: DirectorySource) -> None:
        (folder / "web.yml").write_text("1")
        source.read()
        folder.rename(folder.with_name("away"))
        with pytest.raises(SourceError, match="No such file"):
            source.read()
        folder.with_name("away").rename(folder)
        assert files_of(source) == {"web.yml": b"1"}

    def test_a_link_out_of_the_folder_in_the_place_of_a_manifest(
        self, folder: Path, source: DirectorySource, tmp_path: Path
    ) -> None:
        (tmp_path / "secret.yml").write_text("secret")
        (folder / "web.yml").symlink_to(tmp_path / "secret.yml")
        with pytest.raises(SourceError, match="leads out of the folder"):
            source.read()

    def test_a_link_to_nothing_in_the_place_of_a_manifest(self, folder: Path, source: DirectorySource) -> None:
        (folder / "web.yml").symlink_to("gone.yml")
        with pytest.raises(SourceError, match="link to no file"):
            source.read()

    def test_links_that_point_at_each_other(self, folder: Path, source: DirectorySource) -> None:
        (folder / "a").symlink_to("b")
        (folder / "b").symlink_to("a")
        with pytest.raises(SourceError, match="could not be read"):
            source.read()

    def test_a_file_that_cannot_be_read(
        self, folder: Path, source: DirectorySource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "web.yml").write_text("1")

        def denied(path: Path) -> bytes:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(Path, "read_bytes", denied)
        with pytest.raises(SourceError, match=r"web\.yml could not be read: Permission denied"):
            source.read()

    def test_a_file_that_is_no_manifest_by_its_size(
        self, folder: Path, source: DirectorySource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(directory_source, "MAX_FILE_BYTES", 1 << 20)
        (folder / "dump.json").write_bytes(b"x" * (3 << 20))
        with pytest.raises(SourceError, match="has 3 MiB"):
            source.read()

    def test_two_names_that_look_the_same(self, folder: Path, source: DirectorySource) -> None:
        (folder / "a\n.yml").touch()
        (folder / "a\\n.yml").touch()
        with pytest.raises(SourceError, match="both shown as"):
            source.read()

    def test_a_folder_that_never_stands_still(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(directory_source, "_UNREST_S", 0.3)
        # longer than the writer may be kept from writing on a busy machine
        source = DirectorySource("dev", folder, still_s=5.0)
        (folder / "web.yml").touch()
        done = threading.Event()

        def write() -> None:
            number = 0
            while not done.wait(0.005):
                number += 1
                (folder / "web.yml").write_text("x" * number)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            with pytest.raises(SourceError, match="kept changing"):
                source.read()
        finally:
            done.set()
            thread.join()
            source.close()


class TestLinks:
    def test_links_inside_are_followed_and_loops_end(self, folder: Path, source: DirectorySource) -> None:
        (folder / "real").mkdir()
        (folder / "real" / "web.yml").write_text("1")
        (folder / "real" / "loop").symlink_to("..")
        (folder / "linked").symlink_to("real")
        (folder / "alias.yml").symlink_to("real/web.yml")
        revision = source.read()
        assert dict(revision.files) == {"real/web.yml": b"1", "linked/web.yml": b"1", "alias.yml": b"1"}
        assert revision.passed_over == ("linked/loop", "real/loop")

    def test_folders_outside_are_passed_over_and_named(
        self, folder: Path, source: DirectorySource, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "secret.yml").write_text("secret")
        (folder / "linked").symlink_to(tmp_path / "outside")
        revision = source.read()
        assert (dict(revision.files), revision.passed_over) == ({}, ("linked",))

    def test_pipes_do_not_block(self, folder: Path, source: DirectorySource) -> None:
        os.mkfifo(folder / "pipe.yml")
        assert files_of(source) == {}


class TestConsistency:
    def test_a_file_that_is_being_written_is_read_when_it_is_whole(self, folder: Path) -> None:
        source = DirectorySource("dev", folder, still_s=0.3)
        started = threading.Event()

        def write() -> None:
            with (folder / "web.yml").open("w") as file:
                for line in range(20):
                    file.write(f"line {line}\n")
                    file.flush()
                    started.set()
                    threading.Event().wait(0.02)

        thread = threading.Thread(target=write)
        thread.start()
        started.wait(10)
        content = files_of(source)["web.yml"]
        thread.join()
        source.close()
        assert content.count(b"\n") == 20

    def test_a_file_that_an_editor_removes_before_it_writes_the_new_one_never_seems_deleted(
        self, folder: Path, source: DirectorySource
    ) -> None:
        (folder / "web.yml").write_text("old")
        (folder / "api.yml").write_text("same")
        source.read()
        removed = threading.Event()

        def save() -> None:
            (folder / "web.yml").rename(folder / "web.yml~")
            removed.set()
            threading.Event().wait(0.4)  # far longer than any editor takes
            (folder / "web.yml").write_text("new")

        thread = threading.Thread(target=save)
        thread.start()
        removed.wait(10)
        files = files_of(source)
        thread.join()
        assert files == {"web.yml": b"new", "api.yml": b"same"}

    def test_a_file_that_stays_away_is_deleted(self, folder: Path, source: DirectorySource) -> None:
        (folder / "web.yml").write_text("1")
        source.read()
        (folder / "web.yml").unlink()
        assert files_of(source) == {}

    def test_mass_changes_give_one_revision(self, folder: Path) -> None:
        """As when another branch is checked out."""
        source = DirectorySource("dev", folder, still_s=0.2)
        half = threading.Event()
        longest_rest_s = 0.0

        def check_out(branch: str) -> None:
            nonlocal longest_rest_s
            longest_rest_s, last = 0.0, time.monotonic()
            for number in range(200):
                (folder / f"{number}.yml").unlink(missing_ok=True)
                (folder / f"{number}.yml").write_text(branch)
                if number == 100:
                    half.set()
                    threading.Event().wait(0.05)
                longest_rest_s, last = max(longest_rest_s, time.monotonic() - last), time.monotonic()

        check_out("before")
        assert set(source.read().files.values()) == {b"before"}
        for attempt in range(50):
            half.clear()
            thread = threading.Thread(target=check_out, args=(f"branch {attempt}",))
            thread.start()
            half.wait(10)
            revision = source.read()
            thread.join()
            if longest_rest_s < 0.2:  # else the folder really stood still half-way: a busy machine held up the writer
                assert set(revision.files.values()) == {f"branch {attempt}".encode()}
                break
        else:
            pytest.fail("this machine never let the writer go on without a rest")
        source.close()


class TestWaiting:
    @pytest.fixture(params=["with events", "without events"])
    def waiting(
        self, request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[DirectorySource]:
        if request.param == "with events":
            # so that a change that is only found by looking does not pass for one that was announced
            monkeypatch.setattr(directory_source, "_SCAN_S", FOR_EVER_S)
        else:

            def exhausted(*_: object) -> None:
                raise OSError(errno.ENOSPC, "inotify watch limit reached")

            monkeypatch.setattr(directory_source, "_Watch", exhausted)
            monkeypatch.setattr(directory_source, "_SCAN_WITHOUT_EVENTS_S", 0.05)
        (folder / "web.yml").write_text("1")
        made = DirectorySource("dev", folder, still_s=0.05)
        assert made.wait(0) is True, "the first look is always worth one"
        assert made.wait(0.1) is False
        yield made
        made.close()

    def change(self, how: str, folder: Path) -> None:
        match how:
            case "write":
                (folder / "web.yml").write_text("2")
            case "rename over":
                (folder / ".web.yml.swp").write_text("2")
                (folder / ".web.yml.swp").rename(folder / "web.yml")
            case "add in a new folder":
                (folder / "new" / "er").mkdir(parents=True)
                (folder / "new" / "er" / "api.yml").write_text("2")
            case "remove":
                (folder / "web.yml").unlink()
            case "remove all":
                shutil.rmtree(folder)
            case "replace all":
                (folder.parent / "other").mkdir()
                (folder.parent / "other" / "web.yml").write_text("2")
                folder.rename(folder.parent / "old")
                (folder.parent / "other").rename(folder)

    @pytest.mark.parametrize("how", ["write", "rename over", "add in a new folder", "remove", "remove all"])
    def test_every_way_to_change_something_ends_the_wait(
        self, waiting: DirectorySource, folder: Path, how: str
    ) -> None:
        self.change(how, folder)
        assert waiting.wait(FOR_EVER_S) is True
        assert waiting.wait(0.2) is False, "one change, one wake"

    def test_a_folder_that_is_replaced_is_noticed_by_looking_and_watched_from_then_on(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(directory_source, "_SCAN_S", 0.05)
        monkeypatch.setattr(directory_source, "_WATCH_AGAIN_S", 0.0)
        (folder / "web.yml").write_text("1")
        source = DirectorySource("dev", folder, still_s=0.05)
        source.wait(0)
        self.change("replace all", folder)
        assert source.wait(FOR_EVER_S) is True
        source.wait(0)
        monkeypatch.setattr(directory_source, "_SCAN_S", FOR_EVER_S)
        source._events_come = True
        (folder / "web.yml").write_text("3")
        assert source.wait(FOR_EVER_S) is True
        source.close()

    def test_temporary_files_end_no_wait(self, waiting: DirectorySource, folder: Path) -> None:
        for name in ("web.yml~", "4913", "#web.yml#", ".web.yml.swp", "web.yml.tmp", "notes.txt"):
            (folder / name).write_text("x")
        (folder / ".reconciler").mkdir()
        (folder / ".reconciler" / "dev.db").write_text("x")
        assert waiting.wait(0.5) is False

    def test_reading_ends_no_wait(self, waiting: DirectorySource) -> None:
        waiting.read()
        assert waiting.wait(0.3) is False

    def test_somebody_who_knows_ends_the_wait(self, waiting: DirectorySource) -> None:
        waiting.wake()
        assert waiting.wait(FOR_EVER_S) is True
        assert waiting.wait(0.1) is False

    def test_closing_ends_the_wait(self, waiting: DirectorySource) -> None:
        ended = threading.Event()
        thread = threading.Thread(target=lambda: (waiting.wait(100), ended.set()))
        thread.start()
        waiting.close()
        wait_until(ended.is_set, what="the wait ended")
        thread.join()

    def test_a_change_that_no_event_announced_makes_it_look_more_often(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Network file systems take a watch and never tell."""

        class Silent:
            alive = True
            identity = (folder.stat().st_dev, folder.stat().st_ino)

            def __init__(self, *_: object) -> None: ...

            def stop(self) -> None: ...

        monkeypatch.setattr(directory_source, "_Watch", Silent)
        monkeypatch.setattr(directory_source, "_SCAN_S", 0.05)
        source = DirectorySource("dev", folder, still_s=0.05)
        source.wait(0)
        (folder / "web.yml").write_text("1")
        assert source.wait(FOR_EVER_S) is True
        assert not source._events_come
        source.close()


@pytest.mark.parametrize(
    ("folder", "name"), [("/srv/hello-world", "hello-world"), ("/srv/My Fleet (1)", "My-Fleet--1"), ("/", "directory")]
)
def test_a_source_is_named_after_its_folder(folder: str, name: str) -> None:
    assert source_name_of(Path(folder)) == name
