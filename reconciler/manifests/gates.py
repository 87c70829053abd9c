"""Problems that show only beside something else: an earlier revision, or the hosts of a fleet. Pure.

For ``validate --base`` and ``validate --against``; who asks git and the scheduler's planner is the command.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from reconciler.manifests import rules
from reconciler.manifests.across import in_environments
from reconciler.manifests.cache import ParseCache
from reconciler.manifests.find import is_settings_path
from reconciler.manifests.load import Declared, Loaded, Origin, load
from reconciler.manifests.problem import Problem, problem
from reconciler.manifests.scope import environments_in
from reconciler.model.codec import digest
from reconciler.model.manifests import TaskDefinition

Files = Sequence[tuple[str, bytes]]

_NOTHING: Final = Loaded(objects=(), problems=(), files=0)
_REFERENCES: Final = "RC017"
"""Codes up to this one are about how objects fit together: nothing to the objects themselves."""


def changed_versions(
    now: Files, before: Files, revision: str, environment: str | None = None
) -> tuple[list[Problem], list[str]]:
    """Definitions with another content than under the same version ``before``; and what was not compared, and why.

    Each environment (only the one that is named, if one is) is compared with itself, one that is new with nothing.
    Where there are none, files that are the same in both can't differ, so they are not read.
    """
    cache = ParseCache()
    there, names = environments_in(before, cache), environments_in(now, cache)
    if not names and not there:
        same = {file for file in set(now) & set(before) if not is_settings_path(file[0])}
        old = load([file for file in before if file not in same])
        new = load([file for file in now if file not in same])
        return list(_changed(new, old, revision, lambda origin: origin)), _unread(old, revision)
    found: dict[str, list[Problem]] = {}
    notes: list[str] = []
    for name in names if environment is None else (environment,):
        is_new = bool(there) and name not in there
        old = _NOTHING if is_new else load(before, cache=cache, environment=name if there else None)
        new = load(now, cache=cache, environment=name)
        found[name] = list(_changed(new, old, revision, lambda origin: _place(origin, dict(now), dict(before))))
        notes += _unread(old, revision)
        if is_new:
            notes.append(f"environment {name} is not in {revision}: nothing to compare it with")
    gone = [name for name in there if name not in names and environment in {None, name}]
    notes += [f"environment {name} of {revision} is gone, or has another name now: not compared" for name in gone]
    return in_environments(found), list(dict.fromkeys(notes))


def _changed(new: Loaded, old: Loaded, revision: str, place: Callable[[Origin], Origin]) -> Iterable[Problem]:
    known = {(each.name, each.version): digest(each) for each, _ in _definitions(old.objects)}
    for each, origin in _definitions(new.objects):
        if known.get((each.name, each.version), digest(each)) != digest(each):
            message = f"task definition {each.name} version {each.version} has another content than in {revision}"
            at = place(origin)
            yield problem(rules.VERSION_CHANGED, at.file, at.line, at.column, message)


def _place(origin: Origin, now: Mapping[str, bytes], before: Mapping[str, bytes]) -> Origin:
    """Where an object was changed: it may be declared in a file that is as it was, and have values from others."""
    if now[origin.file] == before.get(origin.file):
        for file, first in origin.values_in:
            if now[file] != before.get(file):
                there = set(before.get(file, b"").splitlines())
                rows = enumerate(now[file].splitlines(), 1)
                changed = ((line, row) for line, row in rows if line >= first and row not in there)
                line, row = next(changed, (first, b""))
                return Origin(file, line, len(row) - len(row.lstrip()) + 1)
    return origin


def _unread(old: Loaded, revision: str) -> list[str]:
    """What may have declared something that could not be compared."""
    unread = (each for each in old.errors if each.code > _REFERENCES and not rules.RULES[each.code].ignorable)
    return [f"not compared, since it can't be read in {revision}: {each}" for each in unread]


def misfit(origin: Origin, message: str) -> Problem:
    """Tasks of a service that find no place."""
    return problem(rules.DOES_NOT_FIT, origin.file, origin.line, origin.column, message)


def _definitions(declared: Iterable[Declared]) -> Iterable[tuple[TaskDefinition, Origin]]:
    return ((each.object, each.origin) for each in declared if isinstance(each.object, TaskDefinition))
