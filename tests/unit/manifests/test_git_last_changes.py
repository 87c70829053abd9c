"""Which commit made each file what it is: asked of real repositories."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.manifests import git_source
from reconciler.manifests.git_log import LastChanges
from reconciler.manifests.git_remote import git_remote
from reconciler.manifests.git_source import GitSource
from tests.support.git import GitRepository

MakeSource = Callable[..., GitSource]


@pytest.fixture
def source_of(tmp_path: Path) -> Iterator[MakeSource]:
    made = []

    def make(url: str, path: str = "") -> GitSource:
        source = GitSource("web", git_remote(url), cache=tmp_path / "cache", path=path)
        made.append(source)
        return source

    yield make
    for source in made:
        source.close()


@pytest.mark.parametrize("most_named", [50, 0], ids=["files are named", "the path is walked"])
def test_each_file_has_the_commit_that_made_it_what_it_is(
    repository: GitRepository, source_of: MakeSource, monkeypatch: pytest.MonkeyPatch, most_named: int
) -> None:
    monkeypatch.setattr(git_source, "MOST_NAMED", most_named)
    text = "".join(f"line {number}\n" for number in range(9))
    first = repository.commit({"fleet/a.yml": "a", "fleet/ü b.yml": "b", "fleet/both.yml": text, "x.yml": "x"}, "First")
    second = repository.commit({"fleet/a.yml": "a2"}, "Second: a")
    repository.commit({"x.yml": "x2"}, "Elsewhere")
    repository.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    side = repository.commit({"fleet/ü b.yml": "b2", "fleet/both.yml": text + "below\n"}, "On the side")
    repository.git("checkout", "--quiet", "main")
    repository.commit({"fleet/both.yml": "above\n" + text}, "On main")
    repository.git("merge", "--quiet", "--no-edit", "side")
    merge = repository.head
    repository.git("mv", "fleet/a.yml", "fleet/c.yml")
    moved = repository.commit(message="Move a")
    source = source_of(repository.url, "fleet")
    revision = source.read()
    found = source.last_changes(revision.id, revision.files, 30.0)
    assert {name: commit.id for name, commit in found.items()} == {
        "fleet/c.yml": moved,
        "fleet/ü b.yml": side,
        "fleet/both.yml": merge,
    }
    assert (found["fleet/ü b.yml"].author, found["fleet/ü b.yml"].subject) == ("Ann Author", "On the side")
    assert found["fleet/ü b.yml"].at > 1e9
    # an earlier revision, as after a rollback
    earlier = source.at(second)
    assert earlier is not None
    found = source.last_changes(second, earlier.files, 30.0)
    assert {found["fleet/a.yml"].id, found["fleet/both.yml"].id} == {second, first}


def test_what_git_can_not_say_in_time_is_left_out(repository: GitRepository, source_of: MakeSource) -> None:
    repository.commit({"a.yml": "a"})
    source = source_of(repository.url)
    revision = source.read()
    assert source.last_changes(revision.id, ["a.yml", "never.yml"], 30.0).keys() == {"a.yml"}
    assert source.last_changes("0" * 40, ["a.yml"], 30.0) == {}
    assert source.last_changes(revision.id, ["a.yml"], 0.0).keys() <= {"a.yml"}


def test_output_may_come_in_any_pieces_and_no_more_is_read_than_needed() -> None:
    output = (
        b"\x01" + b"b" * 40 + b"\x02Ann\x025\x02Merge\x00\x00"
        b"\x01" + b"a" * 40 + b"\x02B\xff\x024\x02one: two\x00\nd/a.yml\x00d/\xc3\xbc.yml\x00"
    )
    for size in (1, 7, len(output)):
        changes = LastChanges(["d/ü.yml", "d/a.yml"])
        answers = [changes.take(output[start : start + size]) for start in range(0, len(output), size)]
        assert answers == [False] * (len(answers) - 1) + [True]
        assert {name: commit.id for name, commit in changes.found.items()} == {"d/a.yml": "a" * 40, "d/ü.yml": "a" * 40}
        assert changes.found["d/a.yml"].subject == "one: two"
