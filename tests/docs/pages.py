"""The pages of the documentation, and the commands that their ``console`` blocks show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
BLOCK = re.compile(r"(?:^<!-- test: (?P<mark>.*?) -->\n)?^```console\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of commands, where it stands, and what its mark says of testing it."""

    page: Path
    line: int
    mark: str | None
    commands: tuple[list[str], ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The ``console`` blocks of a page; a command may go on after a backslash, a comment after a hash."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        body = match["body"].replace("\\\n", " ")
        commands = [line.removeprefix("$ ") for line in body.splitlines() if line.startswith("$ ")]
        line = text.count("\n", 0, match.start("body"))
        yield Block(page, line, match["mark"], tuple(shlex.split(command, comments=True) for command in commands))
