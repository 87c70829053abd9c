"""Fields that are not known or not there, and what was probably meant. Pure; called by ``schema_words``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from reconciler.manifests import rules
from reconciler.manifests.places import Path, Where, either, short
from reconciler.manifests.problem import Problem

# What other tools call it, or people say.
_SYNONYMS: Final = {
    "args": "cmd",
    "command": "cmd",
    "count": "desired",
    "cpu": "cpu_units",
    "cpus": "cpu_units",
    "entrypoint": "entry",
    "environment": "env",
    "headers": "header",
    "healthcheck": "checks",
    "instances": "desired",
    "mem": "memory",
    "nodes": "hosts",
    "replicas": "desired",
    "tasks": "task_definitions",
    "url": "http",
    "working_dir": "work_dir",
}
_OWNERS: Final = {
    ("task_definition.json", "docker_executor"): "the executor of a docker container",
    ("task_definition.json", "bash_executor"): "the executor of a bash container",
    ("task_definition.json", "container"): "a container",
    ("task_definition.json", "check"): "a check",
    ("task_definition.json", "env_from"): "an entry of env_from or secrets",
    ("cluster.json", ""): "a cluster",
    ("service.json", ""): "a service",
    ("task_definition.json", ""): "a task definition",
    ("host.json", ""): "a host",
}


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that ``word`` was probably meant to be."""
    known = list(choices)
    plain = word.lower().replace("-", "_").strip()
    for candidate in (plain, _SYNONYMS.get(plain)):
        if candidate in known:
            return candidate
    import difflib  # only whoever made a mistake waits for it

    guesses = difflib.get_close_matches(plain, known, n=1, cutoff=0.6)
    return guesses[0] if guesses else None


def unknown_fields(
    given: Iterable[str], known: Sequence[str], at: Where, schemas: Mapping[str, Any]
) -> list[tuple[Problem, str | None]]:
    """The problem with each given field that is not known, with the field that was meant, if one can be guessed."""
    result = []
    for name in given:
        if name in known:
            continue
        guess = closest(name, known)
        message = f"{at.what} has no field {short(name)}"
        result.append(
            (at.problem_at_key(name, rules.UNKNOWN_FIELD, message, _hint(name, guess, known, schemas)), guess)
        )
    return result


def _hint(name: str, guess: str | None, known: Sequence[str], schemas: Mapping[str, Any]) -> str:
    if guess:
        return f"did you mean {guess}?"
    owners = [words for (file, part), words in _OWNERS.items() if name in _fields(schemas, file, part)]
    if owners:
        return f"{name} is a field of {either(owners)}"
    return f"the fields here are {', '.join(known)}"


def _fields(schemas: Mapping[str, Any], file: str, part: str) -> Iterable[str]:
    schema = schemas[file]["$defs"][part] if part else schemas[file]
    return [name for name in schema["properties"] if name != "managed_by"]


def missing_fields(
    required: Sequence[str], path: Path, at: Where, meant: set[tuple[Path, str]], examples: Mapping[str, Any]
) -> list[Problem]:
    """A problem for each required field that is not there, unless a misspelt one was meant to be it."""
    return [
        at.problem_of_lack(
            [name],
            rules.MISSING_FIELD,
            f"{at.what} has no {name}" + (", which null takes away here" if name in at.node.gone else ""),
            f"add {name}, for example {name}: {examples[name]}" if name in examples else f"add {name}",
        )
        for name in required
        if name not in at.node.fields and (path, name) not in meant
    ]
