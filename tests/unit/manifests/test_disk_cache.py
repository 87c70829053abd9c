"""What is remembered on disk never changes an answer: not after a change, nor broken, nor for other checks."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cli.checks import checks
from reconciler.manifests import disk_cache, parallel, parsed
from reconciler.manifests.cache import ParseCache, key_of
from reconciler.manifests.checks import NO_CHECKS, Checks
from reconciler.manifests.disk_cache import MOST_CACHES, WORTH_FILES, judge
from reconciler.manifests.load import load
from reconciler.manifests.verdict import verdict_on

BROKEN = Path(__file__).parents[2] / "broken_manifests"
FILES = [
    (path.name, path.read_bytes()) for path in sorted(BROKEN.iterdir()) if path.suffix in {".yml", ".yaml", ".json"}
]
"""All kinds of right and wrong objects; more than are checked without a cache."""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The contents that were really parsed."""
    seen: list[bytes] = []

    def parse(content: bytes, kind: parsed.FileKind, given: Checks) -> parsed.Parsed:
        seen.append(content)
        return parsed.parse(content, kind, given)

    monkeypatch.setattr("reconciler.manifests.parallel.parse", parse)
    monkeypatch.setattr("reconciler.manifests.cache.parse", parse)
    return seen


def expected(files: list[tuple[str, bytes]], given: Checks = NO_CHECKS) -> object:
    return verdict_on(load(files, cache=ParseCache(given)))


def test_the_same_files_are_not_parsed_again(tmp_path: Path, counted: list[bytes]) -> None:
    assert len(FILES) > WORTH_FILES
    first = judge(FILES, NO_CHECKS, tmp_path)
    assert len(counted) == len({content for _, content in FILES})
    counted.clear()
    assert judge(FILES, NO_CHECKS, tmp_path) == first == expected(FILES)
    assert len(list(tmp_path.iterdir())) == 1


def test_after_a_change_only_what_changed_is_parsed(tmp_path: Path, counted: list[bytes]) -> None:
    judge(FILES, NO_CHECKS, tmp_path)
    counted.clear()
    for content in (b"hosts:\n  - name: a\n  - name: a\n", b"services: [", b"clusters: [{name: x, services: [web]}]"):
        changed = [*FILES[1:], (FILES[0][0], content)]
        wanted = expected(changed)
        counted.clear()
        assert judge(changed, NO_CHECKS, tmp_path) == wanted
        assert counted == [content]


EDIT = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 7), st.sampled_from([each for _, each in FILES])),
    st.tuples(
        st.just("rename"), st.integers(0, 7), st.sampled_from(["z.yml", "y.json", "a/x.yaml", "reconciler.yaml"])
    ),
    st.tuples(st.just("remove"), st.integers(0, 7), st.none()),
)


@given(edits=st.lists(EDIT, min_size=1, max_size=5))
@settings(max_examples=25, deadline=None, database=None)
def test_it_says_what_is_said_without_it_whatever_is_edited(edits: list[tuple[str, int, Any]]) -> None:
    files = [(f"{number}.yml", b"hosts:\n  - name: h%d\n" % number) for number in range(WORTH_FILES + 5)]
    with TemporaryDirectory() as folder:
        for what, position, to in edits:
            judge(files, NO_CHECKS, Path(folder))
            name, content = files.pop(position)
            if what != "remove":
                files.append((name, to) if what == "write" else (to, content))
                files = list(dict(files).items())
            fresh = judge(files, NO_CHECKS, None)
            assert judge(files, NO_CHECKS, Path(folder)) == fresh
            assert judge(files, NO_CHECKS, Path(folder)) == fresh


