"""Which of the files given are manifests, and which of those are for the environment that is meant. Called by ``load``.

What every ``reconciler.yaml`` ignores is none. Environments are declared once, in the topmost folder, for all of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from posixpath import normpath

import msgspec

from reconciler.errors import InvalidManifests
from reconciler.manifests import rules
from reconciler.manifests.cache import ParseCache
from reconciler.manifests.environments import Chosen, Environments, overlay_folder
from reconciler.manifests.field_names import closest
from reconciler.manifests.find import SETTINGS_NAME, is_settings_path
from reconciler.manifests.ignores import Ignore
from reconciler.manifests.problem import Problem, problem, problem_at
from reconciler.manifests.settings import PARAMETER_MARK, ignored_names

Files = Sequence[tuple[str, bytes]]


class Scope(msgspec.Struct, frozen=True):
    """The manifests among the files, what is wrong with the settings, and the environments that these declare.

    ``settings_name`` is the file that declares them; without any it is the name that would. ``ignores``: comments
    in settings, with their files.
    """

    manifests: tuple[tuple[str, bytes], ...]
    problems: tuple[Problem, ...]
    environments: Environments | None
    settings_name: str
    ignores: tuple[tuple[str, Ignore], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The environments."""
        return tuple(self.environments.by_name) if self.environments else ()

    def base(self) -> Files:
        """The manifests that are in no overlay."""
        folders = tuple(self._folders())
        return (
            [each for each in self.manifests if not _plain(each[0]).startswith(folders)] if folders else self.manifests
        )

    def overlay(self, chosen: Chosen) -> Files:
        """The manifests of an environment's overlay."""
        folder = self._folder(chosen)
        return [each for each in self.manifests if folder and _plain(each[0]).startswith(folder)]

    def refusal(self, environment: str | None) -> Problem | None:
        """Why the environment of this name (None: none was named) is not one of these; None: it is."""
        names = ", ".join(self.names)
        if self.environments is None:
            if environment is None:
                return None
            message = f"there is no environment {environment!r}: none is declared"
            hint = f"declare environments in the {SETTINGS_NAME} of the topmost folder, or leave --env out"
            return problem(rules.ENVIRONMENT_NOT_SAID, self.settings_name, 1, 1, message, hint)
        at = msgspec.structs.replace(self.environments.node, file=self.settings_name)
        if environment is None:
            message = f"these manifests are for several environments: {names}"
            return problem_at(rules.ENVIRONMENT_NOT_SAID, at, message)
        if environment in self.names:
            return None
        guess = closest(environment, self.names)
        hint = f"did you mean {guess}?" if guess else f"there are {names}"
        return problem_at(rules.ENVIRONMENT_NOT_SAID, at, f"there is no environment {environment!r}", hint)

    def empty_overlay(self, environment: str, chosen: Chosen) -> Problem:
        """That an environment's overlay is not there."""
        at = msgspec.structs.replace(chosen.overlay_node, file=self.settings_name)
        message = f"the overlay of environment {environment!r} holds no manifest: {self._folder(chosen)}"
        return problem_at(rules.BAD_ENVIRONMENTS, at, message, "correct the folder, or take the line out")

    def _folder(self, chosen: Chosen) -> str | None:
        return overlay_folder(str(PurePosixPath(_plain(self.settings_name)).parent), chosen)

    def _folders(self) -> Iterator[str]:
        for chosen in self.environments.by_name.values() if self.environments else ():
            folder = self._folder(chosen)
            if folder:
                yield folder


def scope(given: Files, cache: ParseCache) -> Scope:
    """Sort out the files given, which are sorted by name."""
    settings = {name: cache.parse(name, content) for name, content in given if is_settings_path(name)}
    ignored = {
        other
        for name, parsed in settings.items()
        for other in ignored_names((each for each, _ in given), str(PurePosixPath(name).parent), parsed.ignore)
    }
    counted = {name: parsed for name, parsed in settings.items() if name not in ignored}
    problems = [
        msgspec.structs.replace(each, file=name) for name, parsed in counted.items() for each in parsed.problems
    ]
    declaring = [(name, parsed.environments) for name, parsed in counted.items() if parsed.environments is not None]
    manifests = tuple(each for each in given if each[0] not in ignored and each[0] not in settings)
    top = next((each for each in declaring if _is_above(each[0], manifests)), None)
    for name, environments in declaring:
        if top is None or name != top[0]:
            at = msgspec.structs.replace(environments.node, file=name)
            message = "environments are for all manifests, and there are some outside of this folder"
            hint = f"declare them in the {SETTINGS_NAME} of the topmost folder, once"
            problems.append(problem_at(rules.BAD_ENVIRONMENTS, at, message, hint))
    ignores = tuple((name, ignore) for name, parsed in counted.items() for ignore in parsed.ignores)
    return Scope(manifests, tuple(problems), top[1] if top else None, top[0] if top else SETTINGS_NAME, ignores=ignores)


def environments_in(files: Iterable[tuple[str, bytes]], cache: ParseCache) -> tuple[str, ...]:
    """The environments that the settings among the files declare."""
    given = list(files)
    if not any(is_settings_path(name) for name, _ in given):
        return ()
    cache.begin()
    return scope(sorted(given), cache).names


def parsed_alone(files: Files) -> Files:
    """The files that are worth parsing by themselves: where there are environments, those that come to the same in all
    of them unless an overlay names what they declare."""
    if not any(is_settings_path(name) for name, _ in files):
        return files
    cache = ParseCache()
    cache.begin()
    found = scope(sorted(files), cache)
    if found.environments is None:
        return files
    return [each for each in found.base() if PARAMETER_MARK not in each[1]]


def refuse_other_than(environment: str | None, files: Files) -> None:
    """Raise InvalidManifests unless the environment of this name (None: none was named) is one of those declared."""
    cache = ParseCache()
    cache.begin()
    found = scope(sorted(files), cache)
    if found.environments is not None and not found.names:  # the settings can't be read
        raise InvalidManifests("\n".join(map(str, found.problems)))
    refusal = found.refusal(environment)
    if refusal is not None:
        raise InvalidManifests(str(refusal))


def _is_above(settings_name: str, manifests: Files) -> bool:
    folder = _plain(settings_name).removesuffix(SETTINGS_NAME)
    return all(_plain(name).startswith(folder) for name, _ in manifests)


def _plain(name: str) -> str:
    """A file's name without what the one who wrote it may have put in between: ``./a.yml``, ``b/../a.yml``."""
    return normpath(name)
