"""Problems that show only beside something else: an earlier revision, or the hosts of a fleet. Pure.

For ``validate --base`` and ``validate --against``; who asks git and the scheduler's planner is the command.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.manifests import rules
from reconciler.manifests.load import Declared, Origin, load
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.settings import is_settings_path
from reconciler.model.codec import digest
from reconciler.model.manifests import TaskDefinition

Files = Sequence[tuple[str, bytes]]

_REFERENCES: Final = "RC017"
"""Codes up to this one are about how objects fit together: nothing to the objects themselves."""


def changed_versions(now: Files, before: Files, revision: str) -> tuple[list[Problem], list[Problem]]:
    """Definitions with another content than under the same version ``before``; and why some were not compared.

    Files that are the same in both can't differ, so they are not read.
    """
    same = {file for file in set(now) & set(before) if not is_settings_path(file[0])}
    old = load([file for file in before if file not in same])
    known = {(each.name, each.version): digest(each) for each, _ in _definitions(old.objects)}
    found = [
        problem(
            rules.VERSION_CHANGED,
            origin.file,
            origin.line,
            origin.column,
            f"task definition {each.name} version {each.version} has another content than in {revision}",
        )
        for each, origin in _definitions(load([file for file in now if file not in same]).objects)
        if known.get((each.name, each.version), digest(each)) != digest(each)
    ]
    return found, [each for each in old.errors if each.code > _REFERENCES and not rules.RULES[each.code].ignorable]


def misfit(origin: Origin, message: str) -> Problem:
    """Tasks of a service that find no place."""
    return problem(rules.DOES_NOT_FIT, origin.file, origin.line, origin.column, message)


def _definitions(declared: Iterable[Declared]) -> Iterable[tuple[TaskDefinition, Origin]]:
    return ((each.object, each.origin) for each in declared if isinstance(each.object, TaskDefinition))
