"""A plan in words: lines for a terminal, or Markdown for a comment on a pull request."""

import json
from collections.abc import Iterator
from typing import Any, Final

import click

from reconciler.queries.field_changes import FieldChange
from reconciler.queries.forecast import Unplaced
from reconciler.queries.preview import ObjectChange, Preview

SIGNS: Final = {"create": "+", "update": "~", "delete": "-"}
_COLOURS: Final = {"create": "green", "update": "yellow", "delete": "red"}
_MOST: Final = 100
_MOST_MOVES: Final = 40


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
    """For a comment on a pull request."""
    yield f"### Plan for `{made.source}`"
    yield ""
    yield summary(made)
    yield from (f"\n> **Refused:** {each}" for each in made.refused)
    yield from (f"\n> **Does not fit:** {line}" for line in _unplaced(made))
    yield from (f"\n> **Warning:** {each}" for each in made.warnings)
    if made.changes:
        yield from ("", "```diff")
        for change in made.changes:
            yield _head(change).replace("~ ", "! ", 1)
            yield from (f"    {_field(change, field)}".replace("```", "'''") for field in change.fields)
        yield "```"
    moves = list(_moves(made))
    if moves:
        yield from ("", "<details><summary>Tasks</summary>", "", "```text", *moves, "```", "", "</details>")
    yield f"\nPlan `{made.hash}`, revision `{made.revision}`"


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
    yield from made.tasks.notes
    yield from (f"{each} goes a day after nothing wants it any more" for each in made.kept)


def _unplaced(made: Preview) -> Iterator[str]:
    yield from map(place, made.does_not_fit)


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
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _MOST else shown[: _MOST - 1] + "…"
