"""What ``reconciler.yaml`` says of environments, checked, with the places of its values. Pure; made by ``parsed``.

An environment is the same manifests with an overlay (see ``overlays``) and with values for parameters (see
``parameters``). ``layers`` puts them together.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

import msgspec

from reconciler.manifests import rules
from reconciler.manifests.field_names import closest
from reconciler.manifests.nodes import Node, describe
from reconciler.manifests.places import either, short
from reconciler.manifests.problem import Problem, problem_at
from reconciler.manifests.settings import Environment, Parameter, Settings

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_TAKEN: Final = ("PORT", "SCHEDULED_PORT")
"""What every task finds in its environment, and scripts use; so is all that begins with RECONCILER_."""

MOST_CHARACTERS: Final = 64 * 1024
"""No value of a parameter is longer: a few letters would become very much in every place that uses it."""


class Chosen(msgspec.Struct, frozen=True, array_like=True):
    """One environment: where it is declared, its overlay's folder below the settings ("": none), its values.

    ``values`` holds only those that are right; the parameters without one are in ``missing``.
    """

    node: Node
    overlay: str
    overlay_node: Node
    values: dict[str, Node]
    missing: tuple[str, ...]


class Environments(msgspec.Struct, frozen=True, array_like=True):
    """All environments of some settings, and the names of the parameters declared. ``node``: where that stands."""

    node: Node
    parameters: tuple[str, ...]
    by_name: dict[str, Chosen]


def environments_of(document: Node, settings: Settings) -> tuple[Environments | None, list[Problem]]:
    """The environments that valid settings declare (None: they have nothing to do with any), and what is wrong.

    The problems, and the nodes, carry no file name yet.
    """
    if not settings.environments:
        if not settings.parameters:
            return None, []
        at = _at_key(document, "parameters")
        message = "parameters get their values from environments, and none is declared"
        return None, [problem_at(rules.BAD_ENVIRONMENTS, at, message, "declare environments")]
    problems = [*_declarations(document, settings), *_overlays(document, settings)]
    chosen: dict[str, Chosen] = {}
    at = document.fields["environments"]
    for name, environment in settings.environments.items():
        values, wrong = _values(name, at.fields[name], settings)
        problems += wrong
        missing = tuple(each for each in settings.parameters if each not in values)
        chosen[name] = _chosen(at, name, environment, values, missing)
        given = environment.parameters
        problems += [_unset(name, at, each, settings.parameters[each]) for each in missing if each not in given]
    found = Environments(_at_key(document, "environments"), tuple(settings.parameters), chosen)
    return found, problems


def unreadable(document: Node) -> Environments | None:
    """What stands in for the environments of settings that are not valid; None: they declare none."""
    if not isinstance(document.value, dict) or "environments" not in document.fields:
        return None
    return Environments(_at_key(document, "environments"), (), {})


def second_document(found: Environments) -> Problem:
    """That environments stand in another document than the first one."""
    message = "environments are declared in the first document of the file, and this is another one"
    return problem_at(rules.BAD_ENVIRONMENTS, found.node, message, "put them together, and take the --- out")


def overlay_folder(root: str, chosen: Chosen) -> str | None:
    """The folder of an environment's overlay with a slash at its end; ``root`` is that of the settings."""
    if not chosen.overlay:
        return None
    return f"{PurePosixPath(root) / chosen.overlay}/"


def _chosen(at: Node, name: str, environment: Environment, values: dict[str, Node], missing: Sequence[str]) -> Chosen:
    overlay = at.fields[name].fields.get("overlay", at.fields[name])
    return Chosen(
        node=_at_key(at, name),
        overlay=environment.overlay if _refusal(environment.overlay) is None else "",
        overlay_node=Node(overlay.line, overlay.column, None),
        values=values,
        missing=tuple(missing),
    )


def _declarations(document: Node, settings: Settings) -> Iterator[Problem]:
    for name in settings.parameters:
        if name in _TAKEN or name.startswith("RECONCILER_"):
            node = _at_key(document.fields["parameters"], name)
            message = f"{name} can't be a parameter: every task finds it in its environment, and scripts use it"
            yield problem_at(rules.BAD_ENVIRONMENTS, node, message, "choose another name")
    for name, declared in settings.parameters.items():
        contradiction = _contradiction(declared)
        if contradiction is not None:
            node = _at_key(document.fields["parameters"], name)
            yield problem_at(rules.BAD_ENVIRONMENTS, node, f"{name}: {contradiction}", "correct the declaration")


def _contradiction(declared: Parameter) -> str | None:
    """Why no value could keep a declaration, or why a part of it says nothing; None: it makes sense."""
    least, most = declared.minimum, declared.maximum
    if declared.type not in {"integer", "number"} and (least is not None or most is not None):
        return f"minimum and maximum are for numbers, and this is a {declared.type}"
    if least is not None and most is not None and least > most:
        return f"minimum is {least}, greater than maximum ({most})"
    odd = next((each for each in declared.enum if not _is_of(each, declared)), None)
    return None if odd is None else f"enum holds {odd!r}, which is no {declared.type}"


