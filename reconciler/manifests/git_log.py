"""Which commit changed each file last, read from the output of one ``git log``. Pure; ``git_source`` runs git."""

import re
from collections.abc import Iterable
from typing import Final

from reconciler.manifests.source import Commit, shown

ARGUMENTS: Final = (
    "--literal-pathspecs", "-c", "log.showRoot=true", "-c", "core.quotePath=false",
    "log", "-z", "-c", "--name-only", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color",
    "--no-show-signature", "--no-mailmap", "--encoding=UTF-8", "--format=%x01%H%x02%an%x02%at%x02%s",
)  # fmt: skip
"""``-c``: of a merge, the files that are as in none of its parents."""
_COMMIT: Final = re.compile(rb"\x01([0-9a-f]{40})\x02(.*?)\x02([0-9]+)\x02(.*)", re.DOTALL)


class LastChanges:
    """Takes the output as it comes, the newest commit first; knows when it has seen enough."""

    def __init__(self, files: Iterable[str]) -> None:
        self._missing = set(files)
        self._rest = b""
        self._commit: Commit | None = None
        self.found: dict[str, Commit] = {}

    def take(self, output: bytes) -> bool:
        """The next piece of the output; True: all files are found."""
        *tokens, self._rest = (self._rest + output).split(b"\0")
        for token in tokens:
            if match := _COMMIT.fullmatch(token):
                self._commit = Commit(
                    id=match[1].decode(), author=_text(match[2]), at=float(match[3]), subject=_text(match[4])
                )
                continue
            name = shown(token.removeprefix(b"\n").decode("utf-8", "surrogateescape"))
            if name in self._missing and self._commit is not None:
                self._missing.discard(name)
                self.found[name] = self._commit
        return not self._missing


def _text(raw: bytes) -> str:
    return shown(raw.decode("utf-8", "replace"))
