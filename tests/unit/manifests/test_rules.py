"""The table of rules is complete and unambiguous, and a problem has one form."""

import re
from pathlib import Path

import pytest

from reconciler.manifests import rules
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.rules import RULES, Rule, Severity

PACKAGE = Path(rules.__file__).parent


def test_codes_and_slugs_are_unique_and_in_order() -> None:
    table = [rule for rule in vars(rules).values() if isinstance(rule, Rule)]
    assert [rule.code for rule in table] == sorted({rule.code for rule in table})
    assert len({rule.slug for rule in table}) == len(table)
    assert {rule.code: rule for rule in table} == RULES


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_each_rule_says_what_it_is_and_what_to_do(rule: Rule) -> None:
    assert re.fullmatch(r"RC[0-9]{3}", rule.code)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.slug)
    assert rule.summary.endswith(".")
    assert rule.remedy
    assert not rule.remedy.endswith(".")
    assert len(rule.summary) <= 110


def test_each_rule_is_used() -> None:
    code = "\n".join(path.read_text() for path in PACKAGE.glob("*.py") if path.name != "rules.py")
    unused = [name for name, rule in vars(rules).items() if isinstance(rule, Rule) and f"rules.{name}" not in code]
    assert unused == []


def test_codes_that_people_know_keep_their_meaning() -> None:
    """They stand in ignore comments and dashboards of users; never change one."""
    known = {
        "RC001": "declared-twice",
        "RC012": "service-task-missing",
        "RC021": "unknown-field",
        "RC040": "bad-syntax",
        "RC041": "duplicate-key",
    }
    assert {code: RULES[code].slug for code in known} == known


def test_a_problem_reads_as_a_compilers_message_does() -> None:
    made = problem(rules.SERVICE_TASK_MISSING, "a/web.yml", 7, 16, "service 'web' runs nothing", "did you mean that?")
    assert str(made) == "a/web.yml:7:16: error RC012 service 'web' runs nothing; did you mean that?"
    assert made.as_json() == {
        "code": "RC012",
        "rule": "service-task-missing",
        "severity": "error",
        "file": "a/web.yml",
        "line": 7,
        "column": 16,
        "message": "service 'web' runs nothing",
        "hint": "did you mean that?",
        "environments": (),
    }


def test_the_remedy_of_the_rule_is_the_hint_unless_there_is_a_better_one() -> None:
    made = problem(rules.SERVICE_IN_NO_CLUSTER, "a.yml", 1, 1, "x")
    assert made.hint == rules.SERVICE_IN_NO_CLUSTER.remedy
    assert made.severity is Severity.WARNING
    assert str(problem(rules.SERVICE_IN_NO_CLUSTER, "a.yml", 1, 1, "x", "")) == "a.yml:1:1: warning RC011 x"


def test_problems_are_sorted_as_a_person_goes_through_files() -> None:
    def at(file: str, line: int, column: int) -> Problem:
        return problem(rules.BAD_SYNTAX, file, line, column, "x")

    places = [at("a", 1, 2), at("a", 2, 1), at("a", 10, 1), at("b", 1, 1)]
    assert sorted([places[2], places[0], places[3], places[1]], key=lambda one: one.sort_key) == places
