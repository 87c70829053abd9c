"""``reconciler rules``: what ``validate`` can find, why, and what to do; docs/rules.md is made by it."""

import json

import click

from reconciler.cli.options import format_option
from reconciler.errors import UsageError
from reconciler.manifests.rule_texts import NO_FILE, TEXTS
from reconciler.manifests.rules import RULES, Rule

_HEAD = """\
# Rules

What `reconciler validate` can find, in the order of the codes; `reconciler rules RC012` shows one of them. A code is
stable: it is never given to another rule and never changes its meaning. A comment with the reason
([validate-in-ci.md](validate-in-ci.md#to-ignore-a-problem)) ignores a problem where the rule does not fit; what would
make an object disappear can not be ignored.

This page is made by `reconciler rules --format markdown`.
"""


@click.command(
    epilog="""
\b
Examples:
  reconciler rules
  reconciler rules RC012
  reconciler rules service-task-missing --format json
"""
)
@click.argument("codes", nargs=-1, metavar="[CODE]...")
@format_option("text", "json", "markdown")
def rules(codes: tuple[str, ...], output_format: str) -> None:
    """Explain the problems that `validate` finds: what is wrong, why it matters, what to do, and an example.

    CODE is a code or its name; without one all rules are listed.
    """
    chosen = [_find(code) for code in codes] or list(RULES.values())
    if output_format == "json":
        click.echo(json.dumps([as_json(rule) for rule in chosen], indent=2, ensure_ascii=False))
    elif output_format == "markdown":
        click.echo("\n".join([_HEAD, *map(_section, chosen)]), nl=False)
    elif codes:
        click.echo("\n\n".join(map(_explained, chosen)))
    else:
        for rule in chosen:
            click.echo(f"{rule.code}  {rule.severity:<7}  {rule.slug:<32}  {rule.summary}")
        click.echo("\nreconciler rules CODE says why, what to do, and shows an example.")


def _find(code: str) -> Rule:
    for rule in RULES.values():
        if code.upper() == rule.code or code.lower() == rule.slug:
            return rule
    raise UsageError(f"there is no rule {code}", hint="`reconciler rules` lists them all")


def as_json(rule: Rule) -> dict[str, object]:
    """The stable form for programs."""
    return {
        "code": rule.code,
        "rule": rule.slug,
        "severity": str(rule.severity),
        "summary": rule.summary,
        "why": TEXTS[rule.code].why,
        "remedy": rule.remedy,
        "ignorable": rule.ignorable,
        "example": TEXTS[rule.code].example,
    }


def _explained(rule: Rule) -> str:
    text = TEXTS[rule.code]
    lines = [
        click.style(f"{rule.code} {rule.slug}", bold=True) + f" ({rule.severity})",
        "",
        rule.summary,
        text.why,
        "",
        f"What to do: {rule.remedy}.",
        f"To ignore it where it does not apply: # reconciler: ignore={rule.code} and the reason"
        if rule.ignorable
        else "It can't be ignored.",
    ]
    if text.example:
        lines += ["", "Example of what is wrong:", "", *(f"    {line}" for line in text.example.splitlines())]
    return "\n".join(lines)


def _section(rule: Rule) -> str:
    text = TEXTS[rule.code]
    lines = [
        f"## {rule.code} {rule.slug}",
        "",
        f"{rule.summary} {text.why}".replace("<<", "`<<`"),
        "",
        f"- **{str(rule.severity).capitalize()}**{', can be ignored' if rule.ignorable else ''}.",
        f"- **What to do**: {rule.remedy}.",
        "",
    ]
    if text.example and rule.code not in NO_FILE:
        lines += ["```json" if text.file.endswith(".json") else "```yaml", text.example, "```", ""]
    return "\n".join(lines)
