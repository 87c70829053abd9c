"""``reconciler rules`` and docs/rules.md, which both come from the one table; every example really breaks its rule."""

import json

import msgspec
import pytest
from click.testing import CliRunner

from reconciler.cli.checks import checks
from reconciler.cli.main import reconciler
from reconciler.errors import UsageError
from reconciler.executors.host_policy import violations
from reconciler.manifests.host_policy_rules import HostCheck
from reconciler.manifests.load import ParseCache, load
from reconciler.manifests.rule_texts import NO_FILE, TEXTS
from reconciler.manifests.rules import RULES
from reconciler.model.host_policy import HostPolicy
from tests.docs.pages import ROOT

CHECKS = msgspec.structs.replace(checks([]), host_policies=(HostCheck("policy.yml", HostPolicy(), violations),))


def run(*arguments: str) -> str:
    done = CliRunner().invoke(reconciler, ["rules", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_every_rule_says_why() -> None:
    assert TEXTS.keys() == RULES.keys()
    assert all(text.why.endswith(".") for text in TEXTS.values())


@pytest.mark.parametrize("code", sorted(RULES.keys() - NO_FILE))
def test_the_example_of_a_rule_breaks_it(code: str) -> None:
    text = TEXTS[code]
    loaded = load([(text.file, text.example.encode())], cache=ParseCache(CHECKS))
    assert code in {problem.code for problem in loaded.problems}


def test_all_rules_are_listed() -> None:
    lines = run().splitlines()
    assert [line.split()[0] for line in lines[: len(RULES)]] == list(RULES)


@pytest.mark.parametrize("name", ["RC012", "rc012", "service-task-missing"])
def test_a_rule_is_explained_by_code_and_by_name(name: str) -> None:
    text = run(name)
    for part in (RULES["RC012"].summary, TEXTS["RC012"].why, RULES["RC012"].remedy, "task_name: wbe", "ignore=RC012"):
        assert part in text
    assert "can't be ignored" in run("RC020")


def test_json_is_for_programs() -> None:
    (answer,) = json.loads(run("RC061", "--format", "json"))
    assert answer == {
        "code": "RC061",
        "rule": "unused-ignore",
        "severity": "warning",
        "summary": RULES["RC061"].summary,
        "why": TEXTS["RC061"].why,
        "remedy": RULES["RC061"].remedy,
        "ignorable": False,
        "example": TEXTS["RC061"].example,
    }
    assert [each["code"] for each in json.loads(run("--format", "json"))] == list(RULES)


def test_a_rule_that_is_not_there_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="no rule RC999"):
        run("RC999")


def test_the_page_of_rules_is_up_to_date() -> None:
    page = (ROOT / "docs" / "rules.md").read_text("utf-8")
    assert page == run("--format", "markdown"), "reconciler rules --format markdown > docs/rules.md"
