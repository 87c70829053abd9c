"""SARIF 2.1.0, which code scanning of GitHub and many viewers read. The schema stands with the tests."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from reconciler import __version__
from reconciler.cli.reports import shown_path
from reconciler.manifests.checks import Policy
from reconciler.manifests.problem import Problem
from reconciler.manifests.rule_texts import TEXTS
from reconciler.manifests.rules import RULES, Rule
from reconciler.manifests.verdict import Verdict

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_ROOT: Final = "%SRCROOT%"


def render(verdict: Verdict, policies: Sequence[Policy]) -> str:
    """One run; problems that a comment ignores are in it as suppressed."""
    folder = str(Path.cwd())
    rules = [*map(_rule, RULES.values()), *map(_policy, policies)]
    positions = {rule["id"]: position for position, rule in enumerate(rules)}
    suppressed = {each.problem: each.reason for each in verdict.ignored}
    results = [
        _result(problem, positions, suppressed.get(problem), folder)
        for problem in sorted([*verdict.problems, *suppressed], key=lambda problem: problem.sort_key)
    ]
    run = {
        "tool": {"driver": {"name": "reconciler", "version": __version__, "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The folder in which reconciler was started."}}},
        "invocations": [{"executionSuccessful": True, "exitCode": 0 if verdict.valid else 1}],
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _rule(rule: Rule) -> dict[str, Any]:
    why = TEXTS[rule.code].why
    return {
        "id": rule.code,
        "name": rule.slug,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": why},
        "help": {"text": f"{why} What to do: {rule.remedy}."},
        "defaultConfiguration": {"level": str(rule.severity)},
    }


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "id": policy.code,
        "shortDescription": {"text": policy.title},
        "help": {"text": policy.hint or policy.title},
        "defaultConfiguration": {"level": str(policy.severity)},
    }


def _result(problem: Problem, positions: dict[str, int], reason: str | None, folder: str) -> dict[str, Any]:
    path = shown_path(problem.file, folder)
    file = {"uri": f"file://{quote(path)}"} if path.startswith("/") else {"uri": quote(path), "uriBaseId": _ROOT}
    hint = f"; {problem.hint}" if problem.hint else ""
    identity = hashlib.sha256(f"{problem.code}\0{path}\0{problem.message}".encode()).hexdigest()
    return {
        "ruleId": problem.code,
        "ruleIndex": positions[problem.code],
        "level": str(problem.severity),
        "message": {"text": f"{problem.message}{hint}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": file,
                    "region": {"startLine": problem.line, "startColumn": problem.column},
                }
            }
        ],
        "partialFingerprints": {"problem/v1": identity[:32]},
        "suppressions": [] if reason is None else [{"kind": "inSource", "justification": reason}],
    }
