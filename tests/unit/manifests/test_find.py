"""Which files count as manifests, in folders and in git trees alike."""

import os
from pathlib import Path

import pytest

from reconciler.manifests.find import find_manifests, is_manifest_path, is_read_path


@pytest.mark.parametrize(
    "path", ["a.yml", "a.yaml", "a.json", "A.YML", "x/y/z.yaml", "x.y/a.b.yml", "x/reconciler.yml"]
)
def test_yaml_and_json_files_are_manifests(path: str) -> None:
    assert is_manifest_path(path)
    assert is_read_path(path)


@pytest.mark.parametrize(
    "path",
    [
        ".a.yml",
        ".github/a.yml",
        "x/.y/a.yml",
        "a.txt",
        "a.yml~",
        "a.yml.swp",
        "#a.yml#",
        "yml",
        ".yml",
        "a.toml",
        "README.md",
    ],
)
def test_hidden_and_other_files_are_none(path: str) -> None:
    assert not is_manifest_path(path)
    assert not is_read_path(path)


@pytest.mark.parametrize("path", ["reconciler.yaml", "x/reconciler.yaml"])
def test_settings_are_read_but_are_no_manifest(path: str) -> None:
    assert not is_manifest_path(path)
    assert is_read_path(path)
    assert not is_read_path(f".hidden/{path}")


def fill(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("clusters: []\n")


def test_manifests_are_found_in_one_order_whatever_the_file_system_says(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "b.yml",
        "a/z.json",
        "a.yaml",
        "a/b/c.yml",
        "notes.txt",
        ".git/config.yml",
        "a/.x.yml",
        "reconciler.yaml",
    )
    assert list(find_manifests(tmp_path)) == ["a.yaml", "a/b/c.yml", "a/z.json", "b.yml", "reconciler.yaml"]


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert list(find_manifests(tmp_path)) == []


def test_links_out_of_the_root_are_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    fill(root, "a.yml", "inner/b.yml")
    fill(outside, "secret.yml")
    (root / "out").symlink_to(outside)
    (root / "secret.yml").symlink_to(outside / "secret.yml")
    (root / "gone.yml").symlink_to(root / "nothing.yml")
    (root / "also").symlink_to(root / "inner")
    (root / "also.yml").symlink_to("a.yml")
    found = find_manifests(root)
    assert list(found) == ["a.yml", "also.yml", "also/b.yml", "inner/b.yml"]
    assert found["also/b.yml"] == found["inner/b.yml"]  # so that it counts once


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    fill(tmp_path, "a/b.yml")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    assert list(find_manifests(tmp_path)) == ["a/b.yml"]


def test_what_is_no_plain_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    (tmp_path / "folder.yml").mkdir()
    fill(tmp_path, "folder.yml/a.yml")
    assert list(find_manifests(tmp_path)) == ["folder.yml/a.yml"]


def test_a_folder_that_is_gone_is_an_error_not_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_manifests(tmp_path / "gone")


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    fill(tmp_path / "real", "a.yml")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert list(find_manifests(tmp_path / "link")) == ["a.yml"]
