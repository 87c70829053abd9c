"""``reconciler.yaml`` leaves files out, in its folder and below, and nowhere else."""

import pytest

from reconciler.manifests.load import load
from reconciler.manifests.settings import ignored_names

NAMES = ["a.yml", "deploy/b.yml", "deploy/x/c.yml", "x/deploy/d.yml", "x/deploy.yml"]


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [
        ("deploy/", ["deploy/b.yml", "deploy/x/c.yml", "x/deploy/d.yml"]),
        ("/deploy", ["deploy/b.yml", "deploy/x/c.yml"]),
        ("x/deploy", ["x/deploy/d.yml"]),
        ("x/deploy/", ["x/deploy/d.yml"]),
        ("deploy/x", ["deploy/x/c.yml"]),
        ("deploy*", ["deploy/b.yml", "deploy/x/c.yml", "x/deploy/d.yml", "x/deploy.yml"]),
        ("*.yml", NAMES),
        ("c.yml", ["deploy/x/c.yml"]),
        ("c.yml/", []),
        ("?.yml", ["a.yml", "deploy/b.yml", "deploy/x/c.yml", "x/deploy/d.yml"]),
        ("nothing", []),
        ("/", []),
    ],
)
def test_patterns_leave_out_what_they_match(pattern: str, left_out: list[str]) -> None:
    assert list(ignored_names(NAMES, ".", [pattern])) == left_out


def test_settings_are_for_their_own_folder() -> None:
    assert list(ignored_names(NAMES, "x", ["deploy"])) == ["x/deploy/d.yml"]


def test_what_is_left_out_is_neither_checked_nor_counted() -> None:
    files = [
        ("m/reconciler.yaml", b"ignore: [alerts.yml]\n"),
        ("m/alerts.yml", b"groups: []\n"),
        ("m/a.yml", b"hosts: [{name: h}]\n"),
    ]
    loaded = load(files)
    assert loaded.problems == ()
    assert loaded.files == 1
    assert [str(one.origin) for one in loaded.objects] == ["m/a.yml:1:9"]
    assert [problem.code for problem in load(files[1:]).problems] == ["RC021"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ignores: []\n", "RC021"),
        ("ignore: deploy\n", "RC020"),
        ("ignore: [1]\n", "RC034"),
        ('ignore: [""]\n', "RC035"),
        ("- a\n", "RC020"),
        ("ignore: [\n", "RC040"),
        ("", "RC051"),
    ],
)
def test_mistakes_in_settings_are_problems(text: str, code: str) -> None:
    loaded = load([("reconciler.yaml", text.encode()), ("a.yml", b"hosts: [{name: h}]\n")])
    assert [(problem.file, problem.code) for problem in loaded.problems] == [("reconciler.yaml", code)]
    assert len(loaded.objects) == 1


def test_settings_may_be_only_a_comment() -> None:
    assert load([("reconciler.yaml", b"# nothing yet\n"), ("a.yml", b"hosts: [{name: h}]\n")]).problems == ()
