"""Comments that ignore a problem: where they count, what they can't do, and that none is left when it is not needed."""

import msgspec
import pytest

from reconciler.cli.checks import checks
from reconciler.executors.host_policy import violations
from reconciler.manifests.host_policy_rules import HostCheck
from reconciler.manifests.load import Loaded, ParseCache, load
from reconciler.manifests.rules import RULES
from reconciler.model.host_policy import HostPolicy

CHECKS = msgspec.structs.replace(checks([]), host_policies=(HostCheck("policy.yml", HostPolicy(), violations),))
MISSING = "clusters:\n  - name: default\n    services: [web]"


def loaded(text: str, name: str = "a.yml") -> Loaded:
    return load([(name, text.encode())], cache=ParseCache(CHECKS))


def codes(text: str) -> list[str]:
    return [problem.code for problem in loaded(text).problems]


@pytest.mark.parametrize(
    "text",
    [
        f"{MISSING}  # reconciler: ignore=RC010 it is elsewhere",
        f"{MISSING}\t#reconciler:ignore = rc010  it is elsewhere",
        f"{MISSING} # see there # reconciler: ignore=RC010 it is elsewhere",
        MISSING.replace("    services", "    # reconciler: ignore=RC010 it is elsewhere\n    services"),
        MISSING.replace("    services", "# reconciler: ignore=RC010 it is elsewhere\n\n    # more\n    services"),
        "# \u2028#\x85\r" + MISSING.replace("\n", "\r") + "  # reconciler: ignore=RC010 it is elsewhere",
        MISSING.replace("\n", "\r\n") + " # reconciler: ignore=RC010 it is elsewhere\r\n",
    ],
)
def test_a_comment_on_the_line_or_above_it_ignores_a_problem(text: str) -> None:
    result = loaded(text)
    assert result.problems == ()
    assert result.valid
    (ignored,) = result.ignored
    assert (ignored.problem.code, ignored.reason.strip()) == ("RC010", "it is elsewhere")
    assert [each.object.name for each in result.objects] == ["default"]


def test_one_comment_may_name_several_rules() -> None:
    text = "services:\n  # reconciler: ignore=RC011, RC012 an example\n"
    text += "  - {name: web, task_name: web, task_version: 1, desired: 1}"
    assert codes(text) == []
    assert len(loaded(text).ignored) == 2


@pytest.mark.parametrize(
    "text",
    [
        MISSING.replace("default", "default  # reconciler: ignore=RC010 the line above, but not alone"),
        f"{MISSING}\n# reconciler: ignore=RC010 the line below",
        f"{MISSING} # reconciler: ignore=RC012 another rule",
    ],
)
def test_a_comment_elsewhere_ignores_nothing(text: str) -> None:
    assert codes(text) == ["RC010"]


def test_what_stands_inside_of_a_text_is_no_comment() -> None:
    text = MISSING.replace("web", '"web #reconciler: ignore=RC010 x"') + "\n"
    assert "RC060" not in codes(text)
    assert loaded(text).ignored == ()
    script = "task_definitions:\n  - name: a\n    version: 1\n    containers:\n      - name: a\n        type: bash\n"
    script += "        executor:\n          start:\n            - |\n              # reconciler: ignore nothing\n"
    script += "              exec sleep 1\n"
    assert codes(script) == []
    assert codes(script + "    # reconciler: ignore nothing\n") == ["RC060"]


def test_json_has_no_comments() -> None:
    assert loaded('{"hosts": [{"name": "# reconciler: ignore=RC020"}]}', "a.json").problems[0].code == "RC025"


def test_a_reason_is_required() -> None:
    assert codes(f"{MISSING} # reconciler: ignore=RC010") == ["RC010", "RC060"]


@pytest.mark.parametrize("code", [code for code, rule in RULES.items() if not rule.ignorable])
def test_what_would_make_an_object_disappear_can_not_be_ignored(code: str) -> None:
    result = loaded(f"hosts:\n  - name: web-1 # reconciler: ignore={code} please")
    assert [(problem.code, problem.line) for problem in result.problems] == [("RC060", 2)]
    assert not result.valid


@pytest.mark.parametrize("code", [code for code, rule in RULES.items() if rule.ignorable])
def test_a_rule_that_can_be_ignored_keeps_the_object(code: str) -> None:
    from reconciler.manifests.rule_texts import TEXTS

    plain = loaded(TEXTS[code].example)
    lines = TEXTS[code].example.splitlines()
    for number in sorted({problem.line for problem in plain.problems}, reverse=True):
        found = sorted({problem.code for problem in plain.problems if problem.line == number})
        lines[number - 1] += f" # reconciler: ignore={','.join(found)} a test"
    result = loaded("\n".join(lines))
    assert [str(problem) for problem in result.problems] == []
    assert result.objects == plain.objects
    assert code in {each.problem.code for each in result.ignored}


def test_a_comment_that_is_not_needed_is_a_warning() -> None:
    text = "hosts:\n  - name: web-1 # reconciler: ignore=RC011 once it was"
    result = loaded(text)
    assert [(each.code, each.line, each.column, str(each.severity)) for each in result.problems] == [
        ("RC061", 2, 17, "warning")
    ]


def test_a_comment_is_not_called_unneeded_while_something_else_hides_its_problem() -> None:
    text = "services:\n  # reconciler: ignore=RC011 x\n  - {name: web, task_name: web, task_version: 1}"
    assert codes(text) == ["RC022"]


def test_rules_that_were_not_checked_are_not_called_unneeded() -> None:
    text = b"hosts:\n  - name: web-1 # reconciler: ignore=RC062,our-own-rule x"
    assert load([("a.yml", text)]).problems == ()
    assert [each.code for each in load([("a.yml", text)], cache=ParseCache(checks([]))).problems] == ["RC061"]
