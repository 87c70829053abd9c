"""Environments in ``reconciler.yaml``: what is wrong with them is said at its line, and nothing is read by accident."""

import pytest

from reconciler.errors import InvalidManifests
from reconciler.manifests.across import verdict_across
from reconciler.manifests.cache import ParseCache
from reconciler.manifests.scope import environments_in, refuse_other_than
from tests.unit.manifests.environment_files import REPOSITORY, SETTINGS, found, loaded, with_patch


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
        ("REGISTRY: registry.prod", "REGISTRY: '${FAST}/x'", "11 RC082 environment 'prod': REGISTRY holds ${"),
        ("REGISTRY: registry.prod", f"REGISTRY: {'x' * 65537}", "11 RC024 environment 'prod': REGISTRY is 65537 char"),
        ("  FAST: {type: boolean}", "  FAST: {type: boolean, minimum: 1}", "4 RC085 FAST: minimum and maximum are for"),
        ("maximum: 50", "maximum: 0", "3 RC085 WEB_COUNT: minimum is 1, greater than maximum (0)"),
        ("maximum: 50", "enum: ['6']", "3 RC085 WEB_COUNT: enum holds '6', which is no integer"),
        ("maximum: 50", "enum: [true, 6]", "3 RC085 WEB_COUNT: enum holds True, which is no integer"),
        ("  prod:\n", "---\nenvironments:\n  prod:\n", "9 RC085 environments are declared in the first document"),
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


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS + "  qa: [\n",
        SETTINGS.replace("parameters:\n  REG", "parameters: ]\n  REG", 1),
        SETTINGS.replace("FAST: false", "FAST: {"),
    ],
)
def test_settings_that_cannot_be_read_are_the_only_problem(settings: str) -> None:
    files = REPOSITORY | {"reconciler.yaml": settings}
    for environment in ("prod", None):
        assert {(each.file, each.code) for each in loaded(files, environment).problems} == {
            ("reconciler.yaml", "RC040")
        }
    given = [(name, text.encode()) for name, text in files.items()]
    with pytest.raises(InvalidManifests, match="RC040"):
        refuse_other_than("prod", given)


def test_a_problem_with_a_value_can_be_ignored_where_the_value_stands() -> None:
    settings = SETTINGS.replace("  FAST:", "  V: {type: integer}\n  FAST:", 1).replace("FAST: true", "FAST: true, V: 1")
    base = REPOSITORY["web.yml"].replace("task_version: 1\n    desired", "task_version: ${V}\n    desired")
    for comment, expected in (("", ["RC013"]), ("  # reconciler: ignore=RC013 it comes later", [])):
        text = settings.replace("      FAST: false\n", f"      V: 7{comment}\n      FAST: false\n")
        problems = loaded(REPOSITORY | {"reconciler.yaml": text, "web.yml": base}).problems
        assert [each.code for each in problems if each.file == "reconciler.yaml"] == expected


def test_comments_that_ignore_nothing_are_found_in_overlays_and_settings() -> None:
    comment = "# reconciler: ignore=RC012 because\n"
    overlay = with_patch(comment + REPOSITORY["overlays/prod/a.yml"])
    settings = REPOSITORY | {"reconciler.yaml": comment + SETTINGS}
    for files, file in ((overlay, "overlays/prod/a.yml"), (settings, "reconciler.yaml")):
        verdict = verdict_across([(name, text.encode()) for name, text in files.items()], ParseCache())
        assert [(each.file, each.line, each.code) for each in verdict.problems] == [(file, 1, "RC061")]


def test_files_may_be_named_from_here() -> None:
    files = {f"./{name}" if name == "reconciler.yaml" else name: text for name, text in REPOSITORY.items()}
    assert loaded(files).problems == ()
    assert loaded({f"./{name}": text for name, text in REPOSITORY.items()}).problems == ()


def test_a_second_document_of_settings_is_the_only_problem() -> None:
    settings = SETTINGS.replace("  prod:\n", "---\nenvironments:\n  prod:\n")
    problems = found(loaded(REPOSITORY | {"reconciler.yaml": settings}))
    assert [each[:24] for each in problems] == ["reconciler.yaml:9 RC085 "]
