"""Whether a container was started with values that are others by now. Pure; ``secrets`` reads them.

A fingerprint names its key and holds a mark for each value, in the order in which the definition wants them: a
definition never changes under one digest, so that order tells which is which.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from reconciler.agent.lifecycle import NEVER
from reconciler.model.manifests import Container
from reconciler.model.secrets import Place, Wanted

ABSENT: Final = "-"
"""The mark of a value that is not there."""


class SecretsView(msgspec.Struct, frozen=True, kw_only=True):
    """The last look at all values that are in use: their marks, made with the key ``key``.

    What could not be read is not in ``readings``, and ``problems`` says why. ``began`` is monotonic.
    """

    began: float = NEVER
    key: str = ""
    readings: Mapping[Place, str] = {}
    problems: tuple[str, ...] = ()


def wanted_by(container: Container) -> tuple[Wanted, ...]:
    """All values that a container is given, in their order."""
    return (*container.executor.env_from, *container.executor.secrets)


def fingerprint(key: str, marks: Iterable[str]) -> str:
    """What is kept with a container."""
    return f"{key}:{','.join(marks)}"


def changed(container: Container, kept: str, view: SecretsView) -> str:
    """Which value is another than the container was started with, in words; empty if none is known to be.

    What is gone though it is needed is no change: what runs is better than what could not start. Neither is what can't
    be read, or was marked with a key that is lost.
    """
    key, _, marks = kept.partition(":")
    entries: Sequence[Wanted] = wanted_by(container)
    then = marks.split(",")
    if not entries or key != view.key or len(then) != len(entries):
        return ""
    for each, mark in zip(entries, then, strict=True):
        now = view.readings.get(each.place, mark)
        if now != mark and (now != ABSENT or each.optional):
            return f"{each.label} changed"
    return ""
