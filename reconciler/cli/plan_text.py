"""A plan in words: lines for a terminal, or Markdown for a comment on a pull request."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from reconciler.cli import output
from reconciler.model.texts import cut
from reconciler.queries.field_changes import FieldChange
from reconciler.queries.forecast import Unplaced
from reconciler.queries.overrides import OverrideRow
from reconciler.queries.preview import ObjectChange, Preview

SIGNS: Final = {"create": "+", "update": "~", "delete": "-"}
_COLOURS: Final = {"create": "green", "update": "yellow", "delete": "red"}
_MOST: Final = 100
_MOST_MOVES: Final = 40
_MOST_LINE: Final = 1000
_MOST_NOTICES: Final = 15_000
_MOST_CHANGES: Final = 32_000
_MOST_TASKS: Final = 12_000
"""In bytes; together with the rest they stay below the 65,536 characters that a comment on GitHub may have."""
_MARKUP: Final = re.compile(r"[\\`*_\[\]|~#]")


def text(made: Preview) -> Iterator[str]:
    """For a terminal."""
    yield from (f"warning: {each}" for each in made.warnings)
    for change in made.changes:
        yield click.style(_head(change), fg=_COLOURS[change.action])
        yield from (f"    {_field(change, field)}" for field in change.fields)
    if made.changes:
        yield ""
    yield summary(made)
    yield from (f"  {line}" for line in _moves(made))
    yield from (f"refused: {each}" for each in made.refused)


def markdown(made: Preview) -> Iterator[str]:
    """For a comment on a pull request: within the size that GitHub takes, and it says what was cut."""
    yield f"### Plan for `{made.source}`"
    yield ""
    yield summary(made)
    notices = [
        *(f"**Refused:** {_escaped(each)}" for each in made.refused),
        *(f"**Does not fit:** {_escaped(line)}" for line in _unplaced(made)),
        *(f"**Warning:** {_escaped(each)}" for each in made.warnings),
    ]
    kept, cut = _cut([f"\n> {each}" for each in notices], _MOST_NOTICES)
    yield from kept
    if cut:
        yield f"\n> … and {cut} more of these, left out here; `reconciler plan` shows all."
    if made.changes:
        kept, cut = _cut([_as_diff(change) for change in made.changes], _MOST_CHANGES)
        yield from ("", "```diff", *kept, "```")
        if cut:
            yield f"\n{cut} of {len(made.changes)} changed objects are left out here; `reconciler plan` shows all."
    kept, cut = _cut([_fenced(line) for line in _moves(made)], _MOST_TASKS)
    if kept:
        yield from ("", "<details><summary>Tasks</summary>", "", "```text", *kept, "```", "", "</details>")
    if cut:
        yield f"\n{cut} lines about tasks are left out here; `reconciler plan` shows all."
    yield f"\nPlan `{made.hash}`, revision `{made.revision}`"


def _cut(parts: Sequence[str], most: int) -> tuple[list[str], int]:
    """As many of the first parts as ``most`` bytes hold, and how many are left out."""
    for number, part in enumerate(parts):
        most -= len(part.encode()) + 1
        if most < 0:
            return list(parts[:number]), len(parts) - number
    return list(parts), 0


def _as_diff(change: ObjectChange) -> str:
    head = _head(change).replace("~ ", "! ", 1)
    return "\n".join([_fenced(head), *(_fenced(f"    {_field(change, field)}") for field in change.fields)])


def _fenced(line: str) -> str:
    """A line that can't end the block it stands in."""
    return " ".join(line.replace("```", "'''").splitlines())[:_MOST_LINE]


def _escaped(text: str) -> str:
    """Words from elsewhere: no markup, no mention of anybody, one paragraph."""
    words = _MARKUP.sub(r"\\\g<0>", " ".join(text.splitlines())[:_MOST_LINE])
    return words.replace("&", "&amp;").replace("<", "&lt;").replace("@", "@\u200b")


def summary(made: Preview) -> str:
    """``1 to create, 2 to update, 0 to delete, 7 unchanged; 3 tasks start, 3 stop``."""
    if not made.changes and not made.tasks.moves:
        return f"no changes: the store is as these {made.unchanged} objects say"
    counts = [f"{sum(each.action == action for each in made.changes)} to {action}" for action in SIGNS]
    return f"{', '.join(counts)}, {made.unchanged} unchanged; {made.tasks.starts} tasks start, {made.tasks.stops} stop"


def _moves(made: Preview) -> Iterator[str]:
    """The tasks' part, in order."""
    for move in made.tasks.moves[:_MOST_MOVES]:
        yield f"{move.round}. {move.what}: {move.why}"
    if len(made.tasks.moves) > _MOST_MOVES:
        yield f"… and {len(made.tasks.moves) - _MOST_MOVES} more"
    new = set(made.does_not_fit)
    for each in made.tasks.unplaced:
        yield f"{'does not fit' if each in new else 'did not fit before either'}: {place(each)}"
    yield from (f"cluster {name}: {why}" for name, why in sorted(made.tasks.unfinished.items()))
    yield from (f"stays overridden: {overridden(each)}" for each in made.overrides)
    yield from (f"ends the override: {_ended(each)}" for each in made.ended)
    yield from made.tasks.notes
    yield from (f"{each} goes a day after nothing wants it any more" for each in made.kept)


def _unplaced(made: Preview) -> Iterator[str]:
    yield from map(place, made.does_not_fit)


def overridden(row: OverrideRow) -> str:
    """What an operator changed, who it was, and until when it holds."""
    until = f"until {output.when(row.until)}" if row.until else "until it is taken back or its manifest changes"
    if row.field == "paused" and not row.until:
        until = "until `reconciler unpause`"
    if row.deadline:
        until = f"with a deadline of {output.when(row.deadline)}, {until}"
    return f"{row.text}, by {row.by} {output.ago(row.since)} ago, {until}" + (f": {row.reason}" if row.reason else "")


def _ended(row: OverrideRow) -> str:
    asleep = " (asleep: the store says something else than it did then)" if row.asleep else ""
    return f"{row.text}, by {row.by} {output.ago(row.since)} ago{asleep}"


def place(each: Unplaced) -> str:
    """What finds no place, and why."""
    return (
        f"{each.count} {'task' if each.count == 1 else 'tasks'} of service {each.service} in cluster {each.cluster} "
        f"({each.task_name} version {each.task_version}): {each.reason}"
    )


def _head(change: ObjectChange) -> str:
    where = f"  ({change.origin})" if change.origin else ""
    return f"{SIGNS[change.action]} {change.object}{where}"


def _field(change: ObjectChange, field: FieldChange) -> str:
    if change.action == "create":
        return f"{field.path}: {_value(field.after)}"
    return f"{field.path}: {_value(field.before)} → {_value(field.after)}"


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    return cut(json.dumps(value, ensure_ascii=False), _MOST)
