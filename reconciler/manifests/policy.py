"""Operators' own rules as JSON Schemas, one a file, each for one kind of object. Called by ``validate --policy``.

A policy is a plain JSON Schema for an object as it is written, with two keywords more: ``x-applies-to`` says which kind
of object, ``x-severity`` whether it is an error or a warning. Its file name is its code, ``title`` says what is wrong,
``description`` what to do.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from reconciler.errors import UsageError
from reconciler.manifests.checks import Policy
from reconciler.manifests.entries import SINGULAR, Entry
from reconciler.manifests.nodes import Node
from reconciler.manifests.places import dotted
from reconciler.manifests.problem import Problem
from reconciler.manifests.rules import Severity

APPLIES_TO: Final = "x-applies-to"
SEVERITY: Final = "x-severity"
KIND_OF: Final = {words.replace(" ", "_"): kind for kind, words in SINGULAR.items()}
_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_OURS = re.compile(r"rc[0-9]+\Z")


def read_policies(files: Iterable[tuple[str, bytes]]) -> tuple[Policy, ...]:
    """The policies in files: (name as shown to people, content).

    Raises:
        UsageError: one of them is none.
    """
    found: dict[str, Policy] = {}
    for name, content in sorted(files):
        policy = _policy(name, content)
        if policy.code in found:
            raise UsageError(f"{name}: there is another policy called {policy.code}", hint="rename one of the files")
        found[policy.code] = policy
    return tuple(found.values())


def _policy(name: str, content: bytes) -> Policy:
    code = PurePosixPath(name).name.removesuffix(".json")
    if not _CODE.match(code) or _OURS.match(code):
        raise UsageError(
            f"{name}: {code!r} can't be the code of a policy",
            hint="call the file after the rule, in small letters with dashes: images-from-our-registry.json",
        )
    schema = _json(name, content)
    kind = schema.get(APPLIES_TO)
    if kind not in KIND_OF:
        raise UsageError(
            f"{name}: {APPLIES_TO} must say which objects the policy is for",
            hint=f'write "{APPLIES_TO}": one of {", ".join(KIND_OF)}',
        )
    severity = schema.get(SEVERITY, "error")
    if severity not in list(Severity):
        raise UsageError(f"{name}: {SEVERITY} is {severity!r}", hint="write error or warning")
    title, description = schema.get("title"), schema.get("description", "")
    if not isinstance(title, str) or not title.strip() or not isinstance(description, str):
        raise UsageError(f"{name}: the policy has no title", hint='write "title": what is wrong when it is broken')
    from reconciler.manifests.validator import refused_schema

    refusal = refused_schema(schema)
    if refusal is not None:
        raise UsageError(f"{name}: this is not a JSON Schema: {refusal}", hint="it is read as draft 2020-12")
    return Policy(
        code=code,
        kind=KIND_OF[kind],
        severity=Severity(severity),
        title=title.strip().rstrip("."),
        hint=description.strip().rstrip("."),
        schema=json.dumps(schema, sort_keys=True),
    )


def _json(name: str, content: bytes) -> dict[str, Any]:
    try:
        schema = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: this is not JSON: {error}", hint="a policy is a JSON Schema") from error
    if not isinstance(schema, dict):
        raise UsageError(f"{name}: a policy is a JSON object", hint="see docs/validate-in-ci.md")
    return schema


def policy_problems(policies: Sequence[Policy], entry: Entry) -> Iterator[Problem]:
    """The policies that an object breaks; none for one whose fields are wrong already."""
    if not policies or entry.object is None:
        return
    from reconciler.manifests.validator import breaches

    for policy in policies:
        if policy.kind == entry.kind:
            for path, message in breaches(policy.schema, entry.node.value):
                node = _at(path, entry.node)
                where = f": {dotted(path)}" if path else ""
                yield Problem(
                    code=policy.code,
                    severity=policy.severity,
                    file=node.file,
                    line=node.line,
                    column=node.column,
                    message=f"{entry.label}{where}: {policy.title}: {message}",
                    hint=policy.hint,
                )


def _at(path: tuple[str | int, ...], node: Node) -> Node:
    for part in path:
        node = node.items[part] if isinstance(part, int) else node.fields[part]
    return node
