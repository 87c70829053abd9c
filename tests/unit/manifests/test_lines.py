"""Wherever something is broken in a manifest, in whatever layout, the line that is reported holds the thing named."""

import copy
import functools
import os
import random
import re
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.cli.checks import checks
from reconciler.manifests.load import ParseCache, load
from reconciler.manifests.problem import Problem

GOOD: dict[str, list[dict[str, Any]]] = {
    "clusters": [{"name": "alpha", "scheduler": "default", "services": ["shop", "mail"]}, {"name": "beta"}],
    "services": [
        {"name": "shop", "task_name": "front", "task_version": 31, "desired": 4, "min": 3, "max": 5},
        {"name": "mail", "task_name": "post", "task_version": 32, "desired": 2, "min": 1},
    ],
    "task_definitions": [
        {
            "name": "front",
            "version": 31,
            "provide_port": True,
            "memory": 64,
            "tags": ["one", "two"],
            "containers": [
                {
                    "name": "nginx",
                    "type": "docker",
                    "executor": {"image": "example/front:1", "container_port": 80, "env": ["A=b"], "flags": ["--init"]},
                }
            ],
            "checks": [{"name": "answers", "http": "http://127.0.0.1/", "add_provided_port": True, "interval": "10s"}],
        },
        {
            "name": "post",
            "version": 32,
            "containers": [{"name": "script", "type": "bash", "executor": {"start": ["exec post"], "env": ["C=d"]}}],
            "checks": [{"name": "alive", "script": "true", "timeout": "2s"}],
        },
    ],
    "hosts": [{"name": "h1", "tags": {"zone": "a"}, "port_range": [20000, 20100], "reserved_memory": 512}],
}
SEEDS = st.integers(0, 2**32)
STRANGE = "zz top!"
"""Is no name, number, duration or URL, and stands nowhere else."""


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every field and item."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in inside for place in [(*at, key), *places(one, (*at, key))]]


@functools.cache
def all_places() -> list[tuple[Any, ...]]:
    return places(GOOD)


def shuffled(value: Any, layout: random.Random) -> Any:
    """Fields in another order; the name stays first, as people write it."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key != "name" and layout.random() + 1)
        return {key: shuffled(value[key], layout) for key in keys}
    return [shuffled(one, layout) for one in value] if isinstance(value, list) else value


def written(value: Any, layout: random.Random) -> str:
    """YAML in some layout, with comments and blank lines in between."""
    text = yaml.safe_dump(
        value,
        sort_keys=False,
        width=10_000,
        indent=layout.choice([2, 4, 8]),
        default_flow_style=layout.choice([False, None]),
    )
    lines = []
    for line in text.splitlines():
        lines += layout.choice([[], [], ["# a comment: with 'quotes'"], ["", "   "]])
        lines.append(line + layout.choice(["", "", "   # why"]))
    return layout.choice(["\n", "\r\n"]).join([*lines, ""])


def laid_out(value: Any, seed: int) -> str:
    layout = random.Random(seed)
    return written(shuffled(value, layout), layout)


def line_of(problem: Problem, text: str) -> str:
    return text.splitlines()[problem.line - 1]


def holds_what_is_named(problem: Problem, line: str) -> bool:
    """Whether the line has one of the texts in quotes, the field or the number that the message speaks of.

    What is missing stands nowhere: then it is the line where the object begins that lacks it.
    """
    rest = line[problem.column - 1 :]
    if rest.strip() == "" or rest.startswith((" ", "#")):
        return False
    if problem.code in {"RC022", "RC029"}:
        return rest.startswith("{") or bool(re.match(r"[a-z_]+:", rest))
    quoted = re.findall(r"'([^']*)'", problem.message)
    fields = re.findall(r"\b([a-z_]+)(?:\[\d+\])*(?: |,|$)", problem.message)
    numbers = re.findall(r"\b\d+\b", problem.message)
    values = re.findall(r"\b(?:null|true|false)\b", problem.message)
    return any(named in line for named in [*quoted, *fields, *numbers, *values])


@given(data=st.data())
@settings(
    max_examples=int(os.environ.get("FUZZ", "300")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_a_broken_field_is_reported_where_it_stands(data: st.DataObject) -> None:
    value: Any = copy.deepcopy(GOOD)
    *above, last = data.draw(st.sampled_from(all_places()))
    holder = functools.reduce(lambda one, key: one[key], above, value)
    how = data.draw(st.sampled_from(["strange", "misspelt", "removed", "added", "null", "twice"]))
    if how == "strange":
        holder[last] = STRANGE
    elif how == "null":
        holder[last] = None
    elif how == "removed":
        del holder[last]
    elif how == "twice" and isinstance(holder, list):
        holder.insert(0, copy.deepcopy(holder[last]))
    elif isinstance(holder, dict) and how == "misspelt":
        holder[f"{last}_zz"] = holder.pop(last)
    else:
        (holder if isinstance(holder, dict) else value)["zz_field"] = 1
    text = laid_out(value, data.draw(SEEDS))

    problems = load([("a.yml", text.encode())], cache=ParseCache(checks([]))).problems
    for problem in problems:
        assert holds_what_is_named(problem, line_of(problem, text)), f"{problem}\n{line_of(problem, text)}"
    if how == "strange" and problems:
        at = [line_of(problem, text)[problem.column - 1 :].lstrip("'\"") for problem in problems]
        assert any(rest.startswith(STRANGE) for rest in at), f"{problems}\n{text}"
    if how == "misspelt" and isinstance(holder, dict) and "tags" not in above:
        at = [line_of(problem, text)[problem.column - 1 :].lstrip("'\"") for problem in problems]
        assert any(rest.startswith(f"{last}_zz") for rest in at), f"{problems}\n{text}"


@given(seed=SEEDS)
@settings(max_examples=100, deadline=None, database=None)
def test_no_layout_makes_a_right_manifest_wrong(seed: int) -> None:
    assert [str(problem) for problem in load([("a.yml", laid_out(GOOD, seed).encode())]).problems] == []
