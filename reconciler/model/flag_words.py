"""Reads the ``flags`` of a docker container: which flags stand there, with which values. Pure.

Everybody reads them here, so that a word which is another flag's value is a flag to nobody: ports that a container
publishes are counted by it, the host's policy judges by it, and the docker executor applies what it says.
"""

import collections
import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

ALIASES: Final = {
    "--net": "--network",
    "--net-alias": "--network-alias",
    "--dns-opt": "--dns-option",
    "-P": "--publish-all",
    "-c": "--cpu-shares",
    "-e": "--env",
    "-h": "--hostname",
    "-l": "--label",
    "-m": "--memory",
    "-p": "--publish",
    "-u": "--user",
    "-v": "--volume",
    "-w": "--workdir",
    "-a": "--attach",
    "-d": "--detach",
    "-i": "--interactive",
    "-q": "--quiet",
    "-t": "--tty",
}

SWITCHES: Final = frozenset(
    (
        *("--init", "--no-healthcheck", "--oom-kill-disable", "--privileged", "--publish-all", "--read-only"),
        *("--detach", "--interactive", "--quiet", "--rm", "--sig-proxy", "--tty", "--use-api-socket"),
    )
)
"""Flags that need no value; one is given after ``=`` only."""


class Flag(NamedTuple):
    """One flag, by its long name. What stands where a flag should, without being one, is a name without a dash.

    ``position``: which entry it stands in. ``value``: ``true`` of a switch alone; None where it is missing.
    """

    position: int
    name: str
    value: str | None


def read(
    flags: Sequence[str], problems: list[str] | None = None, certain: Collection[str] | None = None
) -> Iterator[Flag]:
    """The flags in order: ``--a=b``, ``--a b`` (in one entry or two), ``-ab``, ``-a b``, switches together (``-Pp80``).

    An entry that can't be split is added to ``problems``. Of flags that are not ``certain`` (None: all are) nobody
    knows whether they take a value: they do if what follows does not look like a flag.
    """
    words = collections.deque(_words(flags, problems))
    while words:
        position, word = words.popleft()
        written, equals, value = _split(word)
        name = ALIASES.get(written, written)
        if equals and name in SWITCHES and not word.startswith("--") and word[2] != "=":
            words.appendleft((position, f"-{value}"))  # the next of several short ones in a word
            equals = ""
        if equals:
            yield Flag(position, name, value)
        elif name in SWITCHES:
            yield Flag(position, name, "true")
        elif not word.startswith("-") or not words:
            yield Flag(position, name, None)
        else:
            is_value = certain is None or name in certain or not words[0][1].startswith("-")
            yield Flag(position, name, words.popleft()[1] if is_value else None)


def _split(word: str) -> tuple[str, str, str]:
    if not word.startswith("-"):
        return word, "", ""
    if word.startswith("--") or len(word) < 3:
        return word.partition("=")
    return word[:2], "=", word[2:].removeprefix("=")  # a short one needs nothing before its value


def _words(flags: Sequence[str], problems: list[str] | None) -> Iterator[tuple[int, str]]:
    """The words, each with the entry that it stands in."""
    for position, entry in enumerate(flags):
        head = entry.split(None, 1)[0] if entry.strip() else entry
        if entry.startswith("-") and "=" not in head and head != entry:
            try:
                yield from ((position, word) for word in shlex.split(entry))
            except ValueError as error:
                if problems is not None:
                    problems.append(f"{entry!r}: {error}")
        else:
            yield position, entry