def test_other_checks_and_another_program_do_not_use_it(
    tmp_path: Path, counted: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(FILES, NO_CHECKS, tmp_path)
    counted.clear()
    assert judge(FILES, checks([]), tmp_path) == expected(FILES, checks([]))
    assert counted
    counted.clear()
    monkeypatch.setattr(disk_cache, "_program", lambda: b"newer")
    judge(FILES, NO_CHECKS, tmp_path)
    assert counted


def test_another_python_and_other_libraries_do_not_use_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = disk_cache._program()
    monkeypatch.setattr(sys, "version", "3.99")
    newer = disk_cache._program()
    library = tmp_path / "msgspec" / "__init__.py"
    library.parent.mkdir()
    monkeypatch.setattr(disk_cache.msgspec, "__file__", str(library))
    assert len({before, newer, disk_cache._program()}) == 3


def test_a_broken_cache_is_no_cache(tmp_path: Path) -> None:
    answer = judge(FILES, NO_CHECKS, tmp_path)
    (place,) = tmp_path.iterdir()
    whole = place.read_bytes()
    for content in (b"", b"\xc1", whole[:1000], whole[: len(whole) // 2], whole[::-1], b"\x93\xa0\xa0\x80"):
        place.write_bytes(content)
        assert judge(FILES, NO_CHECKS, tmp_path) == answer
        assert place.read_bytes() == whole


def test_a_folder_that_can_not_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert judge(FILES, NO_CHECKS, tmp_path / "file" / "cache") == expected(FILES)


def test_a_few_files_leave_nothing_behind(tmp_path: Path) -> None:
    judge(FILES[: WORTH_FILES - 1], NO_CHECKS, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_caches_do_not_pile_up(tmp_path: Path) -> None:
    for number in range(MOST_CACHES + 3):
        judge([*FILES, (f"{number}.yml", b"hosts: [{name: a}]")], NO_CHECKS, tmp_path)
    assert len(list(tmp_path.iterdir())) == MOST_CACHES


@pytest.mark.parametrize("name", [name for name, _ in FILES])
def test_the_compact_form_is_lossless(name: str) -> None:
    content = dict(FILES)[name]
    whole = parsed.parse(content, parsed.kind_of(name), checks([]))
    again = parsed.from_bytes(parsed.to_bytes(whole))
    assert parsed.to_bytes(again) == parsed.to_bytes(whole)
    assert load([(name, content)], cache=ParseCache(checks([]))) == load(
        [(name, content)],
        cache=ParseCache(checks([]), {key_of(parsed.kind_of(name), content): parsed.to_bytes(whole)}),
    )


@given(garbage=st.binary(max_size=200))
@settings(max_examples=200, deadline=None, database=None)
def test_garbage_under_a_key_is_parsed_anew(garbage: bytes) -> None:
    name, content = FILES[0]
    key = key_of(parsed.kind_of(name), content)
    assert load([(name, content)], cache=ParseCache(known={key: garbage})) == load([(name, content)])


def test_several_processes_find_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [(parsed.kind_of(name), content) for name, content in FILES]
    alone = [parsed.parse(content, kind, NO_CHECKS) for kind, content in kinds]
    assert in_bytes(parallel.parse_all(kinds, NO_CHECKS)) == in_bytes(alone)
    monkeypatch.setattr(parallel, "_processes", lambda files: 3)
    monkeypatch.setattr(os, "fork", _quiet_fork(os.fork))
    assert in_bytes(parallel.parse_all(kinds, NO_CHECKS)) == in_bytes(alone)


def test_what_a_process_does_not_deliver_is_parsed_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [(parsed.kind_of(name), content) for name, content in FILES]
    alone = [parsed.parse(content, kind, NO_CHECKS) for kind, content in kinds]
    own = os.getpid()
    fork = _quiet_fork(os.fork)

    def parse(content: bytes, kind: parsed.FileKind, given: Checks) -> parsed.Parsed:
        if os.getpid() != own:
            os._exit(9)  # with a part that nobody else takes
        return parsed.parse(content, kind, given)

    def fork_and_see_it_die() -> int:
        pid = fork()
        if pid:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    monkeypatch.setattr(parallel, "_processes", lambda files: 3)
    monkeypatch.setattr(parallel, "parse", parse)
    monkeypatch.setattr(os, "fork", fork_and_see_it_die)
    assert in_bytes(parallel.parse_all(kinds, NO_CHECKS)) == in_bytes(alone)


def test_where_there_can_be_no_other_process_one_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    kinds = [(parsed.kind_of(name), content) for name, content in FILES]
    monkeypatch.setattr(parallel, "_processes", lambda files: 3)
    monkeypatch.setattr(os, "fork", refused)
    assert len(parallel.parse_all(kinds, NO_CHECKS)) == len(kinds)


def in_bytes(found: list[parsed.Parsed]) -> list[bytes]:
    """To compare by: nodes are equal only to themselves."""
    return [parsed.to_bytes(each) for each in found]


def _quiet_fork(fork: Callable[[], int]) -> Callable[[], int]:
    """Newer Pythons warn of forks beside threads, which pytest has."""
    import warnings

    def call() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return fork()

    return call


def test_each_file_is_in_one_part() -> None:
    files = [(parsed.FileKind.YAML, b"x" * size) for size in (0, 10, 200_000, 5, 300_000, 0)]
    for some in (files, files[:1], []):
        parts = parallel._parts(some, parallel.MOST_PROCESSES)
        assert sorted(position for part in parts for position in part) == list(range(len(some)))
        assert len(parts) <= 256  # a byte holds the number of each
