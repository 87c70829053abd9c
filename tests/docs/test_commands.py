"""Every ``reconciler`` command that a page shows is one that the program understands."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from reconciler.cli.main import reconciler
from tests.docs.pages import PAGES, ROOT, blocks

INLINE = re.compile(r"`(reconciler [^`]+)`")


def shown(page: Path) -> Iterator[list[str]]:
    """Arguments of the ``reconciler`` commands in a page's blocks, lists and running text."""
    for block in blocks(page):
        for command in block.commands:
            while command and "=" in command[0]:
                command = command[1:]
            if command and command[0].endswith("reconciler"):
                yield command[1:]
    for text in INLINE.findall(page.read_text(encoding="utf-8")):
        yield text.split()[1:]


def misunderstood(arguments: list[str]) -> str | None:
    """What the program would not understand in ``arguments``."""
    command: click.Command = reconciler
    with click.Context(reconciler) as context:
        rest = list(arguments)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.get_command(context, rest[0])
            if found is None:
                return f"no command {rest[0]}"
            command, rest = found, rest[1:]
        known = {name for param in command.get_params(context) for name in (*param.opts, *param.secondary_opts)}
    unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known]
    return f"{command.name} has no {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_only_commands_and_options_that_exist(page: Path) -> None:
    problems = [f"reconciler {' '.join(each)}: {why}" for each in shown(page) if (why := misunderstood(each))]
    assert not problems, "\n".join(problems)


def test_a_command_or_option_that_does_not_exist_is_noticed() -> None:
    assert misunderstood(["validat", "examples/"]) == "no command validat"
    assert misunderstood(["tasks", "--fromat", "json"]) == "tasks has no --fromat"
    assert misunderstood(["tasks", "--format", "json"]) is None
