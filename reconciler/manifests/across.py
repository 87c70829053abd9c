"""One verdict over all environments: ``validate`` checks each of them, and says what they have in common once."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from reconciler.manifests.cache import ParseCache
from reconciler.manifests.find import is_settings_path
from reconciler.manifests.load import Loaded, load
from reconciler.manifests.problem import Problem
from reconciler.manifests.scope import environments_in
from reconciler.manifests.verdict import Verdict, verdict_on


def verdict_across(files: Sequence[tuple[str, bytes]], cache: ParseCache, environment: str | None = None) -> Verdict:
    """The verdict on one environment; None: on all that are declared, or on the files as they are if none is."""
    names = environments_in(files, cache)
    if environment is not None or not names:
        return verdict_on(load(files, cache=cache, environment=environment))
    loaded = {name: load(files, cache=cache, environment=name) for name in names}
    problems = in_environments({name: each.problems for name, each in loaded.items()})
    return Verdict(
        names=tuple(sorted({file for each in loaded.values() for file in each.names})),
        objects=sum(len(each.objects) for each in loaded.values()),
        problems=tuple(sorted([*problems, *_unused(loaded)], key=lambda problem: problem.sort_key)),
        ignored=tuple(dict.fromkeys(ignored for each in loaded.values() for ignored in each.ignored)),
        environments=names,
    )


def in_environments(found: Mapping[str, Iterable[Problem]]) -> list[Problem]:
    """The problems of all environments; one that only some of them have says which."""
    having: dict[Problem, list[str]] = {}
    for name, problems in found.items():
        for problem in dict.fromkeys(problems):
            having.setdefault(problem, []).append(name)
    return [
        problem if len(names) == len(found) else _only_in(problem, tuple(names)) for problem, names in having.items()
    ]


def _only_in(problem: Problem, names: tuple[str, ...]) -> Problem:
    message = f"{problem.message} (in {', '.join(names)})"
    return msgspec.structs.replace(problem, message=message, environments=names)


def _unused(loaded: Mapping[str, Loaded]) -> list[Problem]:
    """Comments that ignore nothing in any environment that reads their file; all of them read the settings."""
    unused = {name: set(each.unused) for name, each in loaded.items()}
    return [
        comment
        for comment in set().union(*unused.values())
        if all(
            comment in unused[name]
            for name, each in loaded.items()
            if is_settings_path(comment.file) or comment.file in each.names
        )
    ]
