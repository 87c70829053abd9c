"""JUnit XML, which most CI systems show as tests: each file is one, and fails when it holds an error.

With ``--strict`` a warning fails it too; otherwise warnings are its output.
"""

import re
from collections.abc import Sequence
from html import escape
from typing import Final

from reconciler.manifests.checks import Policy
from reconciler.manifests.problem import Problem
from reconciler.manifests.rules import Severity
from reconciler.manifests.verdict import Verdict

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(verdict: Verdict, policies: Sequence[Policy]) -> str:  # noqa: ARG001 - every form is made so
    """One suite, a case for each file."""
    of_file: dict[str, list[Problem]] = {name: [] for name in verdict.names}
    for problem in verdict.problems:
        of_file.setdefault(problem.file, []).append(problem)
    cases = [_case(name, problems, strict=verdict.strict) for name, problems in sorted(of_file.items())]
    failures = sum("<failure" in case for case in cases)
    counts = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="0"'
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<testsuites name="reconciler validate" {counts}>',
            f'  <testsuite name="reconciler validate" {counts}>',
            *cases,
            "  </testsuite>",
            "</testsuites>",
        ]
    )


def _case(name: str, problems: Sequence[Problem], *, strict: bool) -> str:
    begin = f'    <testcase classname="reconciler.validate" name={_attribute(name)} file={_attribute(name)}'
    if not problems:
        return f"{begin}/>"
    counted = [problem for problem in problems if strict or problem.severity is Severity.ERROR]
    others = [problem for problem in problems if problem not in counted]
    lines = [f'{begin} line="{(counted or others)[0].line}">']
    if counted:
        first = counted[0]
        head = f"<failure type={_attribute(first.code)} message={_attribute(first.message)}>"
        lines.append(f"      {head}{_lines(counted)}</failure>")
    if others:
        lines.append(f"      <system-out>{_lines(others)}</system-out>")
    return "\n".join([*lines, "    </testcase>"])


def _lines(problems: Sequence[Problem]) -> str:
    return escape(_clean("\n".join(map(str, problems))), quote=False)


def _attribute(text: str) -> str:
    value = escape(_clean(text))
    for character in "\t\n\r":
        value = value.replace(character, f"&#{ord(character)};")
    return f'"{value}"'


def _clean(text: str) -> str:
    """XML can't hold some characters at all."""
    return _NOT_XML.sub("\ufffd", text)
