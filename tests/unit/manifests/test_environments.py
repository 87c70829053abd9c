"""Environments in ``reconciler.yaml``: what is wrong with them is said at its line, and nothing is read by accident."""

import pytest

from reconciler.manifests.cache import ParseCache
from reconciler.manifests.scope import environments_in
from tests.unit.manifests.environment_files import REPOSITORY, SETTINGS, found, loaded


def test_each_environment_has_its_own_values_and_overlay() -> None:
    for name, expected in {"staging": (2, 1, "registry.staging"), "prod": (6, 3, "registry.prod")}.items():
        result = loaded(REPOSITORY, name)
        assert result.problems == ()
        desired = {each.object.name: each.object.desired for each in result.objects if hasattr(each.object, "desired")}
        assert (desired["web"], desired["worker"]) == expected[:2]
        assert f"{expected[2]}/web:1" in str(result.objects)
    assert loaded(REPOSITORY, "staging").names == ("web.yml", "x/hosts.yml")


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        (None, "RC080 these manifests are for several environments: staging, prod"),
        ("prdo", "RC080 there is no environment 'prdo'"),
        ("", "RC080 there is no environment ''"),
    ],
)
def test_nothing_is_read_when_it_is_not_clear_which_environment_is_meant(environment: str | None, problem: str) -> None:
    result = loaded(REPOSITORY, environment)
    assert result.objects == ()
    assert found(result) == [f"reconciler.yaml:5 {problem}"]


def test_an_environment_of_a_repository_without_any_is_refused() -> None:
    assert [each.code for each in loaded({"web.yml": "hosts: [{name: h}]\n"}, "prod").problems] == ["RC080"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("      WEB_COUNT: 6\n", "", "8 RC081 environment 'prod' has no value for WEB_COUNT (integer)"),
        ("      REGISTRY: registry.prod\n", "", "8 RC081 environment 'prod' has no value for REGISTRY (string: Where"),
        ("WEB_COUNT: 6", "WEB_COUNT: 6\n      WEB_CONT: 1", "13 RC082 environment 'prod' gives a value to WEB_CONT"),
        ("WEB_COUNT: 6", "WEB_COUNT: 0", "12 RC024 environment 'prod': WEB_COUNT is 0, but must be at least 1"),
        ("WEB_COUNT: 6", "WEB_COUNT: 51", "12 RC024 environment 'prod': WEB_COUNT is 51, but must be at most 50"),
        ("WEB_COUNT: 6", "WEB_COUNT: '6'", "12 RC020 environment 'prod': WEB_COUNT is declared as integer"),
        ("WEB_COUNT: 6", "WEB_COUNT: true", "12 RC020 environment 'prod': WEB_COUNT is declared as integer"),
        ("REGISTRY: registry.prod", "REGISTRY: 1.5", "11 RC020 environment 'prod': REGISTRY is declared as string"),
        ("FAST: false", "FAST: 0", "13 RC020 environment 'prod': FAST is declared as boolean"),
        ("FAST: {type: boolean}", "FAST: {type: boolean, enum: [true]}", "13 RC023 environment 'prod': FAST is False"),
        ("overlay: overlays/prod", "overlay: ../prod", "9 RC085 the overlay of environment 'prod' leads out"),
        ("overlay: overlays/prod", "overlay: ./", "9 RC085 the overlay of environment 'prod' is the whole"),
        ("overlay: overlays/prod", "overlay: a/.b", "9 RC085 the overlay of environment 'prod' is hidden"),
        ("overlay: overlays/prod", "overlay: overlay", "9 RC085 the overlay of environment 'prod' holds no manifest"),
        ("  staging:\n", "  staging:\n    overlay: overlays\n", "10 RC085 the overlays of environments 'staging' and"),
        ("  FAST: {", "  PORT: {type: integer}\n  FAST: {", "4 RC085 PORT can't be a parameter"),
        ("  FAST: {type: boolean}", "  FA-ST: {type: boolean}", "4 RC025 'FA-ST' in parameters is not a name"),
        ("  FAST: {type: boolean}", "  FAST: {type: bool}", "4 RC023 parameters.FAST.type is 'bool'"),
        ("  FAST: {type: boolean}", "  FAST: {}", "4 RC022 parameters.FAST has no type"),
        ("overlay: overlays/prod", "overlays: overlays/prod", "9 RC021 environments.prod has no field 'overlays'"),
    ],
)
def test_mistakes_are_shown_at_their_line(old: str, new: str, expected: str) -> None:
    assert old in SETTINGS
    problems = found(loaded(REPOSITORY | {"reconciler.yaml": SETTINGS.replace(old, new)}))
    assert any(each.startswith(f"reconciler.yaml:{expected}") for each in problems), problems


def test_a_missing_value_is_said_once_and_hides_nothing_else() -> None:
    files = REPOSITORY | {
        "reconciler.yaml": SETTINGS.replace("      WEB_COUNT: 6\n", ""),
        "overlays/prod/a.yml": "services: [{name: web, mim: 1}]\n",
    }
    assert [each[:40] for each in found(loaded(files))] == [
        "overlays/prod/a.yml:1 RC021 service 'web",
        "reconciler.yaml:8 RC081 environment 'pro",
    ]


def test_parameters_need_environments() -> None:
    settings = "ignore: [x]\nparameters: {A: {type: string}}\n"
    assert found(loaded({"reconciler.yaml": settings, "a.yml": "hosts: [{name: h}]\n"}, None)) == [
        "reconciler.yaml:2 RC085 parameters get their values from environments, and none is declared"
    ]


def test_environments_are_declared_at_the_top() -> None:
    below = {
        "a.yml": "hosts: [{name: h}]\n",
        "x/reconciler.yaml": "environments: {prod: {}}\n",
        "x/b.yml": "hosts: [{name: i}]\n",
    }
    assert [each.code for each in loaded(below, None).problems] == ["RC085"]
    twice = REPOSITORY | {"x/reconciler.yaml": "environments: {other: {}}\n"}
    assert [each[:24] for each in found(loaded(twice))] == ["x/reconciler.yaml:1 RC08"]


def test_settings_in_an_ignored_folder_declare_nothing() -> None:
    files = {
        "reconciler.yaml": "ignore: [x/]\n",
        "a.yml": "hosts: [{name: h}]\n",
        "x/reconciler.yaml": "environments: {prod: {}}\n",
        "x/b.yml": "hosts: [{name: i}]\n",
    }
    result = loaded(files, None)
    assert (result.problems, result.names) == ((), ("a.yml",))
    assert environments_in([(name, text.encode()) for name, text in files.items()], ParseCache()) == ()


def test_what_is_ignored_is_in_no_overlay_either() -> None:
    files = REPOSITORY | {
        "overlays/prod/notes.yml": "nothing: here\n",
        "reconciler.yaml": f"ignore: [notes.yml]\n{SETTINGS}",
    }
    assert loaded(files).problems == ()
