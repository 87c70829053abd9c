"""What is wrong with a manifest, as a value: where, which rule, and what to do. Made by every check in this package."""

from typing import TYPE_CHECKING, Any

import msgspec

from reconciler.manifests.rules import RULES, Rule, Severity

if TYPE_CHECKING:
    from reconciler.manifests.nodes import Node


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One problem. ``line`` and ``column`` count from 1. ``str()`` is the one text form, everywhere.

    ``environments``: those that have it, if others do not; the message says so too.
    """

    code: str
    severity: Severity
    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    environments: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The rule's name, for people: ``service-task-missing``; a policy's code is its name."""
        rule = RULES.get(self.code)
        return rule.slug if rule else self.code

    @property
    def sort_key(self) -> tuple[str, int, int, str, str]:
        """By place, so that a person goes through a file once."""
        return (self.file, self.line, self.column, self.code, self.message)

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity} {self.code} {self.message}{hint}"

    def as_json(self) -> dict[str, Any]:
        """The stable form for programs."""
        return {
            "code": self.code,
            "rule": self.slug,
            "severity": str(self.severity),
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
            "environments": self.environments,
        }


class Ignored(msgspec.Struct, frozen=True):
    """A problem that does not count, and the reason that somebody gave in a comment."""

    problem: Problem
    reason: str


def problem(rule: Rule, file: str, line: int, column: int, message: str, hint: str | None = None) -> Problem:
    """A breach of ``rule``; its own remedy is the hint unless a better one is known."""
    return Problem(
        code=rule.code,
        severity=rule.severity,
        file=file,
        line=line,
        column=column,
        message=message,
        hint=rule.remedy if hint is None else hint,
    )


def problem_at(rule: Rule, node: "Node", message: str, hint: str | None = None) -> Problem:
    """A breach of ``rule`` by the value at ``node``."""
    return problem(rule, node.file, node.line, node.column, message, hint)