def _is_of(value: object, declared: Parameter) -> bool:
    return isinstance(value, _TYPES[declared.type]) and (not isinstance(value, bool) or declared.type == "boolean")


def _overlays(document: Node, settings: Settings) -> Iterator[Problem]:
    folders: dict[str, str] = {}
    for name, environment in settings.environments.items():
        if not environment.overlay:
            continue
        node = document.fields["environments"].fields[name].fields["overlay"]
        refusal = _refusal(environment.overlay)
        if refusal is not None:
            yield problem_at(
                rules.BAD_ENVIRONMENTS,
                node,
                f"the overlay of environment {name!r} {refusal}",
                "write a folder below this file's, such as overlays/prod",
            )
            continue
        folder = f"{PurePosixPath(environment.overlay)}/"
        for other, owner in folders.items():
            if folder != other and (folder.startswith(other) or other.startswith(folder)):
                message = f"the overlays of environments {owner!r} and {name!r} stand one inside of the other"
                yield problem_at(rules.BAD_ENVIRONMENTS, node, message, "put them beside each other")
        folders.setdefault(folder, name)


def _refusal(overlay: str) -> str | None:
    """Why a folder can't be an overlay; None: it can."""
    path = PurePosixPath(overlay)
    if not overlay:
        return None
    if path.is_absolute() or ".." in path.parts:
        return "leads out of this folder"
    if not path.parts:
        return "is the whole of this folder"
    return "is hidden, so it is not read" if any(part.startswith(".") for part in path.parts) else None


def _values(name: str, node: Node, settings: Settings) -> tuple[dict[str, Node], list[Problem]]:
    """The values of an environment that are right, and what is wrong with the others."""
    found: dict[str, Node] = {}
    problems: list[Problem] = []
    given = node.fields.get("parameters")
    for parameter, value in given.fields.items() if given else ():
        declared = settings.parameters.get(parameter)
        if declared is None:
            guess = closest(parameter, settings.parameters)
            message = f"environment {name!r} gives a value to {parameter}, which is not a declared parameter"
            at = _at_key(given, parameter) if given else value
            problems.append(
                problem_at(rules.PARAMETER_UNDECLARED, at, message, f"did you mean {guess}?" if guess else None)
            )
            continue
        wrong = _wrong(f"environment {name!r}: {parameter}", value, declared)
        if wrong is None:
            found[parameter] = Node(value.line, value.column, value.value, value.text)
        else:
            problems.append(wrong)
    return found, problems


def _wrong(what: str, node: Node, declared: Parameter) -> Problem | None:
    value = node.value
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        message = f"{what} is {len(value)} characters long, but may have at most {MOST_CHARACTERS}"
        return problem_at(rules.OUT_OF_RANGE, node, message, "make it shorter")
    if not _is_of(value, declared):
        shown = f"text {short(value)}" if isinstance(value, str) else describe(value)
        hint = f'put it in quotes: "{node.text}"' if declared.type == "string" and node.text else None
        message = f"{what} is declared as {declared.type}, found {shown}"
        return problem_at(rules.WRONG_TYPE, node, message, hint)
    if isinstance(value, str) and "${" in value:
        message = f"{what} holds ${{, and nothing is filled into the value of a parameter"
        return problem_at(rules.PARAMETER_UNDECLARED, node, message, "write the whole value, or ${…} in the manifest")
    if declared.enum and value not in declared.enum:
        choices = either([str(each) for each in declared.enum])
        return problem_at(rules.NOT_A_CHOICE, node, f"{what} is {value}, but must be {choices}", f"write {choices}")
    least, most = declared.minimum, declared.maximum
    if isinstance(value, int | float) and least is not None and value < least:
        message = f"{what} is {value}, but must be at least {least}"
        return problem_at(rules.OUT_OF_RANGE, node, message, f"write a number from {least} up")
    if isinstance(value, int | float) and most is not None and value > most:
        message = f"{what} is {value}, but must be at most {most}"
        return problem_at(rules.OUT_OF_RANGE, node, message, f"write a number up to {most}")
    return None


def _unset(name: str, at: Node, parameter: str, declared: Parameter) -> Problem:
    about = f": {declared.description.rstrip('.')}" if declared.description else ""
    message = f"environment {name!r} has no value for {parameter} ({declared.type}{about})"
    hint = f"write {parameter} and its value under parameters of {name}"
    return problem_at(rules.PARAMETER_UNSET, _at_key(at, name), message, hint)


def _at_key(node: Node, name: str) -> Node:
    """The place of a key."""
    return Node(*node.keys[name], None)
