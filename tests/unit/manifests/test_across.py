"""One verdict over all environments: what they share is said once, what only some have says in which."""

import pytest

from reconciler.manifests.across import verdict_across
from reconciler.manifests.cache import ParseCache
from reconciler.manifests.checks import NO_CHECKS
from reconciler.manifests.disk_cache import judge
from tests.unit.manifests.environment_files import REPOSITORY, Files, with_patch


def verdict(files: Files, environment: str | None = None) -> list[str]:
    made = verdict_across([(name, text.encode()) for name, text in files.items()], ParseCache(), environment)
    return [f"{each.file}:{each.line} {each.code} {each.message}{list(each.environments)}" for each in made.problems]


def test_a_problem_of_the_base_is_said_once_and_one_of_an_overlay_says_where() -> None:
    files = with_patch("services: [{name: web, mim: 1}]\n")
    files["x/hosts.yml"] = "hosts: [{nam: h}]\n"
    assert verdict(files) == [
        "overlays/prod/a.yml:1 RC021 service 'web' has no field 'mim' (in prod)['prod']",
        "x/hosts.yml:1 RC021 a host has no field 'nam'[]".replace("a host", "host"),
    ]
    assert [each[:26] for each in verdict(files, "staging")] == ["x/hosts.yml:1 RC021 host h"]


def test_a_comment_is_unused_only_if_no_environment_needs_it() -> None:
    comment = "# reconciler: ignore=RC011 runs elsewhere\n"
    needed = "clusters: [{name: main, services: [web]}]\n"
    files = with_patch(needed)
    files["web.yml"] = files["web.yml"].replace(
        "  - {name: worker, task_name", f"  {comment}  - {{name: worker, task_name"
    )
    assert verdict(files) == []
    files["overlays/prod/a.yml"] = "services: []\n"
    assert [each[:16] for each in verdict(files)] == ["web.yml:9 RC061 "]


def test_files_that_no_environment_touches_are_parsed_once_for_all() -> None:
    files = [(name, text.encode()) for name, text in REPOSITORY.items()]
    files += [(f"y/{number}.yml", f"hosts: [{{name: n{number}}}]\n".encode()) for number in range(20)]
    cache = ParseCache()
    made = verdict_across(files, cache)
    assert (made.problems, made.objects, made.environments) == ((), 2 * (6 + 20), ("staging", "prod"))
    assert cache.parsed_files == len(files)


@pytest.mark.parametrize("environment", [None, "prod"])
def test_what_is_remembered_on_disk_changes_no_answer(tmp_path: object, environment: str | None) -> None:
    files = [(name, text.encode()) for name, text in with_patch("services: [{name: web, mim: 1}]\n").items()]
    files += [(f"y/{number}.yml", f"hosts: [{{name: n{number}}}]\n".encode()) for number in range(70)]
    first = judge(files, NO_CHECKS, tmp_path, environment)  # type: ignore[arg-type]
    again = judge(files, NO_CHECKS, tmp_path, environment)  # type: ignore[arg-type]
    files[-1] = (files[-1][0], files[-1][1] + b"# changed\n")
    third = judge(files, NO_CHECKS, tmp_path, environment)  # type: ignore[arg-type]
    assert first == again == third == judge(files, NO_CHECKS, None, environment)
    assert first.errors == 1
    assert judge(files, NO_CHECKS, tmp_path, "staging").errors == 0  # type: ignore[arg-type]
